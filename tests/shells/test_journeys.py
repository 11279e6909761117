"""Journeys, conversions, scores and outcomes, from the handle to the spans, the history and the end of a session."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from session_mw import current_session
from session_mw.context import Session
from tests.shells.worlds import asgi_app, make_world, wsgi_app

JOURNEY = "/journey?name=onboarding&stage="


def journey_of(found: Any) -> dict[str, Any]:
    """Return what some attributes say of a journey."""
    return {name: value for name, value in found.items() if name.startswith("journey.")}


def tell(kind: str, say: Any, **settings: Any) -> Any:
    """Return a world in whose only handler *say* gets the session."""

    def told() -> None:
        session = current_session()
        assert session is not None
        say(session)

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        told()
        await asgi_app({**scope, "path": "/echo"}, receive, send)

    def wsgi(environ: Any, start_response: Any) -> Any:
        told()
        return wsgi_app({**environ, "PATH_INFO": "/echo"}, start_response)

    return make_world(kind, asgi if kind == "asgi" else wsgi, **settings)


def test_journey_stands_on_the_turn_in_which_it_is_said(world: Any) -> None:
    """The time in a stage counts over requests, by the store's clock; a turn that says nothing shows nothing."""
    world.request(path=f"{JOURNEY}profile&number=2&total=5")
    world.clock.advance(seconds=45)
    world.request(path=f"{JOURNEY}profile")
    world.request()
    world.clock.advance(seconds=15)
    world.request(path=f"{JOURNEY}done&number=5")
    first, again, silent, done = [journey_of(span.attributes) for span in world.spans("turn")]

    profile = {"journey.name": "onboarding", "journey.stage": "profile", "journey.stage_number": 2}
    profile["journey.total_stages"] = 5
    assert {**profile, "journey.time_in_stage_ms": 0} == first
    assert {**profile, "journey.time_in_stage_ms": 45_000} == again
    assert {} == silent
    assert {**profile, "journey.stage": "done", "journey.stage_number": 5, "journey.time_in_stage_ms": 0} == done


def test_journey_stands_on_the_end(world: Any) -> None:
    """The last stage, and the time in it until the last activity; idle time is nobody's stage."""
    world.request(path=f"{JOURNEY}profile")
    world.clock.advance(seconds=20)
    world.request()
    world.clock.advance(seconds=1801)
    (end,) = world.ends()

    assert {
        "journey.name": "onboarding",
        "journey.stage": "profile",
        "journey.time_in_stage_ms": 20_000,
    } == journey_of(end.attributes)
    assert (True, "abandoned", "implied") == (
        end.attributes["dropoff.detected"],
        end.attributes["session.outcome"],
        end.attributes["session.outcome_source"],
    )


def test_conversion(world: Any) -> None:
    """Turn and time since the session's start, of the first; who converted has not dropped off."""
    world.request(path=f"{JOURNEY}cart")
    world.clock.advance(seconds=180)
    world.request(path="/convert")
    world.clock.advance(seconds=60)
    world.request(path="/convert")
    world.clock.advance(seconds=1801)
    (end,) = world.ends()
    turns = [journey_of(span.attributes) for span in world.spans("turn")]

    conversion = {
        "journey.converted": True,
        "journey.conversion_turn": 2,
        "journey.conversion_time_ms": 180_000,
    }
    assert conversion.items() <= turns[1].items()
    assert ("cart", 180_000) == (turns[1]["journey.stage"], turns[1]["journey.time_in_stage_ms"])
    assert {**journey_of(end.attributes), **conversion} == journey_of(end.attributes)
    assert (False, "resolved", "implied") == (
        end.attributes["dropoff.detected"],
        end.attributes["session.outcome"],
        end.attributes["session.outcome_source"],
    )


def test_turns_of_the_history_are_the_funnel(world: Any) -> None:
    """Each turn keeps the stage that was said in it: stages passed through can be read back in their order."""
    for stage in ("welcome", "profile", "done"):
        world.request(path=f"{JOURNEY}{stage}")
    session_id = world.request(path="/convert").json()["id"]
    world.work()
    turns = [journey_of(turn.attributes) for turn in world.engine.history.turns(session_id)]

    assert ["welcome", "profile", "done", "done"] == [turn["journey.stage"] for turn in turns]
    assert [None, None, None, 4] == [turn.get("journey.conversion_turn") for turn in turns]


def test_stage_and_conversion_of_one_turn(kind: str) -> None:
    """Both stand on its span; of several stages in a turn the last does."""

    def say(session: Session) -> None:
        session.journey("checkout", "cart", 1, 2)
        session.journey("checkout", "paid", 2)
        session.convert()

    world = tell(kind, say)
    world.request()

    assert {
        "journey.name": "checkout",
        "journey.stage": "paid",
        "journey.stage_number": 2,
        "journey.total_stages": 2,
        "journey.time_in_stage_ms": 0,
        "journey.converted": True,
        "journey.conversion_turn": 1,
        "journey.conversion_time_ms": 0,
    } == journey_of(world.spans("turn")[0].attributes)


