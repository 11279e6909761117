"""
Which session a command belongs to: the rules, without any I/O.

What is said of a session (type, version, name) is taken from the first that says it:

    1. options
    2. PHOENIX_SESSION_TYPE, PHOENIX_PROMPT_VERSION, PHOENIX_SESSION_NAME, unless they are another session's
    3. the session that is joined
    4. SESSION_MW_SESSION_TYPE, SESSION_MW_PROMPT_VERSION, SESSION_MW_SESSION_NAME (the settings)
    5. the build, in CI
    6. general, v1, no name

And which session it is:

    1. --id
    2. PHOENIX_SESSION_ID, unless --new, or the options ask for another session than the one around
    3. the one that is kept for this directory, under the same conditions (not in CI, nor inside another session)
    4. the build's, in CI
    5. a new one

A session that begins inside another, or in the place of one, has that one as its ``session.previous_id``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..._core import names
from ..._core.identity import clean_attribute, valid_session_id
from ..._hierarchy.launched import ID as ID
from ..._hierarchy.launched import LABELS
from .ci import Build
from .kinds import CI_TYPE, DEFAULT_TYPE, DEFAULT_VERSION

TYPE = LABELS[names.SESSION_TYPE]
VERSION = LABELS[names.SESSION_PROMPT_VERSION]
NAME = LABELS[names.SESSION_NAME]

How = Literal["new", "environment", "directory", "build"]


@dataclass(frozen=True, slots=True)
class Said:
    """
    What somebody says of a session; None where they say nothing.

    Attributes:
        id: Its id.
        type: Category of work.
        version: Of the prompts.
        name: Label for people.
    """

    id: str | None = None
    type: str | None = None
    version: str | None = None
    name: str | None = None

    def over(self, other: Said) -> Said:
        """Return this, completed by *other*."""
        return Said(
            self.id or other.id, self.type or other.type, self.version or other.version, self.name or other.name
        )

    def agrees(self, other: Said) -> bool:
        """Return whether nothing of it contradicts *other*."""
        pairs = ((self.id, other.id), (self.type, other.type), (self.version, other.version), (self.name, other.name))
        return all(mine is None or mine == theirs for mine, theirs in pairs)


@dataclass(frozen=True, slots=True)
class Label:
    """
    A session as it is written into an environment.

    Attributes:
        id: Its id.
        type: Category of work.
        version: Of the prompts.
        name: Label for people, None for none.
    """

    id: str
    type: str
    version: str
    name: str | None = None

    @property
    def said(self) -> Said:
        """The same as what somebody says."""
        return Said(self.id, self.type, self.version, self.name)


@dataclass(frozen=True, slots=True)
class Around:
    """
    What a command finds.

    Attributes:
        environment: The PHOENIX variables.
        directory: The session kept for the working directory.
        settings: The settings' labels.
        build: The build, in CI.
    """

    environment: Said = Said()
    directory: Label | None = None
    settings: Said = Said()
    build: Build | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The session to belong to.

    Attributes:
        label: It.
        how: Where its id is from: ``new``, ``environment``, ``directory`` (both joined), ``build``.
        previous_id: The session that it continues, or stands inside of.
        nested: It stands inside of another one.
    """

    label: Label
    how: How
    previous_id: str | None = None
    nested: bool = False


def said_by(environ: Mapping[str, str]) -> Said:
    """Return what the PHOENIX variables say; an id that can be none is left out."""
    given = environ.get(ID, "").strip()
    return Said(
        given if valid_session_id(given) else None,
        clean(environ.get(TYPE)),
        clean(environ.get(VERSION)),
        clean(environ.get(NAME)),
    )


def clean(text: str | None) -> str | None:
    """Return *text* fit for headers, spans and terminals; None when nothing is left."""
    return None if text is None else clean_attribute(text)


def choose(
    wish: Said, around: Around, new_id: Callable[[str], str], *, new: bool = False, keep: bool = False
) -> Choice:
    """
    Choose the session of a command.

    Args:
        wish: The options.
        around: What the command finds.
        new_id: From a type to the id of a session that begins now.
        new: Join none.
        keep: It will be kept for the directory, in the place of the one that is.
    """
    outer = around.environment
    if outer.id is not None and not new and _joins(wish, outer):
        return Choice(_label(wish.over(outer), around, outer.id), "environment")
    asked = wish.over(replace(outer, id=None)) if outer.id is None else wish
    kept = around.directory if outer.id is None and around.build is None else None
    if kept is not None and not new and asked.agrees(kept.said):
        return Choice(kept, "directory")
    label, how = _fresh(asked, around, new_id, new)
    previous = outer.id or (kept.id if keep and kept is not None else None)
    return Choice(label, how, previous if previous != label.id else None, outer.id is not None)


def _joins(wish: Said, outer: Said) -> bool:
    """Return whether *wish* asks for the session around: what that one does not say contradicts nothing."""
    return wish.agrees(outer.over(replace(wish, id=None)))


def _fresh(asked: Said, around: Around, new_id: Callable[[str], str], new: bool) -> tuple[Label, How]:
    label = _label(asked, around, "")
    if asked.id is not None:
        return replace(label, id=asked.id), "new"
    build = around.build
    if build is not None and build.id is not None and around.environment.id is None and not new:
        return replace(label, id=build.id), "build"
    return replace(label, id=new_id(label.type)), "new"


def _label(said: Said, around: Around, id_: str) -> Label:
    build = around.build
    of_build = Said() if build is None else Said(type=CI_TYPE, name=clean(build.pipeline))
    full = said.over(around.settings).over(of_build)
    return Label(id_, full.type or DEFAULT_TYPE, full.version or DEFAULT_VERSION, full.name)
