"""How far a customer gets, said where it happens: asking, order found, resolved; or handed to a person."""

from __future__ import annotations

import re

from session_mw import Session, current_session

from ..shared.local_model import intent_of

JOURNEY, STAGES = "support", ("asking", "order found", "resolved")

_PERSON = re.compile(r"\b(person|human|manager)\b", re.IGNORECASE)


def follow(question: str) -> str:
    """Note what a customer's words say of the journey, and return the intent."""
    session = current_session()
    intent = "person" if _PERSON.search(question) else intent_of(question)
    if session is None:
        return intent
    stage = session.metadata.get("journey.stage")
    if stage is None:
        _enter(session, "asking")
    if intent == "person":
        session.outcome("escalated")
    elif intent == "thanks" and stage == "order found":
        _enter(session, "resolved")
        session.convert()
        session.outcome("resolved", source="implied")
    return intent


def order_found() -> None:
    """Note that the order which the customer asks about is known."""
    session = current_session()
    if session is not None:
        _enter(session, "order found")


def _enter(session: Session, stage: str) -> None:
    session.journey(JOURNEY, stage, STAGES.index(stage) + 1, len(STAGES))
