"""Spans are really sent: an export without any, over gRPC and HTTP; each way to get that wrong is named."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from session_mw.cli.doctor.destinations import destinations
from session_mw.cli.doctor.findings import Finding
from session_mw.cli.doctor.otlp import Export, Result, told
from session_mw.cli.doctor.sending import exports
from tests.cli.doctor.collectors import Certificate, grpc_collector, http_collector
from tests.e2e.servers import free_port

ENDPOINT, PROTOCOL = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"
GRPC = {PROTOCOL: "grpc"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate that nobody trusts who is not told to."""
    return Certificate(tmp_path_factory.mktemp("tls"))


def found(environ: Mapping[str, str]) -> Finding:
    """Return the one finding of a place that the environment names."""
    (finding,) = told(exports(environ, ""))
    return finding


def test_export_over_grpc_is_taken() -> None:
    """The message has no spans; headers of the variable are metadata, percent-decoded."""
    with grpc_collector() as (port, seen):
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20key,x-team=a"}
        finding = found({ENDPOINT: f"http://127.0.0.1:{port}", **GRPC, **headers})
        ((metadata, message),) = seen

    assert Finding("otlp grpc", "ok", f"127.0.0.1:{port} takes spans") == finding
    assert ("Bearer key", "a", b"") == (metadata["authorization"], metadata["x-team"], message)


@pytest.mark.parametrize(
    ("named", "protocol", "kind", "body"),
    [
        ({ENDPOINT: ""}, "http/protobuf", "application/x-protobuf", b""),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "/v1/traces"}, "http/json", "application/json", b"{}"),
    ],
    ids=["protobuf", "json, of traces"],
)
def test_export_over_http_is_taken(named: dict[str, str], protocol: str, kind: str, body: bytes) -> None:
    """At ``/v1/traces``, which is added to the variable for all signals, and not to that for traces."""
    with http_collector() as (port, seen):
        environ = {name: f"http://127.0.0.1:{port}{path}" for name, path in named.items()}
        finding = found({**environ, PROTOCOL: protocol, "OTEL_EXPORTER_OTLP_HEADERS": "api_key=k"})
        path, headers, sent = seen[0]

    assert Finding("otlp http", "ok", f"http://127.0.0.1:{port}/v1/traces takes spans") == finding
    assert ("/v1/traces", kind, "k", body) == (path, headers["content-type"], headers["api_key"], sent)


