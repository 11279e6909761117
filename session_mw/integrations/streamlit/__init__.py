"""
Streamlit: a session for each browser session, and a turn for each run in which its user did something.

    from session_mw.integrations.streamlit import track_session

    session = track_session()  # at the top of the script

How Streamlit works, as far as it matters here. Every interaction runs the script again, often in another thread, each
with empty context variables; callbacks of widgets run before the script's first line, a fragment runs without the
rest of the script, and a new run may begin while the old one has not noticed yet that it is to stop. What lasts is the
session's state, one object for each browser session.

So the session hangs on that object, and a thin wrapper around the call that executes a run places it there: around
callbacks, script and fragments alike (``runs``). The wrapper is put in place when this package is first imported;
where that is inside the script, the run that imports it is the first page load, and no turn anyhow.
"""

from __future__ import annotations

from ...exceptions import MissingDependency

try:
    import streamlit  # noqa: F401
except ImportError as error:
    raise MissingDependency("session_mw.integrations.streamlit", "streamlit", "streamlit") from error

from .interaction import Interaction
from .tracking import track_session

__all__ = ["Interaction", "track_session"]
