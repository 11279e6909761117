"""
Templates. Everything that a template prints is escaped for HTML, and what nobody would see is printed as an escape.

A session's id, a user's, actions and error types all come from outside: control characters and those that turn the
direction of writing would let one text look like another.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from .. import __version__
from ..ledger.shown import plain
from .assets import assets
from .visits import Query, Visit


class Verbatim(str):
    """A text that has to arrive as it is: what was typed into a field, or the lines of a message."""


def visible(value: Any) -> Any:
    """Return what a template prints, with invisible characters made visible."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, Verbatim):
        return "\n".join(plain(line) for line in value.replace("\r\n", "\n").split("\n"))
    return plain(value) if isinstance(value, str) else value


@cache
def environment() -> Environment:
    """Return the templates."""
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["verbatim"] = Verbatim
    made.globals.update(files={name: one.name for name, one in assets().items()}, version=__version__)
    return made


def page(name: str, visit: Visit, query: Query | None = None, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page."""
    query = query or Query()
    body = environment().get_template(name).render(visit=visit, query=query, up=visit.up, **values)
    return HTMLResponse(body, status)


def note(up: str, title: str, text: str, status: int) -> HTMLResponse:
    """Return a page that says one thing, also to somebody who may not look; it leads to the list, unless to those."""
    home = "" if status == 403 else up or "./"
    return HTMLResponse(
        environment().get_template("note.html").render(up=up, title=title, text=text, home=home), status
    )


def login_page(up: str, target: str, status: int, name: str = "", problem: str = "") -> HTMLResponse:
    """
    Return the page that asks for a name and a password.

    Args:
        up: As for ``note``.
        target: Where to go then.
        status: Of the answer.
        name: As it was given.
        problem: What is wrong.
    """
    template = environment().get_template("login.html")
    return HTMLResponse(template.render(up=up, target=target, name=name, problem=problem), status)
