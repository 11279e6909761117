"""``session_context``: a block inside which everything belongs to one session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace

from .._core import names
from .._core.identity import normalise_user, valid_session_id
from .._core.ops import Flow
from .._core.privacy import Hider
from .._core.records import AttributeValue
from .._core.scope import SessionScope
from .._engine import Engine, outside
from ..context import Session
from ..context.values import cleaned, cleaned_all
from .block import Placed
from .flowing import Closer, FlowBlock, nothing
from .launched import session_of_process
from .runs import here

LIMITS = "1 to 200 characters of A-Z a-z 0-9 . _ -, no dot at the beginning"


class SessionBlock(FlowBlock[Session]):
    """
    See ``session_context``.

    Args:
        session_id: Checked; None makes one.
        user_id: The application's id of the user.
        said: What is said of the session.
    """

    def __init__(self, session_id: str | None, user_id: object, said: Said) -> None:
        super().__init__()
        self._session_id = session_id
        self._user_id = user_id
        self._said = said

    def opening(self, engine: Engine) -> Flow[tuple[Session, Closer]]:
        """Continue the current session if it is the one that is meant; else open one, with an implied turn."""
        current = here()
        if current is not None and self._session_id in (None, current.session_id):
            session = Session(current)
            tell(session, self._user_id, self._said)
            return session, nothing
        wanted, labels = self._session_id, dict[str, str]()
        if wanted is None and self._user_id is None and current is None:
            wanted, labels = session_of_process()
        attributes = {**labels, **self._said.attributes(engine.policy.rules.hide, self._user_id)}
        scope = yield from outside.open_session(engine, wanted, self._user_id, attributes, turn=True)
        assert scope.turn is not None
        scope.turn.implied = True
        return Session(scope), self._placed(engine, scope, current)

    def _placed(self, engine: Engine, scope: SessionScope, current: SessionScope | None) -> Closer:
        """Open the spans and make them current. Inside another session, in a trace of its own: a trace has one."""
        if current is None:
            context = engine.spans.open(scope)
        else:
            context = engine.spans.open(scope, *outside.own_root(trace.get_current_span()))
        placed = Placed(scope, context)
        outside.announce(engine, scope)

        def close(error: BaseException | None) -> Flow[None]:
            placed.leave()
            yield from outside.close(engine, scope, error)
            engine.spans.end_session(scope, scope.turn.error if scope.turn is not None else None)

        return close


def session_context(
    session_id: object = None,
    user_id: object = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    type: str | None = None,
    name: str | None = None,
    prompt_version: str | None = None,
    channel: str | None = None,
) -> SessionBlock:
    """
    Let everything inside belong to one session: ``with``, ``async with``, or a decorator.

    The session is extended if it is alive in the store, and started otherwise; after an end the id is used again, as a
    new generation. The block is one turn, unless turns are opened inside. Inside a request it extends the request's
    session; given another id there, it opens that session in a trace of its own, linked to the request's.

    Args:
        session_id: Your id, kept as given: 1 to 200 characters of ``A-Z a-z 0-9 . _ -``. None takes the current
            session, else that of ``PHOENIX_SESSION_ID`` (a script that names no user, in a process that serves
            nobody: ``session-mw run`` sets it), or makes one.
        user_id: Your id of the user; it leaves the process as a pseudonym only. One that ``hash_user_id`` made is
            recognised. None, "" and "anonymous" name nobody. Another user than the session's ends it: a session never
            holds two.
        metadata: Kept as ``metadata.<key>``, to filter by: text, numbers, flags; what is deeper is kept as JSON.
            E-mail addresses in it become pseudonyms, and so does *user_id* where it is repeated.
        type: Category of work; ``batch`` by default outside of requests.
        name: A label for people.
        prompt_version: Version of the prompts in use, to compare by.
        channel: Where the user is: ``web``, ``mobile``, ``api``, ``slack`` ...

    Raises:
        ValueError: *session_id* has other characters, or is too long.
        SettingsError: The first use of an engine, and ``SESSION_MW_*`` holds something that cannot be used.
    """
    said = {
        names.SESSION_TYPE: type,
        names.SESSION_NAME: name,
        names.SESSION_PROMPT_VERSION: prompt_version,
        names.SESSION_CHANNEL: channel,
    }
    return SessionBlock(checked_id(session_id), user_id, Said(said, metadata))


def checked_id(session_id: object) -> str | None:
    """
    Return the application's session id as text.

    Raises:
        ValueError: It cannot be one. It is not repeated in the message: it might hold an address.
    """
    if session_id is None:
        return None
    text = str(session_id)
    if not valid_session_id(text):
        odd = sorted({c for c in text if not (c.isascii() and (c.isalnum() or c in "._-"))})
        found = f"{len(text)} characters" + (f", {odd[0]!r} among them" if odd else "")
        hint = "Use hash_user_id() on what is personal"
        raise ValueError(f"cannot use this session id: found {found} ({LIMITS}). {hint}.")
    return text


@dataclass(frozen=True, slots=True)
class Said:
    """
    What a call says of a session.

    Attributes:
        known: By wire name; None was not given.
        metadata: The application's own.
    """

    known: Mapping[str, str | None] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None

    def attributes(self, hide: Hider, user_id: object = None) -> dict[str, AttributeValue]:
        """
        Return it by wire name, without what is personal.

        Args:
            hide: The engine's or session's.
            user_id: Named in the same call: its raw form is known now, and at no other time.
        """
        hide = hide if user_id is None else hide.knowing(normalise_user(user_id))
        own = {f"{names.METADATA}.{key}": flat(value, hide) for key, value in (self.metadata or {}).items()}
        return cleaned_all({**self.known, **own}, hide)


def flat(value: Any, hide: Hider) -> AttributeValue:
    """Return a value of metadata fit for an attribute: what is deeper than text and numbers as JSON."""
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return hide(hide.user) if hide.user and hide.user == str(value) else value
    return cleaned(as_text(value), hide)


def as_text(value: Any) -> Any:
    """Return what is deeper than text and numbers as JSON."""
    if isinstance(value, (str, bool, int, float)):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def tell(session: Session, user_id: object, said: Said) -> None:
    """Add to a session that is open."""
    if user_id is not None:
        session.identify(user_id)
    attributes = said.attributes(session._scope.rules.hide, user_id)
    if attributes:
        session._scope.change(attributes)
