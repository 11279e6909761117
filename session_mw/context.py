"""
What application code calls: handles on the current session, conversation and turn.

``current_session()`` never raises and never does I/O. What it returns may be written to from any thread, task,
generator or background work of the request; changes stamp the spans that are still open, go to the store after the
response, and show in the next request's spans.
"""

from __future__ import annotations

import contextvars
import functools
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar, cast, overload

from ._core import names
from ._core.identity import clean_attribute, derive_key, is_pseudonym, normalise_user
from ._core.identity import hash_user_id as _hash
from ._core.records import END_REASONS, AttributeValue, EndReason
from ._core.scope import SessionScope, TurnState, current_scope
from .settings import SessionSettings

logger = logging.getLogger("session_mw")
F = TypeVar("F", bound=Callable[..., Any])

TURN_MARK = "__session_mw_turn__"
OUTCOMES = ("resolved", "escalated", "abandoned", "none")


class Host(Protocol):
    """What a handle needs of the engine that opened its scope."""

    def hash_user(self, user_id: object, /) -> str | None: ...
    def new_id(self, keep: str | None, /) -> str: ...
    def too_late(self, scope: SessionScope, what: str, /) -> None: ...


class Turn:
    """The current turn. See ``current_turn``."""

    __slots__ = ("_scope", "_turn")

    def __init__(self, scope: SessionScope, turn: TurnState) -> None:
        self._scope = scope
        self._turn = turn

    @property
    def id(self) -> str:
        """Its own id."""
        return self._turn.id

    @property
    def number(self) -> int | None:
        """From 1 within the session; None when no store could count it."""
        return self._turn.number

    def set(
        self,
        *,
        role: str | None = None,
        input_type: str | None = None,
        input_length: int | None = None,
        output_type: str | None = None,
        output_length: int | None = None,
        has_attachments: bool | None = None,
        intent: str | None = None,
        action: str | None = None,
    ) -> None:
        """
        Say what is known about the turn; what is not given stays as it was.

        Args:
            role: Who speaks: ``user``, ``assistant``.
            input_type: ``question``, ``command``, ``feedback`` ...
            input_length: Characters that the user wrote.
            output_type: ``answer`` ...
            output_length: Characters that were answered.
            has_attachments: Whether the user attached something.
            intent: What the user wanted.
            action: What the agent did last.
        """
        given: dict[str, AttributeValue | None] = {
            names.TURN_ROLE: role,
            names.TURN_INPUT_TYPE: input_type,
            names.TURN_INPUT_LENGTH: input_length,
            names.TURN_OUTPUT_TYPE: output_type,
            names.TURN_OUTPUT_LENGTH: output_length,
            names.TURN_HAS_ATTACHMENTS: has_attachments,
            names.TURN_INTENT: intent,
            names.TURN_ACTION: action,
        }
        said = {key: cleaned(value) for key, value in given.items() if value is not None}
        self._turn.attributes = {**self._turn.attributes, **said}

    def add_usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
        model: str | None = None,
    ) -> None:
        """
        Add tokens and cost of one model call to the turn, and so to the session.

        Args:
            input_tokens: Tokens sent; None when unknown.
            output_tokens: Tokens received; None when unknown.
            cost_usd: US dollars; kept exactly in millionths. None when no price is known: unknown is never 0.
            model: The model's name, for your logs; totals are not kept by model.
        """
        turn = self._turn
        turn.input_tokens = _plus(turn.input_tokens, input_tokens)
        turn.output_tokens = _plus(turn.output_tokens, output_tokens)
        turn.cost_microusd = _plus(turn.cost_microusd, None if cost_usd is None else round(cost_usd * 1_000_000))


def _plus(total: int | None, more: int | None) -> int | None:
    if more is None:
        return total
    return more if total is None else total + more


class Conversation:
    """The current conversation (thread). See ``current_conversation``."""

    __slots__ = ("_scope",)

    def __init__(self, scope: SessionScope) -> None:
        self._scope = scope

    @property
    def id(self) -> str:
        """The application's or client's id, else the session's."""
        return self._scope.conversation_id or self._scope.session_id

    @property
    def topic(self) -> str | None:
        """What it is about."""
        return cast("str | None", self._scope.attributes.get(names.CONVERSATION_TOPIC))

    @property
    def turn_number(self) -> int | None:
        """Number of the current turn within the conversation, from 1; None when not known."""
        turn = self._scope.turn
        if turn is None:
            return None
        return turn.conversation_turn or (turn.number if self._scope.conversation_id is None else None)

    @property
    def total_turns(self) -> int | None:
        """Turns so far, this one included; None when not known."""
        return self.turn_number


