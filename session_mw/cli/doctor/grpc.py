"""One export over gRPC, with grpcio, where that is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .destinations import Destination

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def installed() -> bool:
    """Return whether grpcio is there."""
    try:
        import grpc  # noqa: F401
    except ImportError:
        return False
    return True


def export(to: Destination, seconds: float) -> tuple[str, str]:
    """
    Send an export without spans (the message of no bytes); return gRPC's status, such as ``OK``, and what it says.

    Raises:
        OSError: The certificate's file cannot be read.
        ImportError: grpcio is not installed.
    """
    import grpc

    channel = _channel(grpc, to)
    try:
        call = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        call(b"", timeout=seconds, metadata=[(name.lower(), value) for name, value in to.headers.items()])
    except grpc.RpcError as error:
        return str(error.code().name), str(error.details() or "")
    finally:
        channel.close()
    return "OK", ""


def _channel(grpc: Any, to: Destination) -> Any:
    options = [("grpc.enable_http_proxy", 0)]  # what is asked is named
    if not to.secure:
        return grpc.insecure_channel(to.address, options=options)
    authority = Path(to.certificate).read_bytes() if to.certificate else None
    return grpc.secure_channel(to.address, grpc.ssl_channel_credentials(authority), options=options)
