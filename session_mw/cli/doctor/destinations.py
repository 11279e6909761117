"""
Where spans are sent, by OpenTelemetry's variables. Pure.

Source: OpenTelemetry specification, "OTLP Exporter Configuration": a signal's variable before the one for all signals,
whose URL is completed by ``v1/traces`` over HTTP; ``https`` (gRPC without a scheme: unless INSECURE) means TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from opentelemetry.util.re import parse_env_headers

Kind = Literal["grpc", "http"]

DEFAULT_PORTS: Final[Mapping[Kind, int]] = {"grpc": 4317, "http": 4318}
PATH: Final = "/v1/traces"
ENDPOINT, PROTOCOL, HEADERS, CERTIFICATE = "ENDPOINT", "PROTOCOL", "HEADERS", "CERTIFICATE"


@dataclass(frozen=True, slots=True)
class Destination:
    """
    A place that spans are sent to.

    Attributes:
        kind: ``grpc`` or ``http``.
        host: Name or address.
        port: Its port.
        secure: Whether TLS is spoken there.
        path: Of the request, over HTTP.
        named: The variable that names it; empty for a place that nobody named.
        json: Whether documents are JSON, over HTTP.
        headers: To be sent, credentials among them: not for showing.
        certificate: File of the authority that vouches for it; empty takes the system's.
    """

    kind: Kind
    host: str
    port: int
    secure: bool = False
    path: str = PATH
    named: str = ""
    json: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: str = ""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Where a request over HTTP goes."""
        return f"{'https' if self.secure else 'http'}://{self.address}{self.path}"


def destinations(environ: Mapping[str, str], page: str = "") -> list[Destination]:
    """
    Return where spans go: the place that is named, else the protocol's own ports here, and the back end's own.

    Args:
        environ: ``OTEL_EXPORTER_OTLP_*``.
        page: URL of the back end, which may take spans itself; empty for none.

    Raises:
        ValueError: What is named can be no address; the text says which variable it is.
    """
    named = _variable(environ, ENDPOINT)
    found = [_named(environ, named)] if named else _usual(page)
    headers, certificate = _headers(environ), environ.get(_variable(environ, CERTIFICATE), "")
    return [replace(one, headers=headers, certificate=certificate) for one in found]


def _usual(page: str) -> list[Destination]:
    found = [Destination(kind, "localhost", port) for kind, port in DEFAULT_PORTS.items()]
    if page:
        parts = urlsplit(page)
        path = parts.path.rstrip("/") + PATH
        found.append(Destination("http", *_place(parts, "http", page), parts.scheme == "https", path))
    return found


def _named(environ: Mapping[str, str], named: str) -> Destination:
    protocol = environ.get(_variable(environ, PROTOCOL), "").strip().lower()
    kind: Kind = "grpc" if protocol == "grpc" else "http"
    text = environ[named].strip()
    parts = urlsplit(text if "//" in text else f"//{text}")
    if kind == "http" and parts.scheme not in ("http", "https"):
        raise ValueError(f"{named} is no http or https URL")
    path = parts.path if "TRACES" in named else parts.path.rstrip("/") + PATH
    secure = _secure(environ, parts, kind)
    return Destination(kind, *_place(parts, kind, named), secure, path or "/", named, "json" in protocol)


def _place(parts: SplitResult, kind: Kind, named: str) -> tuple[str, int]:
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{named} names no port: {error}") from error
    usual = DEFAULT_PORTS["grpc"] if kind == "grpc" else 443 if parts.scheme == "https" else 80
    return parts.hostname or "localhost", port or usual


def _secure(environ: Mapping[str, str], parts: SplitResult, kind: Kind) -> bool:
    if parts.scheme or kind == "http":
        return parts.scheme == "https"
    return environ.get(_variable(environ, "INSECURE"), "").strip().lower() != "true"


def _headers(environ: Mapping[str, str]) -> Mapping[str, str]:
    return parse_env_headers(environ.get(_variable(environ, HEADERS), ""), liberal=True)


def _variable(environ: Mapping[str, str], what: str) -> str:
    """Return the name of the variable that says *what* of spans; empty when none does."""
    names = (f"OTEL_EXPORTER_OTLP_TRACES_{what}", f"OTEL_EXPORTER_OTLP_{what}")
    return next((name for name in names if environ.get(name, "").strip()), "")
