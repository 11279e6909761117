"""What of LiteLLM is used is there, in the LiteLLM that is installed; and where something is not, it is said."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import pytest

from session_mw.integrations.litellm import offered
from session_mw.integrations.litellm.offered import USES, Use, find, missing
from tests.proxy.real import ROOT, litellm_python, version_of

ASK = """
import json
from session_mw.integrations.litellm.offered import missing
print("\\n" + json.dumps([[use.path, use.without, use.private] for use in missing()]))
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_this_litellm_has_all_that_is_used() -> None:
    """A release that lacks a name, or calls a parameter otherwise, fails here, with the name and what goes without."""
    python = litellm_python()
    env = {"PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, env=env, check=True)
    lacking = json.loads(done.stdout.splitlines()[-1])
    told = [f"LiteLLM {version_of(python)} has no {path} as it is used: {without}" for path, without, _ in lacking]

    assert [] == [line for line, (*_, private) in zip(told, lacking, strict=True) if not private]
    if told:
        print(*told, sep="\n")


class Hooks:
    """Has one method as it is used, and one with other parameters."""

    def right(self, span: object, kwargs: object) -> None: ...

    def anything(self, **options: object) -> None: ...

    def renamed(self, span: object, call: object) -> None: ...


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module in LiteLLM's place."""
    made = types.ModuleType("lite_of_test")
    made.Hooks, made.loggers = Hooks, []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lite_of_test", made)
    return "lite_of_test"


@pytest.mark.parametrize(
    ("path", "takes", "there"),
    [
        (":loggers", (), True),
        (":Hooks.right", ("span", "kwargs"), True),
        (":Hooks.anything", ("span", "kwargs"), True),
        (":Hooks.renamed", ("span", "kwargs"), False),
        (":Hooks.gone", (), False),
        (":gone", (), False),
        (".gone:Hooks", (), False),
        (":loggers", ("span",), False),
    ],
)
def test_a_name_is_there_with_the_parameters_that_are_used(
    module: str, path: str, takes: tuple[str, ...], there: bool
) -> None:
    """An empty list is there; what takes any keyword takes these."""
    use = Use(module + path, "something", takes)

    assert ([] if there else [use]) == missing([use])


def test_what_does_not_exist_is_none() -> None:
    """Neither a module nor a name of one raises."""
    assert find("no_such_module_anywhere:name") is None
    assert find("os:path.no_such_name") is None


def test_each_use_says_what_goes_without_it() -> None:
    """And at most one is LiteLLM's own business."""
    assert all(use.without for use in USES)
    assert [offered.IN_MEMORY] == [use.path for use in USES if use.private]
