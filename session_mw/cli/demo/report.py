"""The report for people: coloured in a terminal, the same as plain text elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from ..._core import names
from .checks import Check, session_of
from .document import at, events_of, filter_of, paths_of
from .evidence import ORDERS, Evidence, Sums
from .otlp import Record
from .outline import ConversationBranch, SessionBranch, SpanBranch, TurnBranch, UserBranch
from .place import Place

REASONS = {"idle_timeout": "yellow", "replaced": "magenta", "user_exit": "green"}
FOREIGN = "bright_magenta"  # spans of another service
QUIET = "dim"
WIDE = 120  # columns from which on the table of events has all of its own

COLUMNS = "time,event,session,who,reason,turns,tokens,cost,ms/turn,ms idle,dropped".split(",")
WIDE_ONLY = ("time", "session", "ms/turn", "ms idle")
NUMBERS = {
    "turns": names.SESSION_TOTAL_TURNS,
    "tokens": names.SESSION_TOTAL_TOKENS,
    "cost": names.SESSION_TOTAL_COST_USD,
    "ms/turn": names.SESSION_AVG_TURN_LATENCY_MS,
    "ms idle": names.SESSION_IDLE_TIME_MS,
}


def print_report(
    console: Console, place: Place, evidence: Evidence, users: Sequence[UserBranch], checks: Sequence[Check]
) -> None:
    """
    Print what came out: the tree, the events, the checks, the files, and what to do next.

    Args:
        console: Where to.
        place: Where the files are.
        evidence: What was read back.
        users: The same in order.
        checks: What was looked at.
    """
    _section(console, "What came out", "user > session > conversation > turn > spans")
    for user in users:
        console.print(_user(user))
        console.print()
    if evidence.telemetry is None:
        _section(console, "The telemetry is in your back end", "find it by")
        console.print(Text(f"  {filter_of(place)}\n", style="bold"), soft_wrap=True)
    else:
        _section(console, "Events", "as log records, read from the OTLP bytes")
        who = {session.row.session_id: session.who for user in users for session in user.sessions}
        console.print(_events(events_of(evidence), who, console.width >= WIDE))
    sources = "OTLP bytes and " if evidence.telemetry is not None else ""
    _section(console, "Checks", f"between script, database, {sources}the model's own books")
    for check in checks:
        _check(console, check)
    _skipped(console, checks)
    _files(console, place)


def print_next_steps(console: Console, place: Place, sent_elsewhere: bool) -> None:
    """Say what can be tried next."""
    _section(console, "Next", "")
    steps = [
        (f"session-mw view --ledger {shlex.quote(place.store)}", "shows these sessions in your browser"),
        ("session-mw demo --keep", "leaves the chat running, to talk with it in your browser"),
        ("session-mw demo --endpoint http://localhost:4318", "sends the same to your own back end"),
        ("session-mw settings", "lists what can be set"),
    ]
    for command, does in steps:
        if not (sent_elsewhere and "--endpoint" in command):
            console.print(Text.assemble("  ", (command, "bold cyan"), f"  {does}"), soft_wrap=True)


def _section(console: Console, name: str, what: str) -> None:
    console.print(Text.assemble((name, "bold"), (f"  {what}" if what else "", QUIET)), soft_wrap=True)


# -- the tree


def _user(user: UserBranch) -> Tree:
    who = f"  {user.login}, a name that stays in the application" if user.login else "  nobody logged in"
    name = ("user ", "") if user.user_id else ("no user", "bold blue")
    tree = Tree(Text.assemble(name, (user.user_id or "", "bold blue"), (who, QUIET)), guide_style=QUIET)
    for session in user.sessions:
        _add_session(tree, session)
    return tree


def _add_session(tree: Tree, session: SessionBranch) -> None:
    row = session.row
    reason = row.end_reason or "not ended"
    line = Text.assemble(
        "session ",
        (row.session_id, "bold cyan"),
        f"  {count(row.turns, 'turn')}  {usage(_sums_of(session))}  {row.duration_ms / 1000:.1f} s  ",
        (reason, REASONS.get(reason, "red")),
        (f"  {session.who}", QUIET),
    )
    branch = tree.add(line)
    if row.previous_id:
        branch.add(Text.assemble(("continues session ", QUIET), (row.previous_id, "cyan")))
    for conversation in session.conversations:
        _add_conversation(branch, conversation)
    if session.requests:
        others = ", ".join(name if times == 1 else f"{name} x{times}" for name, times in session.requests.items())
        branch.add(Text(f"no turns: {others}", QUIET))


def _sums_of(session: SessionBranch) -> Sums:
    row = session.row
    return row.input_tokens or 0, row.output_tokens or 0, row.cost_microusd or 0


def _add_conversation(tree: Tree, conversation: ConversationBranch) -> None:
    name = conversation.conversation_id or "that of the session"
    branch = tree.add(Text.assemble("conversation ", (name, "cyan"), f"  {usage(conversation.sums)}"))
    for turn in conversation.turns:
        _add_turn(branch, turn)


def _add_turn(tree: Tree, turn: TurnBranch) -> None:
    row = turn.row
    sums = (row.input_tokens or 0, row.output_tokens or 0, row.cost_microusd or 0)
    line = Text.assemble(
        (f"turn {row.number}", "bold"),
        f"  {row.intent or ''}  {usage(sums)}  {row.latency_ms} ms",
        ("" if row.status == "ok" else f"  {row.status}", "yellow"),
    )
    if row.first_chunk_ms is not None and row.latency_ms > row.first_chunk_ms + 50:
        line.append(f"  first words after {row.first_chunk_ms} ms", QUIET)
    branch = tree.add(line)
    for span in shown(turn.spans):
        _add_span(branch, span)


def _add_span(tree: Tree, branch: SpanBranch) -> None:
    """Add a span; a chain of spans that have one inside each is one line."""
    line, inside = _span(branch), shown(branch.inside)
    while len(inside) == 1:
        line = Text.assemble(line, (" > ", QUIET), _span(inside[0]))
        inside = shown(inside[0].inside)
    node = tree.add(line)
    for inner in inside:
        _add_span(node, inner)


def shown(branches: Iterable[SpanBranch]) -> list[SpanBranch]:
    """Leave out the spans that newer FastAPIs make of their own steps, three a request; what is inside them stays."""
    found: list[SpanBranch] = []
    for branch in branches:
        found += shown(branch.inside) if branch.span.name.startswith("fastapi.") else [branch]
    return found


def _span(branch: SpanBranch) -> Text:
    span, said = branch.span, branch.span.attributes
    elsewhere = span.service == ORDERS
    text = Text.assemble((span.title, "red" if span.failed else FOREIGN if elsewhere else ""))
    if elsewhere:
        text.append(f" in {span.service}", QUIET)
    if "gen_ai.usage.input_tokens" in said:
        tokens = f" {said['gen_ai.usage.input_tokens']} + {said.get('gen_ai.usage.output_tokens')} tokens"
        text.append(tokens, "green")
    return text


# -- events, checks, files


def _events(records: Iterable[Record], who: Mapping[str, str], wide: bool) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, header_style=QUIET, padding=(0, 1, 0, 0))
    columns = [column for column in COLUMNS if wide or column not in WIDE_ONLY]
    for name in columns:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    for record in records:
        cells = _event(record, who)
        table.add_row(*(cells.get(name, "") for name in columns))
    return table


def _event(record: Record, who: Mapping[str, str]) -> dict[str, RenderableType]:
    """Return what stands in each column."""
    said = record.attributes
    session_id, ended = str(session_of(said)), record.event_name == names.EVENT_END
    cells: dict[str, RenderableType] = {
        "time": Text(at(record.timestamp_ns // 1_000_000)[11:-1], QUIET),
        "event": Text(record.event_name, "bold" if ended else ""),
        "session": Text(f"..{session_id[-8:]}", "cyan"),  # a session that continues another begins as that does
        "who": Text(who.get(session_id, "")),
    }
    if ended:
        reason = str(said.get(names.SESSION_END_REASON))
        cells |= {name: _total(said.get(attribute)) for name, attribute in NUMBERS.items()}
        cells["reason"] = Text(reason, REASONS.get(reason, ""))
        cells["dropped"] = Text("yes", "yellow") if said.get(names.DROPOFF_DETECTED) else "no"
    return cells


def _total(value: object) -> str:
    return "" if value is None else f"${value:.6f}" if isinstance(value, float) else str(value)


def _check(console: Console, check: Check) -> None:
    if check.skipped:
        return
    mark, style = ("ok    ", "green") if check.ok else ("FAILED", "bold red")
    console.print(Text.assemble((f"  {mark}", style), f"  {check.says}"), soft_wrap=True)
    for problem in check.problems:
        console.print(Text(f"          {problem}", "red"), soft_wrap=True)


def _skipped(console: Console, checks: Sequence[Check]) -> None:
    """Say what was not looked at, and why; the reason is the same for all that share it."""
    for reason in dict.fromkeys(check.skipped for check in checks if check.skipped):
        console.print(Text(f"  not looked at, because {reason}:", QUIET), soft_wrap=True)
        for check in checks:
            if check.skipped == reason:
                console.print(Text(f"          {check.says}", QUIET), soft_wrap=True)


def _files(console: Console, place: Place) -> None:
    console.print()
    _section(console, "Where it lies", str(place.directory))
    what = {
        "database": "sessions and turns, SQLite",
        "books": "what the model wrote down of its calls",
        "report": "all of this and every attribute, JSON",
    }
    paths = paths_of(place)
    for name, text in what.items():
        console.print(Text.assemble(f"  {paths[name]}", (f"  {text}", QUIET)), soft_wrap=True)
    console.print()


def usage(sums: Sums) -> str:
    """Return tokens and price as people write them."""
    return f"{sums[0]} + {sums[1]} tokens  ${sums[2] / 1_000_000:.6f}"


def count(number: int, what: str) -> str:
    """Return ``1 turn``, ``2 turns``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
