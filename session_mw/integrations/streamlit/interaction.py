"""
What the user did, by which a run is a turn or not.

A run is a turn when the user caused it through a widget: sent a message, pressed a button, submitted a form, wrote,
chose or uploaded something. Page loads and page changes, ``st.rerun()`` and runs that a timer caused (``run_every``)
are none. A page may say otherwise (``track_session(turn=...)``).

Of a page that is not known yet, a message or a button counts and nothing else: a browser that connects anew sends the
values that its widgets still have, and nobody has touched these.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..._engine import hints
from ...telemetry.notices import once

logger = logging.getLogger("session_mw")

MESSAGES = ("chat_input_value", "string_trigger_value")  # by later and earlier versions
PRESSED = ("trigger_value", "json_trigger_value", *MESSAGES)  # are there in one run, and gone in the next


@dataclass(frozen=True, slots=True)
class Interaction:
    """
    What the user did before a run.

    Attributes:
        keys: Of the widgets that were used, as far as they have one.
        pressed: Whether a button was pressed, a form submitted or a message sent; False where a value changed only.
        message: What was written into ``st.chat_input``; None when that was not used.
        attached: Whether something was sent along with the message; None where there is none, or nothing can be.
    """

    keys: frozenset[str] = frozenset()
    pressed: bool = False
    message: str | None = field(default=None, repr=False)
    attached: bool | None = None


Rule = bool | str | Iterable[str] | Callable[[Interaction], bool] | None


def is_turn(rule: Rule, did: Interaction, *, known: bool) -> bool:
    """
    Return whether the run is a turn.

    Args:
        rule: As given to ``track_session``.
        did: What the user did.
        known: Whether the page had run before.
    """
    if not known and not did.pressed:
        return False
    if rule is None or isinstance(rule, bool):
        return rule is not False
    if isinstance(rule, str):
        return rule in did.keys
    if callable(rule):
        try:
            return bool(rule(did))
        except Exception as error:
            hints.user_failed(error)
            return True
    return not did.keys.isdisjoint(rule)


def read(state: Any, arrived: Any) -> Interaction | None:
    """
    Return what the user did, None when nothing.

    Args:
        state: The host's state of the session, the widgets' new values in it.
        arrived: The message of the browser: a list of widgets with their values.
    """
    try:
        changed = list(_changed(state, arrived))
    except Exception as error:  # the host's own, and they have other names in some version
        kind = type(error).__name__
        text = "cannot tell what the user changed: %s: %s. Buttons and messages are turns, other changes are not."
        once(f"streamlit:changed:{kind}", logger.warning, text, kind, error)
        changed = [(widget.id, _kind(widget), None) for widget in arrived.widgets if _fired(widget)]
    if not changed:
        return None
    keys = frozenset(key for key in (_key(name) for name, _, _ in changed) if key is not None)
    said = [value for _, kind, value in changed if kind in MESSAGES and value is not None]
    message = said[0] if said else None
    pressed = any(kind in PRESSED for _, kind, _ in changed)
    return Interaction(keys, pressed, _text(message), _attached(message))


def _changed(state: Any, arrived: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield each widget that has another value than after the last run: its id, the kind of its value, the value."""
    new, old = state._new_widget_state, state._old_state
    for widget in arrived.widgets:
        kind, value = _kind(widget), new.get(widget.id)
        if value != old.get(widget.id):
            yield widget.id, kind, value


def _kind(widget: Any) -> str:
    return widget.WhichOneof("value") or ""


def _fired(widget: Any) -> bool:
    kind = _kind(widget)
    return kind in PRESSED and bool(getattr(widget, kind))


def _key(widget_id: str) -> str | None:
    """Return the key that the page gave a widget: the id is a mark, a hash, and the key or None."""
    key = widget_id.split("-", 2)[-1]
    return None if key == "None" else key


def _text(message: Any) -> str | None:
    text = message if message is None or isinstance(message, str) else getattr(message, "text", None)
    return text if isinstance(text, str) else None


def _attached(message: Any) -> bool | None:
    if message is None or isinstance(message, str):
        return None
    return bool(getattr(message, "files", None) or getattr(message, "audio", None))
