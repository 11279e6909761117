"""The workflow types that are offered by name, with what they are for; any other type is accepted as well."""

from __future__ import annotations

from typing import Final

DEFAULT_TYPE: Final = "general"
DEFAULT_VERSION: Final = "v1"
CI_TYPE: Final = "ci-pipeline"
CHANNEL: Final = "cli"

TYPES: Final = {
    "code-review": "Code review and analysis",
    "debugging": "Debugging and troubleshooting",
    "documentation": "Writing documentation",
    "testing": "Test creation and analysis",
    "refactoring": "Code refactoring",
    "architecture": "Architecture design and planning",
    "learning": "Learning and exploration",
    "general": "General purpose (default)",
}


def template_name(type_: str) -> str:
    """Return the name of the executable that opens a shell for *type_*: ``claude-code-review``."""
    return f"claude-{type_}"


def template(type_: str, version: str) -> str:
    """Return that executable, a POSIX shell script; what is typed behind its name goes on to ``claude-session``."""
    about = TYPES.get(type_, "own type")
    return (
        "#!/bin/sh\n"
        f"# {about}: every request of the agent in this shell belongs to one session.\n"
        f"[ $# -eq 0 ] && set -- --shell\n"
        f'exec claude-session --type {type_} --version {version} "$@"\n'
    )
