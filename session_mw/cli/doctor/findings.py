"""
What was found on the way from a shell to the back end, and what it means. Pure: what was seen comes in as values.

A finding has one cause and one thing to mend. What cannot be known because something before it is broken is not
reported: the first broken piece is what to mend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]

RUN_WRAPPED = "CONFIG_FILE_PATH=config.yaml uvicorn session_mw.integrations.litellm:app --port 4000"
HOOK = "LITELLM_WORKER_STARTUP_HOOKS=session_mw.integrations.litellm:startup"
START = "session-mw run -- COMMAND"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One piece of the way.

    Attributes:
        check: Its name.
        status: ``ok``, ``warn`` (works, and yet) or ``fail``.
        found: What was seen.
        mend: What to do; empty when nothing is.
    """

    check: str
    status: Status
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An HTTP answer.

    Attributes:
        status: Of the response; 0 when there was none.
        body: Decoded JSON, None when it is none.
        error: Why there was no response.
        headers: Names in lower case.
    """

    status: int = 0
    body: Any = None
    error: str = ""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """
    What the proxy says to an agent's key.

    Attributes:
        variable: Where it stands.
        status: Of the answer; 0 when there was none.
    """

    variable: str
    status: int


@dataclass(frozen=True, slots=True)
class Seen:
    """
    All that was looked at from this shell to the proxy.

    Attributes:
        proxy: Its URL.
        health: Answer to its health check.
        echo: Answer of the wrapper's echo to the headers of this shell.
        sent: Names of those headers, of this shell's variables for an agent, that name a session.
        expected: ``PHOENIX_SESSION_ID`` of this shell.
        key: What the proxy says to the agent's key; None where there is none to be shown to it.
    """

    proxy: str
    health: Answer
    echo: Answer
    sent: tuple[str, ...] = ()
    expected: str | None = None
    key: Key | None = None


def way_to_proxy(seen: Seen) -> Iterator[Finding]:
    """Yield what was found from this shell to the proxy, in the order of the way."""
    health = seen.health
    if not health.status:
        mend = f"start it ({RUN_WRAPPED}), or name it: --proxy URL, ANTHROPIC_BASE_URL"
        yield Finding("proxy", "fail", f"nothing answers at {seen.proxy} ({health.error})", mend)
        return
    if health.status != 200:
        yield Finding("proxy", "fail", *_unwell(seen.proxy, health))
        return
    yield Finding("proxy", "ok", f"{seen.proxy} answers")
    yield from _key(seen.key)
    yield from _wrapper(seen)


def _unwell(proxy: str, health: Answer) -> tuple[str, str]:
    """Return what was found where something answers, and not as it should, and what to do."""
    if 300 <= health.status < 400:
        to = (health.headers or {}).get("location", "elsewhere")
        return f"{proxy} leads on to {to}", "name the place itself: --proxy URL, ANTHROPIC_BASE_URL"
    if health.status in (401, 403):
        mend = "let requests through to LiteLLM, which asks for keys itself"
        return f"something in front of the proxy at {proxy} wants credentials ({health.status})", mend
    if health.status in (404, 405):
        mend = "name the proxy: --proxy URL, ANTHROPIC_BASE_URL"
        return f"{proxy} answers, and is no LiteLLM proxy: it has no health check ({health.status})", mend
    mend = "look into its log; it reads its configuration and its variables when it starts"
    return f"{proxy} answers, and its health check says {health.status}", mend


def _key(key: Key | None) -> Iterator[Finding]:
    if key is None:
        return
    if key.status in (400, 401, 403):  # 400: of a proxy that has no database of keys
        mend = "set it to a key of the proxy's: its master key, or one that was made there"
        yield Finding("key", "fail", f"the proxy refuses {key.variable} ({key.status})", mend)
    elif key.status == 200:
        yield Finding("key", "ok", f"the proxy takes {key.variable}")


def _wrapper(seen: Seen) -> Iterator[Finding]:
    echo = seen.echo
    if echo.status in (0, 400):  # refused before anybody has looked at what they say
        mend = "correct ANTHROPIC_CUSTOM_HEADERS: a header there can be none"
        found = f"the headers of this shell do not get to the proxy ({echo.error or echo.status})"
        yield Finding("wrapper", "fail", found, mend)
        return
    if echo.status >= 500:
        mend = "look into the proxy's log"
        yield Finding("wrapper", "fail", f"the proxy cannot say what arrives: its answer is {echo.status}", mend)
        return
    if not isinstance(echo.body, Mapping) or echo.body.get("wrapper") != "session-mw":
        mend = f"run it with {RUN_WRAPPED}, or set {HOOK} for `litellm --config`"
        yield Finding("wrapper", "fail", "the proxy runs without session_mw: its spans carry no session", mend)
        return
    yield Finding("wrapper", "ok", "the proxy runs with session_mw")
    if echo.status == 403:
        yield _not_believed(seen, list(echo.body.get("refused", ())))
        return
    yield from _headers(seen, echo.body)
    yield _export(echo.body)


def _not_believed(seen: Seen, refused: list[str]) -> Finding:
    """Return why headers are not believed, by the reasons of ``TokenRejected``."""
    if "other_key" in refused or "bad_signature" in refused:
        mend = "give this shell and the proxy the same SESSION_MW_SECRET_KEY, and start both again"
        return Finding("headers", "fail", "the token is signed with another key than the proxy's", mend)
    if "expired" in refused or "from_future" in refused:
        mend = f"start a new session ({START}), and set the clocks of both machines"
        return Finding("headers", "fail", f"the token is refused: {', '.join(refused)}", mend)
    if not seen.sent:
        mend = f"start the agent in a session: {START}"
        return Finding("headers", "fail", "this shell's variables hold no session headers for an agent", mend)
    if not refused:  # what arrives is believed, or refused for a reason
        return _dropped(seen)
    mend = "share SESSION_MW_SECRET_KEY with the proxy, or name this machine in its SESSION_MW_TRUSTED_PEERS"
    return Finding("headers", "fail", f"headers arrive, and are not believed ({', '.join(refused)})", mend)


def _dropped(seen: Seen) -> Finding:
    mend = f"let whatever stands between (nginx, a gateway) pass them on; it answers at {seen.proxy}"
    return Finding("headers", "fail", f"{' and '.join(seen.sent)} of this shell do not arrive at the proxy", mend)


def _headers(seen: Seen, body: Mapping[str, Any]) -> Iterator[Finding]:
    by, session = body.get("named_by"), body.get("session", {})
    session_id = session.get("session.id")
    if seen.sent and by in ("environment", "client", None) and not body.get("refused"):
        yield _dropped(seen)
    elif by == "environment":
        found = f"no header arrives: all clients share the proxy's own PHOENIX_SESSION_ID, {session_id}"
        yield Finding("headers", "fail", found, f"give each shell a session of its own: {START}; no restart is needed")
    elif by is None:
        found = "no header arrives, and the proxy has no PHOENIX_SESSION_ID: its spans carry no session"
        yield Finding("headers", "fail", found, f"start the agent in a session: {START}")
    elif seen.expected is not None and session_id != seen.expected:
        found = f"PHOENIX_SESSION_ID is {seen.expected} here, and {session_id} arrives: headers of an earlier session"
        yield Finding("headers", "fail", found, 'set them anew: eval "$(session-mw env)", or open another shell')
    elif by == "client":
        found = f"the agent's own id arrives ({session_id}), and no session of yours"
        yield Finding("headers", "warn", found, f"start the agent in a session: {START}")
    else:
        yield Finding("headers", "ok", f"{session_id} arrives, by {by}")
        yield from _labels(session)


def _labels(session: Mapping[str, Any]) -> Iterator[Finding]:
    missing = [name for name in ("session.type", "session.prompt_version") if name not in session]
    if missing:
        found = f"without {' and '.join(missing)}: nothing to filter or compare by, unless the session's store has them"
        yield Finding("labels", "warn", found, "session-mw run -t TYPE -v VERSION -- COMMAND")


def _export(body: Mapping[str, Any]) -> Finding:
    callbacks = body.get("litellm", {}).get("telemetry", ())
    if len(callbacks) > 1:
        mend = "keep one of them in its configuration, or give each a back end of its own"
        return Finding(
            "export", "warn", f"{' and '.join(callbacks)}: into one back end, answers count twice there", mend
        )
    if callbacks:
        return Finding("export", "ok", f"LiteLLM exports by {callbacks[0]}")
    mend = 'litellm_settings: {callbacks: ["arize_phoenix"]} in its configuration, and start it again'
    return Finding("export", "fail", "LiteLLM has no telemetry callback: nothing goes to the back end", mend)


def back_end(page: str, answer: Answer) -> Finding:
    """Return what the back end's page says."""
    if answer.status == 200:
        version = (answer.headers or {}).get("x-phoenix-server-version", "")
        return Finding("back end", "ok", f"{page} shows its page{f' (Phoenix {version})' if version else ''}")
    if answer.status in (401, 403):
        found = f"{page} wants credentials, or another name of the machine ({answer.status})"
        return Finding("back end", "warn", found, "it runs: log in with a browser; MLflow: --allowed-hosts")
    found = f"says {answer.status}" if answer.status else f"does not answer ({answer.error})"
    mend = "start it (phoenix serve, mlflow server), or name it: --back-end URL"
    return Finding("back end", "fail", f"{page} {found}", mend)
