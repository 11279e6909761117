"""A history to look at, a viewer of it, and pages read by a parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from starlette.testclient import TestClient

from session_mw._core import names
from session_mw._core.records import UsageRecord
from session_mw.ledger import Ledger, RingLedger
from session_mw.viewer import SessionViewer
from tests.ledger.support import end, turn

NOW_MS = 1_760_000_000_000  # 9 October 2025, 08:53:20 UTC
HOUR = 3_600_000
DAY = 24 * HOUR
JANE = "u_" + "1" * 32
VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())


def ana(request: Any) -> str:
    """Everybody is Ana."""
    return "ana@example.com"


def client(ledger: Ledger, **options: Any) -> TestClient:
    """Return somebody who looks at *ledger*."""
    options = {"auth": ana, "clock": lambda: NOW_MS, **options}
    return TestClient(SessionViewer(ledger, **options), base_url="http://viewer.test", follow_redirects=False)


def filled() -> RingLedger:
    """Return a history in memory, see ``fill``."""
    ledger = RingLedger()
    fill(ledger)
    return ledger


def fill(ledger: Ledger) -> None:
    """Tell of Jane's chat with an idle hour and an error, a review, one of two months ago, one of a bot."""
    began = NOW_MS - 5 * HOUR
    ledger.write_turns(
        [
            _turn(1, began, action="greet", first_chunk_ms=400),
            _turn(2, began + 10_000, action="search", usages=_calls(began + 10_000)),
            _turn(3, began + HOUR, action="search", status="error", error_type="TimeoutError", latency_ms=30_000),
        ]
    )
    said = {
        names.SESSION_TYPE: "chat",
        names.SESSION_PROMPT_VERSION: "v2",
        names.SESSION_OUTCOME: "resolved",
        names.USER_ORG_ID: "org_1",
        "metadata.source": "web",
    }
    times = {"started_ms": began, "last_ms": began + HOUR + 30_000, "ended_ms": NOW_MS - 3 * HOUR}
    ledger.emit([end("chat-1", user_id=JANE, cost_microusd=1_250_000, attributes=said, **times)])
    quiet: dict[str, Any] = {"turns": 1, "completed": 1, "failed": 0, "cost_microusd": None, "reason": "user_exit"}
    for session_id, age, more in (
        ("review-1", 2 * HOUR, {"user_id": None}),
        ("old-1", 60 * DAY, {}),
        ("bot-1", HOUR, {"confirmed": False}),
    ):
        at = {"started_ms": NOW_MS - age, "last_ms": NOW_MS - age + 1_000, "ended_ms": NOW_MS - age + 2_000}
        attributes = {names.SESSION_TYPE: "review", names.USER_ORG_ID: "org_2"}
        ledger.emit([end(session_id, attributes=attributes, **{**quiet, **at, **more})])


def _calls(at: int) -> tuple[UsageRecord, ...]:
    """An agent that asks a model, which asks for two tools of which one fails; nobody knows a price of one call."""
    spans = [f"{n:016x}" for n in range(10, 15)]
    return (
        UsageRecord("agent", at + 100, 1_800, "helper", span_id=spans[0]),
        UsageRecord(
            *("model", at + 200, 600, "chat", "big-1", "vendor", spans[1], spans[0], "ok", None, 150),
            *(60, 12, 40, 5, 7, 30_000),
        ),
        UsageRecord("tool", at + 850, 400, "search_docs", span_id=spans[2], parent_id=spans[0]),
        UsageRecord("tool", at + 1_250, 200, "fetch", None, None, spans[3], spans[0], "error", "TimeoutError"),
        UsageRecord("model", at + 1_500, 300, "chat", "local-1", span_id=spans[4], input_tokens=40, output_tokens=8),
    )


def _turn(number: int, started_ms: int, action: str, **more: Any) -> Any:
    facts = {"latency_ms": 2_000, "input_tokens": 100, "output_tokens": 20, "cost_microusd": 30_000, **more}
    trace = f"{number:032x}-{number:016x}-01"
    attributes = {names.TURN_ACTION: action, names.TURN_INPUT_LENGTH: 150, names.TURN_INPUT_TYPE: "question"}
    return turn("chat-1", number, started_ms=started_ms, trace=trace, attributes=attributes, **facts)


@dataclass
class Element:
    """One element: its tag, attributes, the text in it, and those within it."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, white space as one space."""
        return " ".join(self.raw.split())

    @property
    def raw(self) -> str:
        """All text in it."""
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)

    def all(self, tag: str | None = None, **attributes: str) -> list[Element]:
        """Return the elements within it; ``cls`` is one of its classes."""
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        found = []
        for child in self.children:
            if isinstance(child, Element):
                found += [child] if child._is(tag, wanted) else []
                found += child.all(tag, **attributes)
        return found

    def one(self, tag: str | None = None, **attributes: str) -> Element:
        """Return the one element within it."""
        found = self.all(tag, **attributes)
        assert 1 == len(found), f"{len(found)} of {tag} {attributes}"
        return found[0]

    def _is(self, tag: str | None, wanted: dict[str, str]) -> bool:
        for name, value in wanted.items():
            if name == "cls":
                if value not in self.attributes.get("class", "").split():
                    return False
            elif self.attributes.get(name) != value:
                return False
        return tag is None or self.tag == tag


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.path = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len({name for name, _ in attrs}), f"an attribute twice in {tag}"
        one = Element(tag, {name: value or "" for name, value in attrs})
        self.path[-1].children.append(one)
        if tag not in VOID:
            self.path.append(one)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.path.pop()

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.path[-1].tag, f"{tag} closes {self.path[-1].tag}"
        self.path.pop()

    def handle_data(self, data: str) -> None:
        self.path[-1].children.append(data)


def read(html: str) -> Element:
    """Parse a page; its elements have to be well nested."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.path == [reader.root], f"{reader.path[-1].tag} is not closed"
    return reader.root
