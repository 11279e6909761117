"""The example's words against the code: what it says to type is what the code has."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from session_mw.cli.doctor.findings import HOOK, RUN_WRAPPED
from session_mw.exceptions import MissingDependency

FOLDER = Path(__file__).parents[2] / "examples" / "litellm_proxy"


def test_the_example_says_what_doctor_says() -> None:
    """One way to start the proxy, and one for those who keep LiteLLM's command."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert RUN_WRAPPED.partition("uvicorn")[2] in text
    assert HOOK in text
    assert 'callbacks: ["arize_phoenix"]' in (FOLDER / "config.yaml").read_text(encoding="utf-8")


def test_without_litellm_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for any optional package."""
    monkeypatch.setitem(sys.modules, "litellm", None)
    monkeypatch.delitem(sys.modules, "session_mw.integrations.litellm.loggers", raising=False)

    with pytest.raises(MissingDependency, match=r"pip install 'session-mw\[litellm\]'"):
        importlib.import_module("session_mw.integrations.litellm").wrap()


def test_what_is_named_exists() -> None:
    """``wrap`` and ``startup`` are there without LiteLLM; ``app`` is made when a server asks for it."""
    module = importlib.import_module("session_mw.integrations.litellm")

    assert {"app", "startup", "wrap"} == set(module.__all__)
    assert callable(module.wrap) and callable(module.startup)
    assert "app" not in vars(module)
