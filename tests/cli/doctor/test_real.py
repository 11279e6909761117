"""A real LiteLLM with our wrapper, a real Phoenix with and without log-in: what the doctor says of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from session_mw.cli.app import command
from tests.proxy.models import model_server
from tests.proxy.phoenix import Phoenix, phoenix
from tests.proxy.real import config, environment, litellm_python, proxying
from tests.proxy.support import token

pytestmark = [pytest.mark.real_backend, pytest.mark.timeout(600)]

MASTER = "sk-doctor-0123456789abcdef-0123456789"
LOGIN = {"PHOENIX_ENABLE_AUTH": "true", "PHOENIX_SECRET": "a-secret-of-this-test-with-A-and-9-in-it"}


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A shell in which nothing is set."""
    for name in list(os.environ):
        if name.startswith(("OTEL_", "ANTHROPIC_", "PHOENIX_", "GEMINI_")):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture(scope="module")
def back_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """Phoenix as it comes."""
    with phoenix(tmp_path_factory.mktemp("phoenix")) as found:
        yield found


def examined(proxy: str, page: str) -> dict[str, tuple[str, str]]:
    """Return status and what was found, by check."""
    words = ["doctor", "--only", "way", "--proxy", proxy, "--back-end", page, "--json"]
    output = CliRunner().invoke(command, words).output
    return {one["check"]: (one["status"], one["found"]) for one in json.loads(output)}


def test_whole_way(shell: pytest.MonkeyPatch, back_end: Phoenix, tmp_path: Path) -> None:
    """Key, wrapper, headers, callback, gRPC and page: all as it should be; then a key that the proxy does not know."""
    shell.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{back_end.grpc_port}")
    shell.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with model_server() as (models, _):
        config(tmp_path, models)
        env = environment(tmp_path, back_end.url, LITELLM_MASTER_KEY=MASTER)
        with proxying(litellm_python(), env, tmp_path) as url:
            lines = [f"X-Session-Token: {token('review-1', time.time_ns() // 1_000_000)}", "X-Session-Type: review"]
            shell.setenv("ANTHROPIC_CUSTOM_HEADERS", "\n".join([*lines, "X-Session-Prompt-Version: v2"]))
            shell.setenv("ANTHROPIC_BASE_URL", url)
            shell.setenv("ANTHROPIC_AUTH_TOKEN", MASTER)
            well = examined(url, back_end.url)
            shell.setenv("ANTHROPIC_AUTH_TOKEN", "sk-nobodys-0123456789")
            refused = examined(url, back_end.url)

    assert ["proxy", "key", "wrapper", "headers", "export", "otlp grpc", "back end"] == list(well)
    assert {"ok"} == {status for status, _ in well.values()}, well
    assert "fail" == refused["key"][0] and "refuses ANTHROPIC_AUTH_TOKEN" in refused["key"][1]


def test_wrong_ports_of_phoenix(shell: pytest.MonkeyPatch, back_end: Phoenix) -> None:
    """HTTP to its gRPC port, gRPC to its page, JSON to its page, which takes protobuf only."""
    page, grpc = back_end.url, f"http://127.0.0.1:{back_end.grpc_port}"
    found = []
    for place, protocol in ((page, "http/protobuf"), (grpc, "http/protobuf"), (page, "grpc"), (page, "http/json")):
        shell.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", place)
        shell.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        found.append(next(one for check, one in examined(page, page).items() if check.startswith("otlp")))

    assert ["ok", "fail", "fail", "fail"] == [status for status, _ in found]
    assert "asked over HTTP/1.1, and speaks gRPC" in found[1][1]
    assert "asked over gRPC, and speaks HTTP/1.1" in found[2][1]
    assert "none as JSON" in found[3][1]


def test_phoenix_with_log_in(shell: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both of its ports refuse spans without a key; its page is shown."""
    with phoenix(tmp_path, **LOGIN) as found:
        shell.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        http = examined(found.url, found.url)
        shell.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{found.grpc_port}")
        shell.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        grpc = examined(found.url, found.url)

    assert "fail" == http["otlp http"][0] and "refuses the credentials (401)" in http["otlp http"][1]
    assert "fail" == grpc["otlp grpc"][0] and "refuses the credentials (UNAUTHENTICATED)" in grpc["otlp grpc"][1]
    assert "ok" == http["back end"][0] and "(Phoenix " in http["back end"][1]
