"""
What other SDKs' context helpers say: Langfuse's ``propagate_attributes``, OpenInference's ``using_session`` and
``using_user``, Traceloop's ``set_association_properties`` and ``set_conversation_id``, Logfire's ``set_baggage``.

Rule 1: a helper that the application uses inside a request wins for what it names, on the spans and log records inside
it: in every dialect at once, so that no span says two sessions.
Rule 2: it wins there and nowhere else. Session and turn span, events, totals, history and what other services are
told are the request's.
Rule 3: what a client says in baggage is no helper's word: it was taken out before the application runs.

No package is imported. Each helper leaves its values in OpenTelemetry's context under a key of its own, and these keys
are all that is looked at; of a context without any of them, one look at its few keys is the price.

Source: langfuse 5.0 ``_client/propagation.py``; openinference-instrumentation 0.1 ``context_attributes.py``;
traceloop-sdk 0.62 ``tracing/tracing.py``; logfire 5.4 ``_internal/baggage.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry import baggage
from opentelemetry.context import Context

from .._core import names
from .._core.dialects import DIALECTS
from .._core.records import AttributeValue
from .._core.scope import SessionScope

(_BAGGAGE,) = baggage.set_baggage("any", "thing", Context())  # the key is private; such a context tells it
_PROPERTIES: Final = "association_properties"  # Traceloop's
_NONE: Final[Mapping[str, Any]] = {}

_LANGFUSE: Final = "langfuse.propagated."
_CONVERSATION: Final = "conversation_id"  # Traceloop's

KEYS: Final = frozenset(
    {
        _BAGGAGE,
        names.SESSION_ID,  # OpenInference's, as the attribute
        names.USER_ID,
        _LANGFUSE + "session_id",
        _LANGFUSE + "user_id",
        _PROPERTIES,
        _CONVERSATION,
    }
)


# What dialects call the user.
USERS: Final = frozenset(
    theirs for row in DIALECTS.values() for ours, theirs in row.every.items() if ours == names.USER_ID
)


class Said(NamedTuple):
    """What helpers say; None where they say nothing."""

    session_id: str | None
    user_id: str | None
    conversation_id: str | None


def stamp_in(scope: SessionScope, context: Context) -> Mapping[str, AttributeValue]:
    """
    Return what a span or record in *context* is stamped with.

    Args:
        scope: The session it belongs to.
        context: Holds what helpers have said.
    """
    if KEYS.isdisjoint(context):
        return scope.stamp
    said = _said_in(context)
    return scope.stamp if said == (None, None, None) else scope.stamp_as(*said)


def with_own(
    scope: SessionScope, stamp: Mapping[str, AttributeValue], session_id: Any, user_id: Any
) -> Mapping[str, AttributeValue]:
    """
    Return *stamp* as it goes with the ids that a span was created with.

    Args:
        scope: The session it belongs to.
        stamp: What it would have been stamped with.
        session_id: Its own; None for none.
        user_id: Its own; None for none.
    """
    session, user, thread = stamp[names.SESSION_ID], stamp.get(names.USER_ID), stamp[names.GEN_AI_CONVERSATION_ID]
    if thread == session:
        thread = ""  # it goes along with the session
    return scope.stamp_as(_text(session_id) or _text(session), _text(user_id) or _text(user), _text(thread))


def levelled(own: Mapping[str, Any], ours: str | None, keys: Iterable[str]) -> dict[str, AttributeValue]:
    """
    Return what has to change on a span so that it says one session and one user.

    They were set after its start: by Langfuse's helper, which writes on the span that it is called in, too, or by hand.

    Args:
        own: The span's attributes.
        ours: Id of the session that it was stamped with; None where that is not known.
        keys: That we stamp.
    """
    changes: dict[str, AttributeValue] = {}
    said, user = _text(own.get(names.SESSION_ID)), _text(own.get(names.USER_ID))
    if said is not None and ours is not None and said != ours:
        changes = {key: said for key in keys if own.get(key) == ours}
    if user is not None:
        changes |= {key: user for key in USERS.intersection(keys) if key in own and own[key] != user}
    return changes


def _said_in(context: Context) -> Said:
    carried, properties = _mapping(context.get(_BAGGAGE)), _mapping(context.get(_PROPERTIES))
    session = context.get(names.SESSION_ID) or context.get(_LANGFUSE + "session_id")
    user = context.get(names.USER_ID) or context.get(_LANGFUSE + "user_id")
    return Said(
        _text(session or carried.get(names.SESSION_ID) or properties.get("session_id")),
        _text(user or carried.get(names.USER_ID) or properties.get("user_id")),
        _text(context.get(_CONVERSATION) or carried.get(names.GEN_AI_CONVERSATION_ID)),
    )


def _text(value: object) -> str | None:
    """Return a text that says something. Helpers take what they are given."""
    return value if isinstance(value, str) and value else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _NONE
