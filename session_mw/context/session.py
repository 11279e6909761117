"""The handle on the current session."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol, cast

from .._core import journeys, names
from .._core.analysis import OUTCOMES, SOURCES
from .._core.identity import normalise_user
from .._core.privacy import Hider
from .._core.records import END_REASONS, AttributeValue, EndReason
from .._core.scope import SessionScope, line_of
from .turn import Conversation
from .values import cleaned, cleaned_all, quoted

SCORE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Host(Protocol):
    """What a handle needs of the engine that opened its scope."""

    @property
    def clock(self) -> Callable[[], int]: ...
    def hash_user(self, user_id: object, /) -> str | None: ...
    def new_id(self, keep: str | None, /) -> str: ...
    def too_late(self, scope: SessionScope, what: str, /) -> None: ...
    def totals(self, scope: SessionScope, /) -> Mapping[str, Any]: ...
    def said(self, scope: SessionScope, /) -> None: ...


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
    def idle(self) -> timedelta | None:
        """How long the user had been away before this turn; None in the first, or when it is not known."""
        idle_ms = self._scope.idle_ms
        return None if idle_ms is None else timedelta(milliseconds=idle_ms)

    @property
    def turn_number(self) -> int | None:
        """Number of the current turn, from 1; None when there is none."""
        turn = line_of(self._scope).turn
        return None if turn is None else turn.number

    @property
    def conversation(self) -> Conversation:
        """The current conversation."""
        return Conversation(line_of(self._scope))

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
        hide = scope.rules.hide.knowing(normalise_user(user_id))
        scope.change(cleaned_all({names.USER_TIER: tier, names.USER_ORG_ID: org_id}, hide))

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
            **attributes: Your own, kept as ``metadata.<name>``: text, bool, int or float. E-mail addresses become
                pseudonyms here and everywhere; other personal data does not: give ``hash_user_id()`` of it.
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
        self._scope.change(cleaned_all(given, self._scope.rules.hide))

    def journey(self, name: str, stage: str, stage_number: int | None = None, total_stages: int | None = None) -> None:
        """
        Say which stage of a journey the user is in: shown on the turn in which it is said, and on the session's end.

        The time in a stage counts from when it was entered; saying the same stage again does not enter it again.
        Another journey starts over, with no conversion.

        Args:
            name: Of the journey: ``onboarding``, ``checkout`` ...
            stage: Of the stage: ``setup_complete`` ...
            stage_number: Its place in the journey. None: not known, or as said before of the same stage.
            total_stages: Stages of the journey. None: not known, or as said before of the same journey.

        Raises:
            ValueError: A name is empty, or a number is not whole or below 0.
        """
        hide = self._scope.rules.hide
        journey, stage = _named("journey", name, hide), _named("stage", stage, hide)
        number, total = _counted("stage_number", stage_number), _counted("total_stages", total_stages)
        now_ms = self._now_ms()
        self._on_journey(journeys.enter(self._scope.attributes, journey, stage, number, total, now_ms), now_ms)

    def convert(self) -> None:
        """
        Say that the user reached what the journey is for, in this turn. The first conversion of a journey stays.

        Who has converted has not dropped off. Works without a journey too.
        """
        scope, now_ms = line_of(self._scope), self._now_ms()
        number = scope.remote_turn if scope.turn is None else scope.turn.number
        started_ms = None if scope.remote else scope.started_ms
        self._on_journey(journeys.convert(scope.attributes, number, started_ms, now_ms), now_ms)

    def _on_journey(self, changes: journeys.Changes, now_ms: int) -> None:
        """Change the journey, and show on the turn where the user is now."""
        scope = line_of(self._scope)
        scope.change(changes)
        if scope.turn is not None:
            others = {k: v for k, v in scope.turn.attributes.items() if k not in journeys.SHOWN}
            scope.turn.attributes = {**others, **journeys.shown(scope.attributes, now_ms)}

    def _now_ms(self) -> int:
        return self._scope.at(cast(Host, self._scope.extra).clock())

    def outcome(self, value: str, *, source: str = "confirmed") -> None:
        """
        Say how the session went.

        Args:
            value: ``resolved``, ``escalated``, ``abandoned`` or ``none``.
            source: ``confirmed`` (somebody said so) or ``implied`` (your code takes it for that).

        Raises:
            ValueError: *value* or *source* is none of these.
        """
        if value not in OUTCOMES:
            raise ValueError(f"cannot set the outcome: {quoted(value)} is not one of {', '.join(OUTCOMES)}")
        if source not in SOURCES:
            raise ValueError(f"cannot set the outcome: the source {quoted(source)} is not one of {', '.join(SOURCES)}")
        self._scope.change({names.SESSION_OUTCOME: value, names.SESSION_OUTCOME_SOURCE: source})

    def score(self, name: str, value: float | bool | str) -> None:
        """
        Give the session a score: an evaluator's, a reviewer's, the user's. The last one of a name counts.

        Args:
            name: What was scored: letters, digits, ``_``, ``.`` and ``-``, beginning with a letter, at most 64; shown
                as ``session.score.<name>``.
            value: A number on whatever scale, a flag, or a category in a few words (cut at 200 characters).

        Raises:
            ValueError: *name* is of another form; *value* is none of these, empty, NaN or infinite.
        """
        if not SCORE_NAME.fullmatch(str(name)):
            raise ValueError(
                f"cannot set a score: {quoted(name)} is no name (1 to 64 of letters, digits, '_', '.', '-', a letter "
                "first). Put what varies into the value."
            )
        self._scope.change({f"{names.SESSION_SCORE}.{name}": _scored(name, value, self._scope.rules.hide)})

    def satisfaction(self, value: float) -> None:
        """
        Say how content the user was.

        Args:
            value: From 0 to 1.

        Raises:
            ValueError: Outside of that.
        """
        if not 0 <= value <= 1:
            raise ValueError(f"cannot set the satisfaction: {quoted(value)} is outside of 0..1. Scale it first.")
        self._scope.change({names.SESSION_USER_SATISFACTION: float(value)})

    def metrics(self) -> Mapping[str, Any]:
        """
        Return the session's totals so far, as ``session_metrics()`` does. Asks the store, so it may block for a moment.

        Returns:
            ``duration_ms``, ``turns``, ``tokens``, ``cost`` and more; unknown is None.

        Raises:
            SessionNotFound: The store does not hold it: it has had no turn yet, or another service owns it.
            StoreError: The store could not be asked.
        """
        return cast(Host, self._scope.extra).totals(line_of(self._scope))

    def end(self, reason: EndReason = "user_exit") -> None:
        """
        End the session with this request. What follows is a new session; after ``user_exit`` it knows no user.

        Args:
            reason: Why: ``user_exit`` (logout), ``completed``, ``escalated`` ...

        Raises:
            ValueError: *reason* is not one of the end reasons.
        """
        if reason not in END_REASONS:
            raise ValueError(f"cannot end the session: {quoted(reason)} is not one of {', '.join(END_REASONS)}")
        self._scope.end_reason = reason
        self._scope.successor = None
        host = cast(Host, self._scope.extra)
        host.too_late(self._scope, "end the session")
        host.said(self._scope)

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
        host.said(scope)
        return scope.successor


def _named(what: str, name: object, hide: Hider) -> str:
    """Return a name fit for an attribute; it has to say something."""
    text = cleaned(name, hide) if isinstance(name, str) else ""
    if not isinstance(text, str) or not text:
        raise ValueError(f"cannot set the journey: the {what} is {quoted(name)}. Give it a name.")
    return text


def _counted(what: str, number: object) -> int | None:
    """Return a number of stages."""
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        found = quoted(number)
        raise ValueError(f"cannot set the journey: {what} is {found} (whole, from 0). Leave it out if unknown.")
    return number


def _scored(name: str, value: object, hide: Hider) -> AttributeValue:
    """Return a score fit for an attribute."""
    scored = cleaned(value, hide) if isinstance(value, (bool, int, float, str)) else ""
    if scored == "" or (isinstance(scored, float) and not math.isfinite(scored)):
        raise ValueError(f"cannot set the score {name!r}: {quoted(value)} is no number, flag or word. Leave it out.")
    return scored