@pytest.mark.landing
@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_certificate_of_ones_own_is_trusted_when_it_is_named(kind: str, certificate: Certificate) -> None:
    """OTEL_EXPORTER_OTLP_CERTIFICATE; without it the collector is not trusted, and a file that is none is named."""
    environ = {PROTOCOL: "grpc" if kind == "grpc" else "http/protobuf"}
    with _collector(kind, tls=certificate) as (port, _):
        environ[ENDPOINT] = f"https://localhost:{port}"
        distrusted = found(environ)
        trusted = found({**environ, "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate.file)})
        missing = found({**environ, "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file"})

    assert "ok" == trusted.status, trusted
    assert "fail" == distrusted.status and "is not trusted here: self-signed certificate" in distrusted.found
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE=" in distrusted.mend
    assert "fail" == missing.status and "/no/such/file" in missing.found


def _collector(kind: str, **more: Any) -> AbstractContextManager[tuple[int, list[Any]]]:
    if kind == "grpc":
        return grpc_collector(**more)
    return http_collector(**more)


# Each is a server and some connections: what is likely to break has to hold before anything lands.
landing = pytest.mark.landing

# What listens, what is asked, and what has to be said.
WRONG = [
    pytest.param("http", {}, "http", GRPC, "asked over gRPC, and speaks HTTP/1.1", "http/protobuf", id="gRPC to 4318"),
    pytest.param("grpc", {}, "http", {}, "asked over HTTP/1.1, and speaks gRPC", f"{PROTOCOL}=grpc", id="HTTP to 4317"),
    pytest.param("http", {}, "https", {}, "asked with TLS, and speaks none", "write http://", id="TLS to HTTP"),
    pytest.param("grpc", {}, "https", GRPC, "asked with TLS, and speaks none", "write http://", id="TLS to gRPC"),
    pytest.param("http", {"tls": 1}, "http", {}, "without TLS, and speaks TLS", "write https://", id="HTTP to TLS"),
    pytest.param("grpc", {"tls": 1}, "http", GRPC, "without TLS, and speaks TLS", "write https://", id="gRPC to TLS"),
    pytest.param("http", {"status": 401}, "http", {}, "refuses the credentials (401)", "HEADERS=", id="HTTP 401"),
    pytest.param("http", {"status": 403}, "http", {}, "refuses the credentials (403)", "HEADERS=", id="HTTP 403"),
    pytest.param(
        "grpc",
        {"refuse": "UNAUTHENTICATED"},
        "http",
        GRPC,
        "refuses the credentials",
        "HEADERS=",
        id="no key",
    ),
    pytest.param(
        "grpc", {"refuse": "PERMISSION_DENIED"}, "http", GRPC, "(PERMISSION_DENIED)", "HEADERS=", id="wrong key"
    ),
    pytest.param("http", {"status": 404}, "http", {}, "takes no spans (404)", "/v1/traces", id="HTTP elsewhere"),
    pytest.param("grpc", {"serves": False}, "http", GRPC, "takes no spans (UNIMPLEMENTED)", "correct", id="other gRPC"),
    pytest.param("http", {"status": 415}, "http", {}, "none as protobuf", f"{PROTOCOL}=http/json", id="JSON only"),
    pytest.param("http", {"status": 503}, "http", {}, "fails: 503", "its log", id="HTTP unwell"),
    pytest.param("grpc", {"refuse": "RESOURCE_EXHAUSTED"}, "http", GRPC, "fails: RESOURCE_EXHAUSTED", "log", id="full"),
]


@landing
@pytest.mark.parametrize(("kind", "collector", "scheme", "environ", "said", "mend"), WRONG)
def test_what_is_wrong_is_named(
    kind: str,
    collector: dict[str, Any],
    scheme: str,
    environ: dict[str, str],
    said: str,
    mend: str,
    certificate: Certificate,
) -> None:
    """Wrong port, wrong protocol, TLS or none, credentials, path: each by its name, with the variable to set."""
    given = {**collector, **({"tls": certificate} if "tls" in collector else {})}
    with _collector(kind, **given) as (port, _):
        finding = found({ENDPOINT: f"{scheme}://127.0.0.1:{port}", **environ})

    assert "fail" == finding.status
    assert said in finding.found and mend in finding.mend, finding


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_nothing_listens(protocol: str) -> None:
    """Seed, "nc -zv localhost 4317"."""
    port = free_port()
    finding = found({ENDPOINT: f"http://127.0.0.1:{port}", PROTOCOL: protocol})

    assert "fail" == finding.status
    assert "nothing listens at" in finding.found and str(port) in finding.found and "refused" in finding.found


def test_name_that_nobody_knows() -> None:
    """A host without an address is told of by its resolver's words."""
    finding = found({ENDPOINT: "http://no-such-host.invalid:4318"})

    assert "fail" == finding.status and "nothing listens" in finding.found


@pytest.mark.parametrize(
    ("text", "protocol"), [("localhost:4318", ""), ("http://localhost:port", ""), ("http://h:99999", "grpc")]
)
def test_address_that_can_be_none(text: str, protocol: str) -> None:
    """What the exporter would fail on is a finding."""
    finding = found({ENDPOINT: text, PROTOCOL: protocol})

    assert "fail" == finding.status and ENDPOINT in finding.found


@landing
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_something_that_speaks_neither(protocol: str) -> None:
    """Another service's port is no collector."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_hang_up, args=(server,), daemon=True)
        thread.start()
        finding = found({ENDPOINT: f"http://127.0.0.1:{server.getsockname()[1]}", PROTOCOL: protocol})

    assert "fail" == finding.status
    assert "speaks neither" in finding.found and "is no collector" in finding.mend


def _hang_up(server: socket.socket) -> None:
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        pass


@landing
def test_without_grpcio_it_is_said_what_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol is seen without it; whether spans are taken is not claimed; a wrong port is named all the same."""
    with grpc_collector() as (port, seen), http_collector() as (other, _):
        monkeypatch.setitem(sys.modules, "grpc", None)
        right = found({ENDPOINT: f"http://127.0.0.1:{port}", **GRPC})
        wrong = found({ENDPOINT: f"http://127.0.0.1:{other}", **GRPC})

    assert ("warn", []) == (right.status, seen)
    assert "speaks gRPC; whether it takes spans was not asked" in right.found and "grpcio" in right.mend
    assert "fail" == wrong.status and "speaks HTTP/1.1" in wrong.found


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"detail":"Invalid OpenTelemetry format - no spans found"}', ("ok", "takes spans")),
        (422, b'{"detail":[{"loc":["header","x-mlflow-experiment-id"]}]}', ("fail", "for which experiment")),
    ],
    ids=["no spans are no error of ours", "experiment"],
)
def test_mlflow(status: int, body: bytes, expected: tuple[str, str]) -> None:
    """MLflow 3.17's answers to an export without spans, and to one for no experiment."""
    with http_collector(status, body) as (port, _):
        finding = found({ENDPOINT: f"http://127.0.0.1:{port}"})

    assert expected[0] == finding.status and expected[1] in finding.found
    assert expected[0] == "ok" or "x-mlflow-experiment-id=0" in finding.mend


