"""
What is spoken at a port, when what was expected there was not: TLS or not, HTTP/1.1 or HTTP/2 (which gRPC speaks).

Source: RFC 9113, 3.4 "HTTP/2 Connection Preface": a server's first frame is SETTINGS; RFC 7301 (ALPN).
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Final, Literal

from .destinations import Destination

SECONDS: Final = 2.0  # for each connection
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and an empty SETTINGS frame
SETTINGS: Final = 4
ASKED: Final = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

Protocol = Literal["http", "grpc", ""]


@dataclass(frozen=True, slots=True)
class Spoken:
    """
    What is spoken at a port.

    Attributes:
        error: Why there is no connection; empty when there is one.
        tls: Whether TLS is.
        protocol: ``http`` (1.1), ``grpc`` (HTTP/2), or empty for neither.
        distrust: Why its certificate is not trusted here; empty when it is, or there is none.
    """

    error: str = ""
    tls: bool = False
    protocol: Protocol = ""
    distrust: str = ""


def spoken(at: Destination) -> Spoken:
    """Find out what is spoken at *at*; four connections at most."""
    try:
        plain = _plain(at)
    except OSError as error:
        return Spoken(error=error.strerror or str(error) or type(error).__name__)
    encrypted = _encrypted(at)
    if encrypted is None:
        return Spoken(protocol=plain)
    return Spoken(tls=True, protocol=encrypted, distrust=_distrust(at))


def context_for(at: Destination) -> ssl.SSLContext:
    """
    Return what verifies the certificate of *at*.

    Raises:
        OSError: The authority's file cannot be read, or holds no certificate.
    """
    return ssl.create_default_context(cafile=at.certificate or None)


def _plain(at: Destination) -> Protocol:
    """Greet as HTTP/2 does, which answers with its settings; else ask as HTTP/1.1 does."""
    said = _answered(at, PREFACE)
    if len(said) >= 9 and said[3] == SETTINGS:
        return "grpc"
    return "http" if b"HTTP/" in (said[:5], _answered(at, ASKED)[:5]) else ""


def _encrypted(at: Destination) -> Protocol | None:
    """Return what is spoken inside of TLS; None when there is no TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent that anybody could want
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        bare = socket.create_connection((at.host, at.port), SECONDS)
        with bare, context.wrap_socket(bare, server_hostname=at.host) as connection:
            return "grpc" if connection.selected_alpn_protocol() == "h2" else "http"
    except OSError:
        return None


def _distrust(at: Destination) -> str:
    try:
        bare = socket.create_connection((at.host, at.port), SECONDS)
        with bare, context_for(at).wrap_socket(bare, server_hostname=at.host):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError as error:
        return error.strerror or str(error)


def _answered(at: Destination, said: bytes) -> bytes:
    """Return how the answer to *said* begins; nothing where none comes."""
    with socket.create_connection((at.host, at.port), SECONDS) as connection:
        try:
            connection.sendall(said)
            return connection.recv(64)
        except OSError:
            return b""
