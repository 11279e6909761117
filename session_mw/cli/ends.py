"""Ends of sessions as lines on standard output, for who has no collector."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from .._core import names
from .._core.events import EventRecord


class LineSink:
    """
    Prints a line for each end that is reported.

    Args:
        as_json: A JSON object a line, with every attribute.
    """

    name = "standard output"

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Print the ends among *records*; True once they are written."""
        ends = [record for record in records if record.event_name == names.EVENT_END]
        click.echo("\n".join(map(self._line, ends)), nl=bool(ends))
        return True

    def _line(self, record: EventRecord) -> str:
        told = record.attributes
        if self._as_json:
            return json.dumps({"event": record.event_name, **told}, ensure_ascii=False)
        return _words(told)


def _words(told: Mapping[str, Any]) -> str:
    shown = f"{told[names.SESSION_END_TIME]}  {told[names.SESSION_ID]}  {told[names.SESSION_END_REASON]}"
    return f"{shown}  turns {told[names.SESSION_TOTAL_TURNS]}"
