"""What it means how exports went. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .destinations import Kind
from .findings import Finding

Result = Literal[
    "took",
    "speaks",
    "nothing",
    "denied",
    "protocol",
    "tls",
    "plain",
    "distrust",
    "no certificate",
    "absent",
    "form",
    "experiment",
    "no address",
    "failed",
]

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"


@dataclass(frozen=True, slots=True)
class Export:
    """
    How an export without spans went.

    Attributes:
        kind: ``grpc`` or ``http``.
        where: Address or URL.
        result: ``took``; ``speaks``: the right protocol, and nothing was sent; or what stands in the way.
        named: The variable that names the place; empty for one that nobody named.
        said: Status or reason.
    """

    kind: Kind
    where: str
    result: Result
    named: str = ""
    said: str = ""


def told(exports: Sequence[Export]) -> Iterator[Finding]:
    """
    Yield what was found.

    A place that nobody named is missed only when spans are taken nowhere.
    """
    somewhere = any(one.result in ("took", "speaks") for one in exports)
    for one in exports:
        check = f"otlp {one.kind}"
        if one.result == "took":
            yield Finding(check, "ok", f"{one.where} takes spans")
        elif one.result == "speaks":
            found = f"{one.where} speaks gRPC; whether it takes spans was not asked"
            yield Finding(check, "warn", found, "pip install grpcio, and look again")
        elif somewhere and not one.named:
            yield Finding(check, "warn", _found(one), "only needed if something exports there")
        else:
            yield Finding(check, "fail", _found(one), _mend(one))


def _found(one: Export) -> str:
    """Return what was seen."""
    return {
        "nothing": f"nothing listens at {one.where} ({one.said})",
        "denied": f"{one.where} refuses the credentials ({one.said})",
        "protocol": f"{one.where} is asked over {_NAMES[one.kind]}, and speaks {_NAMES.get(one.said, 'neither')}",
        "tls": f"{one.where} is asked without TLS, and speaks TLS",
        "plain": f"{one.where} is asked with TLS, and speaks none",
        "distrust": f"the certificate of {one.where} is not trusted here: {one.said}",
        "no certificate": f"the authority's certificate cannot be read: {one.said}",
        "absent": f"{one.where} answers, and takes no spans ({one.said})",
        "form": f"{one.where} takes spans, and none as {one.said}",
        "experiment": f"{one.where} is MLflow's, and is not told for which experiment spans are",
        "no address": one.said,
        "failed": f"{one.where} fails: {one.said or 'no answer'}",
    }[one.result]


def _mend(one: Export) -> str:
    """Return what to do, in the words of the variables that say it."""
    named = one.named or ENDPOINT
    other, port = ("http/protobuf", 4317) if one.kind == "grpc" else ("grpc", 4318)
    right = f"{PROTOCOL}={other}, or the port that takes {_NAMES[one.kind]}, often {port}: {named}"
    return {
        "nothing": f"start the collector or back end, or correct {named}",
        "denied": f"{HEADERS}=authorization=Bearer%20..., as the back end's page says, also where the proxy runs",
        "protocol": right if one.said in _NAMES else f"correct {named}: that is no collector",
        "tls": f"write https:// in {named}",
        "plain": f"write http:// in {named}",
        "distrust": "OTEL_EXPORTER_OTLP_CERTIFICATE=file of the authority that signed it",
        "no certificate": "correct OTEL_EXPORTER_OTLP_CERTIFICATE",
        "absent": f"correct {named}: {ENDPOINT} is completed by /v1/traces, that for TRACES is taken as it is",
        "form": f"{PROTOCOL}={'http/protobuf' if one.said == 'JSON' else 'http/json'}",
        "experiment": f"{HEADERS}=x-mlflow-experiment-id=0, also where the proxy runs",
        "no address": f"correct {named}, such as http://localhost:4318",
        "failed": "look into its log",
    }[one.result]


_NAMES: Final = {"http": "HTTP/1.1", "grpc": "gRPC"}