def test_credentials_are_in_no_line() -> None:
    """Neither headers nor anything else that vouches is shown, whatever goes wrong."""
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cret"}
    with http_collector(401, b"s3cret is wrong") as (port, _):
        finding = found({ENDPOINT: f"http://user:s3cret@127.0.0.1:{port}", **headers})

    assert "fail" == finding.status
    assert "s3cret" not in str(finding) and "s3cret" not in repr(destinations({ENDPOINT: "http://h", **headers}))


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Collectors at ports of this test's own, in the place of 4317 and 4318."""
    from session_mw.cli.doctor import destinations as module

    with ExitStack() as stack:
        made = {"grpc": stack.enter_context(grpc_collector())[0], "http": stack.enter_context(http_collector())[0]}
        monkeypatch.setattr(module, "DEFAULT_PORTS", made)
        yield made


def test_unnamed_ports_and_the_back_end_are_asked(ports: dict[str, int]) -> None:
    """Where nobody names a place: both ports of the protocol here, and the back end itself, below its path."""
    with http_collector() as (port, seen):
        findings = list(told(exports({}, f"http://127.0.0.1:{port}/phoenix/")))
        paths = [path for path, _, _ in seen]

    assert ["otlp grpc", "otlp http", "otlp http"] == [one.check for one in findings]
    assert {"ok"} == {one.status for one in findings}
    assert ["/phoenix/v1/traces"] == paths


NONE = "nothing"


@pytest.mark.parametrize(
    ("grpc", "http", "page", "expected"),
    [
        ("took", "took", None, ["ok", "ok"]),
        ("took", NONE, None, ["ok", "warn"]),
        (NONE, NONE, "took", ["warn", "warn", "ok"]),
        ("speaks", NONE, None, ["warn", "warn"]),
        ("denied", NONE, "took", ["warn", "warn", "ok"]),
        ("denied", NONE, "absent", ["fail", "fail", "fail"]),
        (NONE, NONE, None, ["fail", "fail"]),
    ],
)
def test_a_port_that_nobody_named_is_missed_only_when_spans_go_nowhere(
    grpc: Result, http: Result, page: Result | None, expected: list[str]
) -> None:
    """Phoenix takes OTLP over HTTP at its own port, and gRPC at 4317; a collector both at theirs."""
    sent = [Export("grpc", "localhost:4317", grpc), Export("http", "http://localhost:4318/v1/traces", http)]
    sent += [] if page is None else [Export("http", "http://localhost:6006/v1/traces", page)]

    assert expected == [one.status for one in told(sent)]


def test_named_place_is_missed_though_spans_are_taken_elsewhere(tmp_path: Path) -> None:
    """Somebody relies on it."""
    (finding,) = told([Export("http", "http://c/v1/traces", NONE, ENDPOINT, "Connection refused")])

    assert "fail" == finding.status and finding.mend.endswith(f"or correct {ENDPOINT}")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({ENDPOINT: "https://c"}, ("http", "c", 443, True, "/v1/traces")),
        ({ENDPOINT: "http://c/otel/"}, ("http", "c", 80, False, "/otel/v1/traces")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x", ENDPOINT: "http://d"}, ("http", "c", 1, False, "/x")),
        ({ENDPOINT: "c", **GRPC}, ("grpc", "c", 4317, True, "/v1/traces")),
        ({ENDPOINT: "c:9", **GRPC, "OTEL_EXPORTER_OTLP_INSECURE": "true"}, ("grpc", "c", 9, False, "/v1/traces")),
        ({ENDPOINT: "http://[::1]:4317", **GRPC}, ("grpc", "::1", 4317, False, "/v1/traces")),
        (
            {ENDPOINT: "http://c", PROTOCOL: "http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
            ("grpc", "c", 4317, False, "/v1/traces"),
        ),
    ],
)
def test_places_are_read_as_exporters_read_them(environ: dict[str, str], expected: tuple[object, ...]) -> None:
    """A signal's variable before the common one; schemes, usual ports and paths by OpenTelemetry's specification."""
    (one,) = destinations(environ)

    assert expected[:4] == (one.kind, one.host, one.port, one.secure)
    assert one.kind == "grpc" or expected[4] == one.path