class Session:
    """The current session. See ``current_session``."""

    __slots__ = ("_scope",)

    def __init__(self, scope: SessionScope) -> None:
        self._scope = scope

    def __repr__(self) -> str:
        return f"<Session {self.id} turn {self.turn_number}>"

    @property
    def id(self) -> str:
        """Its id: stands on every span. It is no credential: the client's token is something else."""
        return self._scope.session_id

    @property
    def previous_id(self) -> str | None:
        """The session this one continues."""
        return self._scope.previous_id

    @property
    def user_id(self) -> str | None:
        """Pseudonym of its user; None while nobody is identified."""
        return self._scope.user_id

    @property
    def type(self) -> str | None:
        """``chat``, ``api``, ``batch`` or the application's own."""
        return cast("str | None", self._scope.attributes.get(names.SESSION_TYPE))

    @property
    def name(self) -> str | None:
        """A label for people."""
        return cast("str | None", self._scope.attributes.get(names.SESSION_NAME))

    @property
    def prompt_version(self) -> str | None:
        """Version of the prompts in use, to compare by."""
        return cast("str | None", self._scope.attributes.get(names.SESSION_PROMPT_VERSION))

    @property
    def channel(self) -> str | None:
        """``web``, ``mobile``, ``api``, ``slack`` ..."""
        return cast("str | None", self._scope.attributes.get(names.SESSION_CHANNEL))

    @property
    def started_at(self) -> datetime:
        """When its first turn began, UTC."""
        return datetime.fromtimestamp(self._scope.started_ms / 1000, timezone.utc)

    @property
    def turn_number(self) -> int | None:
        """Number of the current turn, from 1; None when this request is none."""
        return self._scope.turn.number if self._scope.turn is not None else None

    @property
    def conversation(self) -> Conversation:
        """The current conversation."""
        return Conversation(self._scope)

    @property
    def metadata(self) -> Mapping[str, AttributeValue]:
        """Everything known about the session, by wire name."""
        return {k: v for k, v in self._scope.attributes.items() if not k.startswith("_")}

    def identify(self, user_id: object, *, tier: str | None = None, org_id: str | None = None) -> None:
        """
        Say who the user is.

        The first one keeps the session: its turns so far are theirs. Another user ends it (``replaced``) and starts
        the next one with the **next** request, because a trace has one session.

        Args:
            user_id: Your id of the user; it leaves the process as a pseudonym only (``user_id_mode="hash"``). None,
                "" and "anonymous" are ignored.
            tier: Plan or tier, as ``user.tier``.
            org_id: Organisation, as ``user.org_id``.
        """
        scope, host = self._scope, cast(Host, self._scope.extra)
        pseudonym = host.hash_user(user_id)
        if pseudonym is not None and scope.user_id is not None and pseudonym != scope.user_id:
            self._succeed(pseudonym, "identify another user")
            return
        if pseudonym is not None and scope.user_id is None:
            scope.user_id, scope.rebind = pseudonym, True
            host.too_late(scope, "identify the user")
            scope.restamp()
            scope.show({})
            if scope.session_span is not None:
                scope.session_span.set_attributes({names.USER_HASH: pseudonym})
        known = {names.USER_TIER: tier, names.USER_ORG_ID: org_id}
        scope.change({key: cleaned(value) for key, value in known.items() if value is not None})

    def set(
        self,
        *,
        type: str | None = None,
        name: str | None = None,
        prompt_version: str | None = None,
        channel: str | None = None,
        client_version: str | None = None,
        locale: str | None = None,
        **attributes: AttributeValue,
    ) -> None:
        """
        Say more about the session: shown on its spans, its end, and its next requests.

        Args:
            type: Category of work.
            name: A label for people.
            prompt_version: Version of the prompts in use.
            channel: Where the user is.
            client_version: Of the user's client.
            locale: Of the user.
            **attributes: Your own, kept as ``metadata.<name>``: text, bool, int or float.
        """
        given: dict[str, AttributeValue | None] = {
            names.SESSION_TYPE: type,
            names.SESSION_NAME: name,
            names.SESSION_PROMPT_VERSION: prompt_version,
            names.SESSION_CHANNEL: channel,
            names.SESSION_CLIENT_VERSION: client_version,
            names.SESSION_LOCALE: locale,
        }
        given |= {f"{names.METADATA}.{key}": value for key, value in attributes.items()}
        self._scope.change({key: cleaned(value) for key, value in given.items() if value is not None})

    def outcome(self, value: str, *, source: str = "confirmed") -> None:
        """
        Say how the session went.

        Args:
            value: ``resolved``, ``escalated``, ``abandoned`` or ``none``.
            source: ``confirmed`` (somebody said so) or ``implied``.

        Raises:
            ValueError: *value* is none of these.
        """
        if value not in OUTCOMES:
            raise ValueError(f"cannot set the outcome: {value!r} is not one of {', '.join(OUTCOMES)}")
        self._scope.change({names.SESSION_OUTCOME: value, names.SESSION_OUTCOME_SOURCE: cleaned(source)})

    def satisfaction(self, value: float) -> None:
        """
        Say how content the user was.

        Args:
            value: From 0 to 1.

        Raises:
            ValueError: Outside of that.
        """
        if not 0 <= value <= 1:
            raise ValueError(f"cannot set the satisfaction: {value!r} is outside of 0..1. Scale it first.")
        self._scope.change({names.SESSION_USER_SATISFACTION: float(value)})

    def end(self, reason: EndReason = "user_exit") -> None:
        """
        End the session with this request. What follows is a new session; after ``user_exit`` it knows no user.

        Args:
            reason: Why: ``user_exit`` (logout), ``completed``, ``escalated`` ...

        Raises:
            ValueError: *reason* is not one of the end reasons.
        """
        if reason not in END_REASONS:
            raise ValueError(f"cannot end the session: {reason!r} is not one of {', '.join(END_REASONS)}")
        self._scope.end_reason = reason
        self._scope.successor = None
        cast(Host, self._scope.extra).too_late(self._scope, "end the session")

    def rotate(self) -> str:
        """
        Give the session a new id from the next request on, after a change of privilege.

        Returns:
            The next session's id; it names this one as ``session.previous_id``. The absolute timeout goes on counting.
        """
        return self._succeed(self._scope.user_id, "rotate the session")

    def _succeed(self, user: str | None, what: str) -> str:
        scope, host = self._scope, cast(Host, self._scope.extra)
        scope.successor = host.new_id(scope.session_id)
        scope.successor_user = user
        scope.end_reason = "replaced"
        host.too_late(scope, what)
        return scope.successor


