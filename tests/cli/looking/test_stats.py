"""``session-mw stats``: sums, over all or a line a group."""

from __future__ import annotations

import json

from session_mw.ledger.shown import shown_ms
from tests.cli.looking.history import run


def test_stats_sums_up(url: str) -> None:
    """One line over all; the rate of resolution with what is unknown beside it."""
    (found,) = json.loads(run("stats", "--ledger", url, "--json").stdout)
    line = run("stats", "--ledger", url).stdout.splitlines()[1].split("\t")

    assert {
        "sessions": 3, "users": 2, "anonymous_sessions": 1, "turns": 4, "total_tokens": 280, "avg_tokens": 140.0,
        "sessions_without_tokens": 1,
        "total_cost_usd": 1.25, "avg_cost_usd": 1.25, "sessions_without_cost": 2, "avg_turn_latency_ms": 275.0,
        "resolved": 1, "settled": 1, "unknown_outcome": 2, "resolution_rate": 1.0, "sessions_with_errors": 1,
    }.items() <= found.items()  # fmt: skip
    assert "20m 10s" == shown_ms(found["avg_duration_ms"])
    assert ["3", "2", "4", "1.3", "20m 10s", "280*", "140", "$1.25*", "$1.25", "275 ms", "1", "100.0%", "67%"] == line


def test_stats_groups(url: str) -> None:
    """By fields and attributes, in natural order, what has none last."""
    found = json.loads(
        run("stats", "--ledger", url, "--all-time", "--by", "prompt_version, metadata.source", "--json").stdout
    )

    assert [("v2", "web", 1), ("v10", None, 1), (None, None, 2)] == [
        (one["group"]["prompt_version"], one["group"]["metadata.source"], one["sessions"]) for one in found
    ]
    assert run("stats", "--ledger", url, "--by", "type").stdout.startswith("type\tsessions\t")
