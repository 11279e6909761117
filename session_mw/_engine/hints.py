"""
First-run mistakes: one clear log line each, once a process, that says what to do.

Operators read these; nothing here changes what the middleware does.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from .._core.events import TokenRejected
from .._core.facts import RequestFacts
from ..telemetry.notices import once

logger = logging.getLogger("session_mw")

LOOPBACK = ("127.", "::1", "localhost")


def plain_http(facts: RequestFacts, secure: bool) -> None:
    """Say that a Secure cookie set over plain http will not come back."""
    if secure and facts.scheme in ("http", "ws"):
        once(
            "plain-http",
            logger.warning,
            "the session cookie is Secure, but requests arrive over plain http: clients will not send it back, and "
            "every turn starts a session. For local work use SessionSettings.insecure_dev(); behind a proxy let the "
            "server trust its X-Forwarded-Proto (uvicorn --proxy-headers --forwarded-allow-ips, werkzeug's ProxyFix).",
        )


def history_in_memory() -> None:
    """Say that sessions are shared and their history is not."""
    once(
        "history-in-memory",
        logger.warning,
        "Redis keeps live sessions and no history: each process remembers the ends that it reported itself, until it "
        "stops. Name a database for all of them with ledger='sqlite:///history.db' (one machine) or a postgresql:// "
        "URL; ledger='memory://' says that this is meant.",
    )


def installed_twice() -> None:
    """Say that the inner of two middlewares does nothing."""
    once(
        "installed-twice",
        logger.warning,
        "SessionTrackingMiddleware is installed twice around this application: the inner one does nothing. Remove one.",
    )


def rejected(event: TokenRejected, cookie_name: str) -> None:
    """Say what a refused token usually means; never what was in it."""
    if event.reason == "other_key" and event.source != "baggage":
        once(
            "other-key",
            logger.warning,
            "a well-formed session token was signed with a key that is not ours. Cookies ignore ports, so another "
            "application on this host may use the same cookie_name %r: give one of them another name. After a change "
            "of secret_key put the old one into secret_key_fallbacks.",
            cookie_name,
        )
    elif event.source in ("baggage", "peer") and event.reason == "relayed":
        once(
            "relayed",
            logger.warning,
            "session headers from a trusted network were refused: they came with X-Forwarded-For or Forwarded, so "
            "anybody may have sent them through a proxy. Name the proxy in trusted_proxies (and 'server', where the "
            "server itself reads these headers, as uvicorn --proxy-headers does, and believes your proxies only); or, "
            "where the proxy takes such headers from its clients and writes its own, name its single address in "
            "trusted_peers.",
        )
    elif event.source == "baggage" and event.reason in REFUSED:
        text = "session baggage from a caller was refused (%s) and taken out of the request. " + REFUSED[event.reason]
        once("baggage:" + event.reason, logger.warning, text, event.reason)


_STRANGER = (
    "If the caller is a service of yours, give both the same baggage_key and sign_baggage=True, or name its network in "
    "trusted_peers."
)
_CLOCK = (
    "A signature is good for an hour from when it was written. If the caller is a service of yours, set both clocks "
    "(or raise clock_skew), and let its propagator write the header for each call: a kept one grows old."
)
REFUSED = {
    "untrusted": _STRANGER,
    "bad_signature": _STRANGER,
    "expired": _CLOCK,
    "from_future": _CLOCK,
    "malformed": "session.sig or session.id is not as session-mw writes it: let the caller's propagator write the "
    "header, by the same release in both services.",
}


def no_sdk() -> None:
    """Say that nothing records the spans."""
    once(
        "no-sdk",
        logger.warning,
        "no OpenTelemetry SDK is configured: sessions are tracked, but no span or log record shows them. Call "
        "opentelemetry.trace.set_tracer_provider(...) at start, or run under opentelemetry-instrument.",
    )


def no_exporter(provider: Any, ours: type) -> None:
    """Say that spans are recorded and go nowhere. Only the SDK's own provider can be asked."""
    holder = getattr(provider, "_active_span_processor", None)
    processors = getattr(holder, "_span_processors", None)
    if processors is not None and all(isinstance(p, ours) for p in processors):
        once(
            "no-exporter",
            logger.warning,
            "the tracer provider has no exporter: spans are recorded and thrown away. Add one: "
            "provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter())).",
        )


def several_memories(boot_id: str | None) -> None:
    """Say that another live worker of this application counts in a memory of its own."""
    pid = (boot_id or "").split(".", 1)[0]
    if not pid.isdigit() or int(pid) == os.getpid() or not _alive(int(pid)):
        return
    once(
        "several-memories",
        logger.warning,
        "several workers on memory://: each counts its own sessions, and turns go missing. Use one store for all: "
        "store='sqlite:///sessions.db' on one machine.",
    )