def cleaned(value: AttributeValue) -> AttributeValue:
    """Return *value* fit for an attribute: text printable and bounded, numbers as they are."""
    if isinstance(value, (bool, int, float)):
        return value
    return clean_attribute(str(value)) or ""


def current_session() -> Session | None:
    """
    Return the session of the current request, or None outside of one. Never raises.

    Reading it makes the response vary by the session (``Vary``), as it should for anything that depends on who asks.
    """
    scope = current_scope.get()
    if scope is None:
        return None
    scope.accessed = True
    return Session(scope)


def current_turn() -> Turn | None:
    """Return the current turn, or None outside of one. Never raises."""
    scope = current_scope.get()
    if scope is None or scope.turn is None:
        return None
    return Turn(scope, scope.turn)


def current_conversation() -> Conversation | None:
    """Return the current conversation, or None outside of a session. Never raises."""
    scope = current_scope.get()
    return None if scope is None else Conversation(scope)


@overload
def turn_endpoint(mark: F, /) -> F: ...


@overload
def turn_endpoint(mark: bool = True) -> Callable[[F], F]: ...


def turn_endpoint(mark: F | bool = True) -> Any:
    """
    Mark a handler as a turn, or not, whatever the rule says.

    Example: ``@turn_endpoint`` on a GET handler that answers a question, ``@turn_endpoint(False)`` on a POST handler
    that only saves a draft. Works where the framework's routes can be looked up before the handler runs: FastAPI,
    Starlette, Flask, Django. Put it nearest to the function.
    """
    if callable(mark):
        return _mark(mark, True)
    return functools.partial(_mark, value=mark)


marks_in_use = False


def _mark(function: F, value: bool) -> F:
    global marks_in_use
    marks_in_use = True
    setattr(function, TURN_MARK, value)
    return function


def mark_of(endpoint: object) -> bool | None:
    """Return the mark of a handler, None when it has none."""
    mark = getattr(endpoint, TURN_MARK, None)
    return mark if isinstance(mark, bool) else None


_hashers: list[Callable[[object], str | None]] = []


def use_hasher(hasher: Callable[[object], str | None]) -> None:
    """Let ``hash_user_id`` use the keys of the engine that was made last."""
    _hashers[:] = [hasher]


def hash_user_id(user_id: object) -> str:
    """
    Return the pseudonym of a user id: ``u_`` and 32 hexadecimal digits, HMAC-SHA256 with a key of its own.

    A plain hash of an id can be turned back by trying all ids; a keyed one cannot, without the key. A pseudonym is
    recognised and returned as it is, so hashing twice does no harm.

    Args:
        user_id: Your id of the user.

    Raises:
        SettingsError: No middleware was made in this process, and the environment has no ``SESSION_MW_SECRET_KEY``.
        ValueError: *user_id* names nobody (None, "", "anonymous").
    """
    text = normalise_user(user_id)
    if text is None:
        raise ValueError("cannot make a pseudonym: the user id is empty or anonymous. Leave the user out instead.")
    if is_pseudonym(text):
        return text
    pseudonym = _hashers[0](text) if _hashers else None
    if pseudonym is not None and is_pseudonym(pseudonym):
        return pseudonym
    settings = SessionSettings()
    return _hash(text, derive_key(settings.user_hash_key_bytes() or settings.secret_bytes(), "user-hash"))


def copy_context(function: F) -> F:
    """
    Return *function* bound to the present context, for threads and executors that do not carry it.

    Example: ``executor.submit(copy_context(work), item)``. Each call runs in a copy of its own.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return context.copy().run(function, *args, **kwargs)

    return cast(F, run)
