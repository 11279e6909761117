"""What ``export --format otlp`` writes, an import reads back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from session_mw._core import names
from session_mw._core.events import end_event, start_event
from session_mw.cli.importing.files import read
from session_mw.cli.importing.gathered import Gathered, Told
from session_mw.cli.importing.otlp import span_of
from session_mw.cli.importing.traces import Reading
from session_mw.cli.importing.writing import Writer
from session_mw.cli.looking.otlp import resource_spans
from session_mw._core.rules import SpanRules
from session_mw.ledger import Ledger
from session_mw.ledger.ring import RingLedger
from tests.cli.importing.support import bring, opened
from tests.cli.looking.history import run
from tests.ledger.support import T0, DAY, dump, without_pk
from tests.ledger.test_properties import finished, frozen, unhurried
