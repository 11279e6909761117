"""
Links to the traces of other tools, from templates that were checked when the viewer was made.

    SessionViewer(ledger, auth=..., trace_links={"phoenix": "http://localhost:6006"})
    SessionViewer(ledger, auth=..., trace_links=links.grafana("https://grafana.example", datasource="P214B5B846CF"))
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
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


Pairs: TypeAlias = tuple[tuple[str, str], ...]


def phoenix(base: str) -> Pairs:
    """Return links to Arize Phoenix at *base* (``http://localhost:6006``): to each turn's trace, and to the session."""
    root = f"{base.rstrip('/')}/redirects"  # it knows the project itself
    return (("Phoenix", f"{root}/traces/{{trace_id}}"), ("Phoenix", f"{root}/sessions/{{session_id}}"))


def langfuse(base: str) -> Pairs:
    """Return links to a project of Langfuse: *base* is its address, ``https://cloud.langfuse.com/project/abc123``."""
    root = base.rstrip("/")
    return (("Langfuse", f"{root}/traces/{{trace_id}}"), ("Langfuse", f"{root}/sessions/{{session_id}}"))


def jaeger(base: str) -> Pairs:
    """Return links to Jaeger's user interface at *base* (``http://localhost:16686``): to each turn's trace."""
    return (("Jaeger", f"{base.rstrip('/')}/trace/{{trace_id}}"),)


def grafana(base: str, datasource: str = "tempo") -> Pairs:
    """
    Return links to Grafana Explore: to each turn's trace in Tempo.

    Args:
        base: Of Grafana, ``https://grafana.example``.
        datasource: The Tempo data source's UID, as it stands in the address of its settings.
    """
    source = {"type": "tempo", "uid": datasource}
    ask = {"refId": "A", "datasource": source, "queryType": "traceql", "query": "<trace_id>"}
    pane = {"datasource": datasource, "queries": [ask], "range": {"from": "<start_ms>", "to": "<end_ms>"}}
    said = quote(json.dumps({"turn": pane}, separators=(",", ":")), safe="")
    for place in ("trace_id", "start_ms", "end_ms"):
        said = said.replace(quote(f"<{place}>", safe=""), f"{{{place}}}")
    return (("Grafana", f"{base.rstrip('/')}/explore?schemaVersion=1&panes={said}"),)


READY: Mapping[str, Callable[[str], Pairs]] = {
    "phoenix": phoenix,
    "langfuse": langfuse,
    "jaeger": jaeger,
    "grafana": grafana,
}


def templates(given: TraceLinks) -> tuple[Template, ...]:
    """
    Return the templates that were given. A tool of ``READY`` may be given by its address alone.

    Raises:
        SettingsError: One is no http or https URL, or names something that there is not.
    """
    pairs = given.items() if isinstance(given, Mapping) else given
    return tuple(_checked(*one) for name, url in pairs for one in _ready(name, url))


def _ready(name: str, url: str) -> Pairs:
    known = READY.get(name.lower())
    return ((name, url),) if known is None or _PLACE.search(url) else known(url)


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
