"""
A real LiteLLM proxy with our wrapper, as a process of its own, between a client and the model server.

LiteLLM is big and pins much, so it need not be in the environment of the tests: ``SESSION_MW_TEST_LITELLM_PYTHON``
names the interpreter of another one that has it (``pip install "session-mw[litellm]"``).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.servers import free_port, stop, wait_for
from tests.proxy.support import SECRET

ROOT = Path(__file__).parents[2]
VARIABLE = "SESSION_MW_TEST_LITELLM_PYTHON"


def litellm_python() -> str:
    """Return an interpreter that has LiteLLM; skip the test where there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    if importlib.util.find_spec("litellm") is None or importlib.util.find_spec("orjson") is None:
        pytest.skip(f'LiteLLM\'s proxy is not installed: pip install "session-mw[litellm]", or name one by {VARIABLE}')
    return sys.executable


@lru_cache
def version_of(python: str) -> str:
    """Return the version of LiteLLM that *python* has."""
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def config(folder: Path, models: str, callbacks: Sequence[str] = ("arize_phoenix",)) -> Path:
    """Write LiteLLM's configuration: every model name goes to the model server at *models*."""
    path = folder / "config.yaml"
    path.write_text(
        f"""
model_list:
  - model_name: "claude-*"
    litellm_params: {{model: "anthropic/claude-*", api_key: sk-ant-fake, api_base: "{models}"}}
  - model_name: "gpt-*"
    litellm_params: {{model: "openai/gpt-*", api_key: sk-fake, api_base: "{models}/v1"}}
  - model_name: "gemini-*"
    litellm_params: {{model: "gemini/gemini-*", api_key: fake, api_base: "{models}"}}
litellm_settings:
  callbacks: [{", ".join(callbacks)}]
"""
    )
    return path


def environment(folder: Path, collector: str, **more: str) -> dict[str, str]:
    """Return the proxy's environment: nothing of this machine's, no network."""
    ours = {"SECRET_KEY": SECRET, "STORE": f"sqlite:///{folder}/sessions.db", "TRUSTED_PEERS": "127.0.0.1"}
    ours |= {"IDLE_TIMEOUT": "3s", "CLOCK_SKEW": "1s"}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "CONFIG_FILE_PATH": str(folder / "config.yaml"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_MODE": "PRODUCTION",  # reads no .env
        "LITELLM_LOG": "DEBUG",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "PHOENIX_COLLECTOR_HTTP_ENDPOINT": f"{collector}/v1/traces",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        **{f"SESSION_MW_{name}": value for name, value in ours.items()},
        **more,
    }


@contextmanager
def proxying(python: str, env: dict[str, str], folder: Path, command: Sequence[str] = ()) -> Iterator[str]:
    """Run the proxy until the end of the block; give its URL. *command*: in place of uvicorn with the wrapper."""
    port = free_port()
    served = command or ("-m", "uvicorn", "session_mw.integrations.litellm:app")
    log = folder / "proxy.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [python, *served, "--host", "127.0.0.1", "--port", str(port)],
            env=env,
            cwd=folder,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url + "/health/liveliness", process, log, seconds=180)
        yield url
    finally:
        stop(process)


def question(model: str, text: str, stream: bool, **more: Any) -> tuple[str, dict[str, Any]]:
    """Return path and body of a question in the dialect of *model*."""
    messages = [{"role": "user", "content": text}]
    if model.startswith("claude"):
        return "/v1/messages", {"model": model, "max_tokens": 50, "stream": stream, "messages": messages, **more}
    return "/v1/chat/completions", {"model": model, "stream": stream, "messages": messages, **more}
