"""
Links to other tools, by their address alone.

Sources: Phoenix "Constructing URLs" (redirects); Langfuse's SDK, ``get_trace_url``; Jaeger's UI, ``TracePage/url``
(``/trace/:id``); Grafana, the address that Explore's own Share makes (``schemaVersion=1``, ``panes``).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from session_mw.viewer import links
from tests.viewer.support import HOUR, NOW_MS, client, filled, read

TRACE = f"{1:032x}"
BEGAN = NOW_MS - 5 * HOUR


def found(trace_links: Any) -> tuple[list[str], list[str]]:
    """Return where the links of the first turn and those of the session lead."""
    page = read(client(filled(), trace_links=trace_links).get("/s?id=chat-1").text)
    turn, head = page.all("li", cls="turn")[0].one(cls="trace"), page.one(cls="when")
    return (
        [one.attributes["href"] for one in turn.all("a")],
        [one.attributes["href"] for one in head.all("a", rel="noopener noreferrer")],
    )


@pytest.mark.parametrize(
    ("name", "base", "turn", "session"),
    [
        ("phoenix", "http://localhost:6006", f"/redirects/traces/{TRACE}", "/redirects/sessions/chat-1"),
        ("Phoenix", "http://localhost:6006/", f"/redirects/traces/{TRACE}", "/redirects/sessions/chat-1"),
        ("langfuse", "https://l.test/project/p1", f"/traces/{TRACE}", "/sessions/chat-1"),
        ("jaeger", "http://localhost:16686/jaeger", f"/trace/{TRACE}", None),
    ],
)
def test_a_known_tool_needs_its_address_only(name: str, base: str, turn: str, session: str | None) -> None:
    """Its name is enough, however it is written; a slash at the end of the address does not matter."""
    root = base.rstrip("/")

    assert ([root + turn], [root + session] if session else []) == found({name: base})


def test_grafana_explore() -> None:
    """One pane, the trace by its id, in the data source that was named, at the time of the turn."""
    turns, sessions = found(links.grafana("https://g.test/", datasource="P214B5B846CF3925F"))
    parts = urlsplit(turns[0])
    asked = parse_qs(parts.query)
    pane = json.loads(asked["panes"][0])["turn"]

    assert [] == sessions
    assert ("g.test", "/explore", ["1"]) == (parts.netloc, parts.path, asked["schemaVersion"])
    assert {"from": str(BEGAN), "to": str(BEGAN + 2_000)} == pane["range"]
    source = {"type": "tempo", "uid": "P214B5B846CF3925F"}
    ask = {"refId": "A", "datasource": source, "queryType": "traceql", "query": TRACE}
    assert ("P214B5B846CF3925F", [ask]) == (pane["datasource"], pane["queries"])


def test_a_template_of_one_s_own_is_kept() -> None:
    """Also under a known name; several tools stand beside each other."""
    given = [("Phoenix", "https://p.test/x/{trace_id}"), *links.jaeger("http://j.test")]

    assert ([f"https://p.test/x/{TRACE}", f"http://j.test/trace/{TRACE}"], []) == found(given)
