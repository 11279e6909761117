"""
Variables as text that a shell takes over: for ``eval "$(...)"`` and its like.

Every value comes back as it was, whatever is in it. None means that the variable is to be unset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, Literal

Shell = Literal["bash", "zsh", "fish", "powershell", "json", "github"]
SHELLS: Final[tuple[Shell, ...]] = ("bash", "zsh", "fish", "powershell", "json", "github")


def rendered(found: Mapping[str, str | None], shell: Shell, mark: str) -> str:
    """
    Return text that sets the variables of *found*.

    Args:
        found: Names are plain: letters, digits and ``_``.
        shell: The form: a shell's, a JSON object, or lines for the file that ``$GITHUB_ENV`` names.
        mark: A word that is in no value, for values of several lines in the last of these.
    """
    if shell == "json":
        return json.dumps(dict(found), indent=2) + "\n"
    return "".join(f"{_line(name, value, shell, mark)}\n" for name, value in found.items())


def _line(name: str, value: str | None, shell: Shell, mark: str) -> str:
    if shell == "fish":
        return f"set -e {name}" if value is None else f"set -gx {name} {fish_quoted(value)}"
    if shell == "powershell":
        return f"Remove-Item -ErrorAction Ignore Env:{name}" if value is None else f"$env:{name} = {_powershell(value)}"
    if shell == "github":  # which has no way to unset
        return f"{name}<<{mark}\n{value or ''}\n{mark}"
    return f"unset {name}" if value is None else f"export {name}={quoted(value)}"


def quoted(value: str) -> str:
    """Return *value* as one word of a POSIX shell."""
    return "'" + value.replace("'", "'\\''") + "'"


def fish_quoted(value: str) -> str:
    """Return *value* as one word of fish."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell(value: str) -> str:
    """
    Return *value* as an expression of PowerShell: one line of ASCII.

    Lines, since ``Invoke-Expression`` is given them one by one; ASCII, since Windows PowerShell reads what programs
    print in the console's code page. Characters of neither are written by their UTF-16 numbers, and so are the four
    that PowerShell takes for a single quote besides.

    Source: PowerShell, about_Quoting_Rules (in single quotes, two of them are one; nothing else means anything).
    """
    parts = [_literal(part) if " " <= part[0] <= "~" else _characters(part) for part in _RUNS.findall(value)]
    return "+".join(parts if " " <= value[:1] <= "~" else ["''", *parts])


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _characters(text: str) -> str:
    units = text.encode("utf-16-le", "surrogatepass")
    return "+".join(f"[char]{units[at] + 256 * units[at + 1]}" for at in range(0, len(units), 2))


_RUNS: Final = re.compile("[ -~]+|[^ -~]+")
