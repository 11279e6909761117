"""Links to the traces of other tools, from templates that were checked when the viewer was made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from ..exceptions import SettingsError
from ..ledger import SessionRow, TurnRow

TraceLinks: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

_PLACE = re.compile(r"\{([^{}]*)\}")
OF_TURNS = ("trace_id", "span_id")
PLACES = (*OF_TURNS, "session_id", "user_id", "start_ms", "end_ms")


@dataclass(frozen=True, slots=True)
class Template:
    """
    One tool.

    Attributes:
        name: As people call it.
        url: With places in braces.
    """

    name: str
    url: str

    @property
    def of_turn(self) -> bool:
        """Whether it leads to one trace rather than to a session."""
        return any(f"{{{place}}}" in self.url for place in OF_TURNS)

    def filled(self, values: Mapping[str, object]) -> str | None:
        """Return the URL, None when something is not known that it needs."""
        if any(values.get(place) is None for place in _PLACE.findall(self.url)):
            return None
        return _PLACE.sub(lambda found: quote(str(values[found[1]]), safe=""), self.url)


def templates(given: TraceLinks) -> tuple[Template, ...]:
    """
    Return the templates that were given.

    Raises:
        SettingsError: One is no http or https URL, or names something that there is not.
    """
    pairs = given.items() if isinstance(given, Mapping) else given
    return tuple(_checked(name, url) for name, url in pairs)


def _checked(name: str, url: str) -> Template:
    unknown = [place for place in _PLACE.findall(url) if place not in PLACES]
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "{" in parts.netloc:
        raise _refused(name, url, "it has to be an http or https URL with a host of its own")
    if unknown:
        raise _refused(name, url, f"{{{unknown[0]}}} is none of {', '.join(PLACES)}")
    return Template(name, url)


def _refused(name: str, url: str, why: str) -> SettingsError:
    hint = "Write it as 'https://phoenix.example/redirects/traces/{trace_id}'."
    text = f"cannot use trace_links[{name!r}]: found {url!r}: {why}. {hint}"
    return SettingsError(text, name="trace_links", found=url, hint=hint)


def links(given: Iterable[Template], row: SessionRow, turn: TurnRow | None = None) -> list[tuple[str, str]]:
    """Return names and URLs: those of a session, or those of a turn whose trace was recorded."""
    values: dict[str, object] = {"session_id": row.session_id, "user_id": row.user_id}
    values |= {"start_ms": row.started_ms, "end_ms": row.last_ms}
    if turn is not None and turn.sampled is not False:
        end_ms = turn.started_ms + turn.latency_ms
        values |= {"trace_id": turn.trace_id, "span_id": turn.span_id, "start_ms": turn.started_ms, "end_ms": end_ms}
    found = [(one.name, one.filled(values)) for one in given if one.of_turn == (turn is not None)]
    return [(name, url) for name, url in found if url is not None]
