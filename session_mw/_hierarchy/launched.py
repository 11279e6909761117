"""
The session that a process was started in: by ``session-mw run``, or by a person who set the variables.

    PHOENIX_SESSION_ID, PHOENIX_SESSION_TYPE, PHOENIX_PROMPT_VERSION, PHOENIX_SESSION_NAME

Taken by scripts whose ``session_context()`` names neither session nor user, and by nothing that serves several people:
a server that somebody started in such a shell would make one session of all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .._core import names
from .._core.identity import clean_attribute, valid_session_id
from .hosts import serving
from .runs import hosted

ID = "PHOENIX_SESSION_ID"
LABELS = {
    names.SESSION_TYPE: "PHOENIX_SESSION_TYPE",
    names.SESSION_PROMPT_VERSION: "PHOENIX_PROMPT_VERSION",
    names.SESSION_NAME: "PHOENIX_SESSION_NAME",
}


def session_of_process(environ: Mapping[str, str] = os.environ) -> tuple[str | None, dict[str, str]]:
    """Return the id of the session that this process was started in, and its labels; None and none where it serves."""
    given = environ.get(ID, "").strip()
    if not valid_session_id(given) or serving() or hosted():
        return None, {}
    found = {name: clean_attribute(environ.get(variable, "")) for name, variable in LABELS.items()}
    return given, {name: text for name, text in found.items() if text is not None}
