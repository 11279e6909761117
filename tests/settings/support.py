"""Keys for tests, and the one way they look at an error."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest

from session_mw.exceptions import SettingsError
from session_mw.settings import SessionSettings

KEY = "pQ7-xW2vK9_dLm4TzR8sYb1NcJf6HgU0aEoXiVtS3yB"
OLD_KEY = "Zk3wM8rB-f5PjC1nQ_x7LdT0hVsY2uEgA9oKiR6tXb4"
OTHER_KEY = "hT6yU1iO-p4AsD9fG_j2KlZ7xC0vBnM5qWe8RtY3uLw"


# The rules here are about values; a busy machine is no failure.
unhurried = hypothesis.settings(deadline=None)


def refused(**values: Any) -> SettingsError:
    """Return the error that SessionSettings raises for *values*; a good secret_key is added where none is given."""
    with pytest.raises(SettingsError) as caught:
        SessionSettings(**{"secret_key": KEY, **values})
    return caught.value