@pytest.mark.parametrize(("reason", "outcome"), [("completed", "resolved"), ("escalated", "escalated")])
def test_end_reason_implies_an_outcome(world: Any, reason: str, outcome: str) -> None:
    """What the application ended the session for is what it came to, unless it says something else."""
    world.request()
    world.request(path=f"/end?reason={reason}")
    (end,) = world.ends()

    assert (outcome, "implied") == (end.attributes["session.outcome"], end.attributes["session.outcome_source"])


def test_scores_stand_on_the_end(kind: str) -> None:
    """Numbers, flags and words under their names, the last of each; numbers stay what they are."""

    def say(session: Session) -> None:
        session.score("helpfulness", 1)
        session.score("helpfulness", 4)
        session.score("judge.gpt-x", 0.75)
        session.score("tone", " friendly\n")
        session.score("safe", True)
        session.end()

    world = tell(kind, say)
    world.request()
    (end,) = world.ends()

    scores = {k: v for k, v in end.attributes.items() if k.startswith("session.score.")}
    assert {
        "session.score.helpfulness": 4,
        "session.score.judge.gpt-x": 0.75,
        "session.score.tone": "friendly",
        "session.score.safe": True,
    } == scores
    assert [int, float, str, bool] == [type(value) for value in scores.values()]


def test_conversion_in_a_service_behind(make: Any) -> None:
    """The session is another service's: its turn is known, its start is not; the server's span says what is."""
    world = make(trusted_peers=("203.0.113.0/24",))
    world.request(path="/convert", headers={"baggage": "session.id=of-another-service-0001,turn.number=3"})
    (server,) = [span for span in world.spans() if span.kind is SpanKind.SERVER]

    assert {"journey.converted": True, "journey.conversion_turn": 3} == journey_of(server.attributes)
    assert "of-another-service-0001" == server.attributes["session.id"]


def test_conversion_of_a_visitor_without_a_turn(world: Any) -> None:
    """A page load is no turn: what it says of a session that is stored is kept, without a number."""
    world.request()
    world.request("GET", "/convert", headers={"sec-fetch-dest": "document", "accept": "text/html"})
    world.request(path="/end?reason=user_exit")
    (end,) = world.ends()

    assert {"journey.converted": True, "journey.conversion_time_ms": 0} == journey_of(end.attributes)


def test_idle_is_the_time_since_the_last_activity(kind: str, tmp_path: Path) -> None:
    """None in the first turn; then how long the user had been away, by the store's clock."""
    for store in ("memory://", f"sqlite:///{tmp_path / 'sessions.db'}"):
        found: list[timedelta | None] = []
        world = tell(kind, lambda session, found=found: found.append(session.idle), store=store)
        for seconds in (20, 0, 300):
            world.request()
            world.work()
            world.clock.advance(seconds=seconds)
        world.request()

        assert [None, timedelta(seconds=20), timedelta(0), timedelta(minutes=5)] == found


WRONG: dict[str, Any] = {
    "journey without a name": lambda session: session.journey("", "profile"),
    "journey without a stage": lambda session: session.journey("onboarding", "\n"),
    "journey of another type": lambda session: session.journey(3, "profile"),
    "stage number of a half": lambda session: session.journey("onboarding", "profile", 1.5),
    "stage number below 0": lambda session: session.journey("onboarding", "profile", -1),
    "stage number true": lambda session: session.journey("onboarding", "profile", True),
    "total of text": lambda session: session.journey("onboarding", "profile", 1, "5"),
    "score without a name": lambda session: session.score("", 1),
    "score with a blank": lambda session: session.score("very good", 1),
    "score that begins with a number": lambda session: session.score("1st", 1),
    "score with a long name": lambda session: session.score("x" * 65, 1),
    "score with a line break": lambda session: session.score("good\n", 1),
    "score of nothing": lambda session: session.score("good", ""),
    "score of None": lambda session: session.score("good", None),
    "score of NaN": lambda session: session.score("good", float("nan")),
    "score of infinity": lambda session: session.score("good", float("inf")),
    "score of a list": lambda session: session.score("good", [1]),
    "outcome of another word": lambda session: session.outcome("great"),
    "outcome of another source": lambda session: session.outcome("resolved", source="me"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_programmers_errors(kind: str, wrong: Any) -> None:
    """What cannot be meant is a ValueError that says what was found, and changes nothing."""
    found: list[str] = []

    def say(session: Session) -> None:
        before = dict(session.metadata)
        with pytest.raises(ValueError, match=r"^cannot set (the journey|the outcome|a score|the score)\b") as raised:
            wrong(session)
        found.append(str(raised.value))
        assert before == session.metadata

    tell(kind, say).request()

    assert 1 == len(found)
