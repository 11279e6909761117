"""``track_session``: the line at the top of a page."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..._core import names
from ..._core.scope import SessionScope
from ..._drive import run_sync
from ..._hierarchy.hosts import engine_of
from ..._hierarchy.lifecycle import start_session
from ..._hierarchy.runs import here, keep_page, page_of, run_here
from ..._hierarchy.sessions import Said, tell
from ...context import Session
from .interaction import Rule
from .leaving import stay
from .runs import TrackedPage, current_run, scope_of
from .visitor import facts_of_browser, nobody_is_logged_in, user_of_host


def track_session(
    user: object = None,
    *,
    turn: Rule = None,
    type: str | None = None,
    name: str | None = None,
    prompt_version: str | None = None,
    channel: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    disconnect_timeout: float | timedelta | str | None = None,
) -> Session:
    """
    Track the session of whoever has this page open. Call it in every run, at the top of the script.

    The session begins with the page's first run and lasts as long as the browser's tab: over reruns, fragments,
    callbacks, and threads that were given the run (``add_script_run_ctx``; others take ``copy_context``). Its id is
    not Streamlit's. With our middleware in ``st.App`` it is the cookie's session: a reload, and a second tab, go on in
    the same one then. It ends when the tab has been closed for *disconnect_timeout*, when it idles out, when its user
    logs out or another one comes, or by ``end_session``; whoever goes on afterwards begins the next one.

    Args:
        user: Your id of the user; it leaves the process as a pseudonym only. None takes that of ``st.user``. Who was
            there and is there no more has logged out: the session ends.
        turn: Which of the runs that the user caused are turns. None or True: all; False: none, the page opens its own
            with ``turn()``; the key of a widget, or several: those that these caused; a function of ``Interaction``.
        type: Category of work; ``chat`` by default.
        name: A label for people.
        prompt_version: Version of the prompts in use, to compare by.
        channel: Where the user is; ``web`` by default.
        metadata: Kept as ``metadata.<key>``. E-mail addresses in it become pseudonyms, and so does *user* where it is
            repeated.
        disconnect_timeout: How long a closed tab may come back, in seconds, as ``timedelta`` or as "30s". None: as long
            as Streamlit keeps its state for it (``server.disconnectedSessionTTL``, two minutes). Takes Streamlit 1.53:
            before, a session whose tab was closed idles out.

    Returns:
        The handle, as ``current_session()`` gives it.

    Raises:
        SettingsError: The first use of an engine, and ``SESSION_MW_*`` holds something that cannot be used.
        ValueError: *disconnect_timeout* is no duration.
    """
    labels = {
        names.SESSION_TYPE: type,
        names.SESSION_NAME: name,
        names.SESSION_PROMPT_VERSION: prompt_version,
        names.SESSION_CHANNEL: channel,
    }
    said, host = Said(labels, metadata), run_here()
    if host is None:
        return _without_host(user, said)
    with _opening:
        page = page_of(host)
        if not isinstance(page, TrackedPage):
            page = TrackedPage()
        keep_page(host, page)
    page.rule = turn
    with page.lock:
        scope = _opened(page, host, user, said)
    _place(page, scope)
    stay(page, host.session_id, disconnect_timeout)
    return Session(here() or scope)


_opening = threading.Lock()  # two runs of one browser session may begin at a time


def _opened(page: TrackedPage, host: Any, user: object, said: Said) -> SessionScope:
    """Return the page's session, opened if it is not; the user and what is said are up to date then."""
    scope = scope_of(page, host)
    run = current_run()
    given = user if user is not None else user_of_host() if run is None else run.user
    page.named = user is not None
    if scope is None:
        engine = engine_of()
        attributes = said.attributes(engine.policy.rules.hide, given)
        flow = page.open(engine, facts_of_browser(engine.settings), given, attributes, nobody=nobody_is_logged_in())
        return run_sync(flow, engine.store)
    engine = engine_of(scope)
    page.meet(engine, here() or scope, given)
    if run is None or not run.in_turn:
        run_sync(page.resume(engine, scope), engine.store)
    (here() or scope).change(said.attributes(engine.policy.rules.hide, given))
    return scope


def _place(page: TrackedPage, scope: SessionScope) -> None:
    """Make the session current for the rest of the run, and the turn that the run is."""
    run = current_run()
    if run is None:  # the run that has imported this package: nothing is around it, and its thread finds the page
        page.ran = True
        return
    run.place(scope)
    run.judge()


def _without_host(user: object, said: Said) -> Session:
    """Return the session of a page that is run as a plain script: the one that is current, or a new one."""
    if here() is None:
        start_session(user)
    scope = here()
    assert scope is not None
    tell(Session(scope), user, said)
    return Session(scope)
