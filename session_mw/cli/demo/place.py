"""Where a demo's files lie, and where the example application is."""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import DemoError

PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Place:
    """
    The files of one demo.

    Attributes:
        name: Of this demo: what ``session.name`` says on all of its sessions.
        directory: Holds nothing but what follows.
    """

    name: str
    directory: Path

    @property
    def database(self) -> Path:
        """Sessions and their history, SQLite."""
        return self.directory / "sessions.db"

    @property
    def books(self) -> Path:
        """What the model wrote down of its calls, JSON Lines."""
        return self.directory / "books.jsonl"

    @property
    def report(self) -> Path:
        """Everything that was found, JSON."""
        return self.directory / "report.json"

    def log(self, service: str) -> Path:
        """Return where *service* writes its log."""
        return self.directory / f"{service}.log"

    @property
    def store(self) -> str:
        """URL of the database, as the setting ``store`` takes it."""
        return f"sqlite:///{self.database}"


def make_place(parent: Path | None) -> Place:
    """
    Make a fresh directory for a demo.

    Args:
        parent: Where to make it, itself made if need be. None takes the folder for temporary files.

    Raises:
        DemoError: If it cannot be made there.
    """
    name = f"demo-{secrets.token_hex(4)}"
    try:
        if parent is None:
            return Place(name, Path(tempfile.mkdtemp(prefix=f"session-mw-{name}-")).resolve())
        directory = parent.resolve() / name
        directory.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise DemoError(f"cannot make a directory for the demo: {error}. Choose another with --dir.") from error
    return Place(name, directory)


def find_examples() -> tuple[str, Path | None]:
    """
    Find the example application: a wheel carries it inside the package, a checkout beside it.

    Returns:
        The package's name, and the folder from which services have to import it; None when it is installed.

    Raises:
        DemoError: If it is in neither place.
    """
    if (PACKAGE / "_examples" / "fastapi_chat").is_dir():
        return "session_mw._examples", None
    if (PACKAGE.parent / "examples" / "fastapi_chat").is_dir():
        return "examples", PACKAGE.parent
    raise DemoError(
        f"cannot find the example application: it is neither in {PACKAGE / '_examples'} nor in "
        f"{PACKAGE.parent / 'examples'}. Install again: pip install --force-reinstall 'session-mw[demo]'."
    )