def several_engines() -> None:
    """Say that another middleware of this very process counts in a memory of its own."""
    once(
        "several-engines",
        logger.warning,
        "several SessionTrackingMiddleware of this process serve the same clients, each with a memory:// of its own: "
        "turns are counted twice, sessions end twice. Install it once, around the whole application (Litestar makes "
        "one for each route of what stands in middleware=: wrap the application instead).",
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sampled_blindly() -> None:
    """Say that a server span began, and was sampled, before anybody could know the session."""
    once(
        "sampled-blindly",
        logger.warning,
        "SessionRatioSampler did not know the session when a span began around the middleware: sampled by its trace, "
        "the session is not kept or dropped as a whole. Either the global propagator lacks SessionBaggagePropagator "
        "(call set_global_textmap() before the middleware is added), or the span was made without reading headers.",
    )


def sampled_apart() -> None:
    """Say that a sampler went by another session than the middleware then found."""
    once(
        "sampled-apart",
        logger.warning,
        "SessionRatioSampler went by another session than the middleware found: the session is not kept or dropped as "
        "a whole. Are there several SessionTrackingMiddleware with different keys or cookies in this process? Or is "
        "it a peer trusted by its address, under FastAPI's own telemetry, which does not tell addresses?",
    )


def routes_failed(error: BaseException) -> None:
    """Say that the application's routes could not be asked for the parameters of a path."""
    kind = type(error).__name__
    text = "cannot look up conversation_path_param in the routes: %s. The turn belongs to the session's conversation."
    once("routes:" + kind, logger.warning, text, kind)


def made_fit(dialect: str, attribute: str) -> None:
    """Say that a back end would drop or refuse a value; never the value."""
    once(
        "made-fit",
        logger.warning,
        "%s is too long for %s, or has characters it refuses: a shortened or escaped value, marked with a hash where "
        "it is an id, stands under its own name. Ids of up to 200 ASCII characters are shown whole everywhere.",
        attribute,
        dialect,
    )


def store_failed(error: BaseException) -> None:
    """Say that requests go on without the store; once a minute and kind of error."""
    if getattr(error, "reason", "") == "breaker_open":
        return  # that it is not even asked, because it has failed often of late, is no news
    kind = type(error).__name__
    text = "the session store failed: %s: %s. Requests go on; their turns are not counted."
    once("store:" + kind, logger.error, text, kind, error, every=60)


def store_full(max_live: int | None) -> None:
    """Say that no session begins any more; once a minute."""
    once(
        "store-full",
        logger.warning,
        "the store holds as many live sessions as max_live=%s allows: requests that would begin one pass untracked, "
        "without turn numbers and without an end (counted as session_mw.dropped, reason capacity). Raise max_live, or "
        "find out who begins so many: bots, clients that keep no cookie.",
        max_live,
        every=60,
    )


def store_back(seconds: float) -> None:
    """Say that the store is there again, after so many seconds."""
    text = (
        "the session store is back after %d s. What waited is written now: what turns brought that it had counted, and "
        "the tokens of turns that began meanwhile, which are not counted."
    )
    logger.warning(text, round(seconds))


def too_late(what: str) -> None:
    """Say that the response had begun, so the client keeps its old token for now."""
    once(
        "too-late:" + what,
        logger.warning,
        "too late to %s in this response: its headers are sent, the client keeps its token until the next request. "
        "Do it before the first body chunk.",
        what,
    )


def user_failed(error: BaseException) -> None:
    """Say that the application's callable failed; the request goes on without its answer."""
    kind = type(error).__name__
    once("user:" + kind, logger.error, "the setting's callable failed: %s: %s. Request goes on.", kind, error, every=60)


EXPORTERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.sdk._shared_internal",
)


class ExporterWatch(logging.Filter):
    """
    Reads OpenTelemetry's own log for an exporter that cannot deliver, and says once what that means.

    The SDK reports each failed batch; an operator wants to know once that nothing arrives. A filter lets every record
    pass, where a handler would keep Python's handler of last resort from printing them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let *record* pass; say it once, whatever the SDK's wording is."""
        if record.levelno >= logging.WARNING:
            once(
                "exporter-unreachable",
                logger.warning,
                "an OpenTelemetry exporter cannot deliver (%s): spans and logs are lost while this lasts. Check "
                "OTEL_EXPORTER_OTLP_ENDPOINT and that the collector runs. Sessions are kept and counted all the same.",
                record.name,
            )
        return True


_watch = ExporterWatch()


def watch_exporters() -> None:
    """Listen to the exporters' log, once a process."""
    for name in EXPORTERS:
        exporter = logging.getLogger(name)
        if _watch not in exporter.filters:
            exporter.addFilter(_watch)
