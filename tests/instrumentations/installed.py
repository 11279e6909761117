"""Which instrumentation packages there are: those that the extra ``instrumentations`` names, and those installed."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"

# Everything of this kind that is installed has to be in a row. HTTP and database instrumentations are not of this kind.
_KIND = re.compile(
    r"openinference-instrumentation-.+|pydantic-ai-slim"
    r"|opentelemetry-instrumentation-(openai|anthropic|langchain|genai).*"
)


def asked_for() -> dict[str, str | None]:
    """Return the distributions of the extra, each with the reason not to expect it here; None is no reason."""
    with _PROJECT.open("rb") as file:
        extra = tomllib.load(file)["project"]["optional-dependencies"]["instrumentations"]
    found: dict[str, str | None] = {}
    for line in extra:
        wanted = Requirement(line)
        here = wanted.marker is None or wanted.marker.evaluate()
        found[canonicalize_name(wanted.name)] = None if here else f"only where {wanted.marker}"
    return found


def version(distribution: str) -> str | None:
    """Return the version that is installed, None if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def of_this_kind() -> set[str]:
    """Return the instrumentations of model clients and agent frameworks that are installed."""
    names = (canonicalize_name(each.metadata["Name"]) for each in metadata.distributions())
    return {name for name in names if _KIND.fullmatch(name)}


def missing(packages: tuple[str, ...]) -> str | None:
    """Return why a row with these packages cannot run here; None if it can."""
    lacking = [name for name in packages if version(name) is None]
    if not lacking:
        return None
    reasons = asked_for()
    return "; ".join(f"{name} is not installed ({reasons.get(name) or 'no reason known'})" for name in lacking)
