"""Sends an export without spans to where spans go, and tells how that went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import grpc
from .destinations import Destination, destinations
from .findings import Answer
from .http import ask
from .otlp import Export, Result
from .wire import Spoken, context_for, spoken

SECONDS: Final = 3.0
DENIED: Final = ("UNAUTHENTICATED", "PERMISSION_DENIED")


def exports(environ: Mapping[str, str], page: str) -> tuple[Export, ...]:
    """
    Send to everywhere that spans go.

    Args:
        environ: ``OTEL_EXPORTER_OTLP_*``.
        page: URL of a back end that answers; empty for none.
    """
    try:
        places = destinations(environ, page)
    except ValueError as error:
        return (Export("http", "", "no address", "OTEL_EXPORTER_OTLP_ENDPOINT", str(error)),)
    return tuple(sent(place) for place in places)


def sent(to: Destination) -> Export:
    """Send to one place."""
    try:
        result, said = _over_grpc(to) if to.kind == "grpc" else _over_http(to)
    except OSError as error:  # the file of a certificate
        result, said = "no certificate", f"{to.certificate}: {error.strerror or error}"
    return Export(to.kind, to.address if to.kind == "grpc" else to.url, result, to.named, said)


def _over_grpc(to: Destination) -> tuple[Result, str]:
    if not grpc.installed():
        return _looked_at(to, spoken(to))
    code, said = grpc.export(to, SECONDS)
    if code == "OK":
        return "took", ""
    if code in DENIED:
        return "denied", code
    if code == "UNIMPLEMENTED":
        return "absent", code
    return _unless_wrong(to, spoken(to), f"{code} {said}".strip())


def _over_http(to: Destination) -> tuple[Result, str]:
    kind, body = ("application/json", b"{}") if to.json else ("application/x-protobuf", b"")
    headers = {**to.headers, "Content-Type": kind}
    answer = ask(to.url, headers, body, context_for(to) if to.secure else None)
    return _unless_wrong(to, spoken(to), answer.error) if not answer.status else _of(to, answer)


def _of(to: Destination, answer: Answer) -> tuple[Result, str]:
    said = str(answer.status)
    if answer.status in (200, 202, 204):
        return "took", ""
    if answer.status in (401, 403):
        return "denied", said
    if answer.status == 400 and "OpenTelemetry" in str(answer.body):  # MLflow takes none without spans
        return "took", ""
    if answer.status == 415:
        return "form", "JSON" if to.json else "protobuf"
    if answer.status == 422 and "x-mlflow-experiment-id" in str(answer.body):
        return "experiment", said
    if answer.status == 400 and not to.secure:  # what many a server says to who speaks no TLS
        return _unless_wrong(to, spoken(to), said)
    return ("absent" if answer.status in (400, 404, 405) else "failed"), said


def _unless_wrong(to: Destination, found: Spoken, said: str) -> tuple[Result, str]:
    """Return what stands in the way at *to*; *said* where all is as it should be, and it fails all the same."""
    result, why = _looked_at(to, found)
    return ("failed", said) if result == "speaks" else (result, why)


def _looked_at(to: Destination, found: Spoken) -> tuple[Result, str]:
    if found.error:
        return "nothing", found.error
    if found.tls != to.secure:
        return ("plain" if to.secure else "tls"), ""
    if to.secure and found.distrust:
        return "distrust", found.distrust
    return ("speaks", "") if found.protocol == to.kind else ("protocol", found.protocol)
