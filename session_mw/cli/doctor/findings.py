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
class Port:
    """
    A place that OTLP is sent to.

    Attributes:
        name: ``grpc`` or ``http``.
        address: Host and port.
        open: Whether something listens there.
        named: Whether the environment names it; else it is the protocol's own port on this machine.
    """

    name: str
    address: str
    open: bool
    named: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """
    All that was looked at.

    Attributes:
        proxy: Its URL.
        health: Answer to its health check.
        echo: Answer of the wrapper's echo to the headers of this shell.
        sent: Names of the headers that this shell's variables hold for an agent.
        expected: ``PHOENIX_SESSION_ID`` of this shell.
        ports: Where OTLP is sent.
        page: The back end's URL.
        back_end: Answer of its page.
    """

    proxy: str
    health: Answer
    echo: Answer
    sent: tuple[str, ...] = ()
    expected: str | None = None
    ports: tuple[Port, ...] = ()
    page: str = ""
    back_end: Answer = Answer()


def diagnose(seen: Seen) -> list[Finding]:
    """Return what was found, in the order of the way."""
    return [*_way_to_proxy(seen), *_otlp(seen), _back_end(seen)]


def _way_to_proxy(seen: Seen) -> Iterator[Finding]:
    health = seen.health
    if not health.status:
        mend = f"start it ({RUN_WRAPPED}), or name it: --proxy URL, ANTHROPIC_BASE_URL"
        yield Finding("proxy", "fail", f"nothing answers at {seen.proxy} ({health.error})", mend)
        return
    if health.status != 200:
        mend = "look into its log; it reads its configuration and its variables when it starts"
        yield Finding("proxy", "fail", f"{seen.proxy} answers, and its health check says {health.status}", mend)
        return
    yield Finding("proxy", "ok", f"{seen.proxy} answers")
    yield from _wrapper(seen)


def _wrapper(seen: Seen) -> Iterator[Finding]:
    echo = seen.echo
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
    said = f" ({', '.join(refused)})" if refused else ""
    mend = "share SESSION_MW_SECRET_KEY with the proxy, or name this machine in its SESSION_MW_TRUSTED_PEERS"
    return Finding("headers", "fail", f"headers arrive, and are not believed{said}", mend)


def _headers(seen: Seen, body: Mapping[str, Any]) -> Iterator[Finding]:
    by, session = body.get("named_by"), body.get("session", {})
    session_id = session.get("session.id")
    if by == "environment":
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


def _otlp(seen: Seen) -> Iterator[Finding]:
    anywhere = any(port.open for port in seen.ports) or seen.back_end.status == 200
    for port in seen.ports:
        check = f"otlp {port.name}"
        if port.open:
            yield Finding(check, "ok", f"{port.address} takes connections")
        elif port.named or not anywhere:
            mend = "start the collector or back end, or correct OTEL_EXPORTER_OTLP_ENDPOINT"
            yield Finding(check, "fail", f"nothing listens at {port.address}", mend)
        else:
            mend = "only needed if something exports there"
            yield Finding(check, "warn", f"nothing listens at {port.address}", mend)


def _back_end(seen: Seen) -> Finding:
    answer = seen.back_end
    if answer.status == 200:
        return Finding("back end", "ok", f"{seen.page} shows its page")
    found = f"says {answer.status}" if answer.status else f"does not answer ({answer.error})"
    mend = "start it (phoenix serve), or name it: --back-end URL"
    return Finding("back end", "fail", f"{seen.page} {found}", mend)
