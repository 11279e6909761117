"""
Child processes: the session goes along in the environment, as ``TRACEPARENT``, ``TRACESTATE`` and ``BAGGAGE``.

    subprocess.run([sys.executable, "job.py"], env=session_environ())       # in the parent

    with continued_session():                                               # in job.py
        ...

Children of ``multiprocessing`` are given the mapping itself: ``Process(target=work, args=(session_environ({}),))``, and
``work`` begins with ``continued_session(given)``.

Source: OpenTelemetry, "Environment Variables as Context Propagation Carriers" (names; written into a copy only).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .._hierarchy.block import Block
from .._hierarchy.carried import FIELDS, Carried, carrier
from ..context import Session


def session_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Return a copy of an environment that lets a child continue the current session and trace.

    Give it to children that may know them; what they start themselves inherits it.

    Args:
        environ: To copy; None takes this process's, which is never changed. What it holds of another session or trace
            is left out.
    """
    made = dict(os.environ if environ is None else environ)
    for field in FIELDS:
        made.pop(_variable(field), None)
    made.update((_variable(field), value) for field, value in carrier().items())
    return made


def continued_session(environ: Mapping[str, str] | None = None, *, trusted: bool = False) -> Block[Session | None]:
    """
    Continue the session of the parent process: a ``with`` block, an ``async with`` block, or a decorator.

    Spans and log records inside carry session, user, conversation and turn, in the parent's trace. The turn is the
    parent's: none is counted here. Tokens used inside are added to the session, through a store that both share, and
    are written when the block ends.

    Args:
        environ: What ``session_environ`` returned; None takes this process's environment.
        trusted: Whether to believe it without a signature. By default the parent's ``baggage_key`` (or ``secret_key``)
            has to be this process's, too, and the session younger than ``absolute_timeout``.

    Returns:
        A block that gives the session, None when there is none or it is not believed: code inside runs as it would
        without.
    """
    given = os.environ if environ is None else environ
    return Carried(
        {field: value for field in FIELDS if (value := given.get(_variable(field), ""))},
        trusted=trusted,
    )


def _variable(field: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in field).upper()
