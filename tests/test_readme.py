"""The README says what is so: its blocks run, its tables are the code's."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from session_mw.cli.app import command
from session_mw.ledger import read_filter
from session_mw.ledger.filters.tree import And
from session_mw.stores import SqliteStore
from session_mw.telemetry.install import instrument
from tests.cli.importing.support import request, span
from tests.cli.launch.desk import Desk
from tests.cli.looking import history
from tests.readme import README, regenerated

TEXT = README.read_text(encoding="utf-8")
ROOT = README.parent
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)
PYTHON = [body for language, body in BLOCKS if language == "python"]
# Pages are run by their host, below.
PAGES = [body for body in PYTHON if "import streamlit" in body and "st.App(" not in body]
SCRIPTS = [body for body in PYTHON if body not in PAGES]
# What a script that sets up no telemetry is told, once each; see "First-run mistakes".
NOTICES = ("no OpenTelemetry SDK", "no logger provider")
SHELL = [line for language, body in BLOCKS if language == "sh" for line in body.strip().splitlines()]


def test_generated_parts_are_up_to_date() -> None:
    """The settings' table and the state diagram are what the code says; ``python -m tests.readme`` writes them."""
    assert regenerated(TEXT) == TEXT


@pytest.mark.parametrize("code", SCRIPTS, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_python_blocks_run(code: str, tmp_path: Path) -> None:
    """Every Python block runs as it stands, in an interpreter of its own, with warnings of ours allowed."""
    if "integrations.arq" in code and find_spec("arq") is None:
        pytest.skip("arq is not installed: pip install 'session-mw[arq]' runs this")
    if "st.App(" in code:
        if find_spec("streamlit") is None or find_spec("streamlit.starlette") is None:
            pytest.skip("there is no Streamlit with applications: pip install 'session-mw[streamlit]' runs this")
        (tmp_path / "page.py").touch()
    run = subprocess.run(
        [sys.executable, "-W", "ignore::UserWarning", "-c", code],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
    )

    said = [line for line in run.stderr.splitlines() if not line.startswith(NOTICES)]
    assert (0, []) == (run.returncode, said)


@pytest.mark.parametrize(("code", "number"), list(zip(PAGES, (1, 0), strict=True)), ids=["tracked", "by-hand"])
def test_pages_run(code: str, number: int, tmp_path: Path) -> None:
    """The Streamlit pages of the README answer, run after run; the second one shows what was said with the next run."""
    if find_spec("streamlit") is None:
        pytest.skip("streamlit is not installed: pip install 'session-mw[streamlit]' runs this")
    (tmp_path / "page.py").write_text(code, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-c", BROWSER],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
    )

    shown = f"user message {number}, assistant You said message {number}.\n"
    assert (0, shown) == (run.returncode, run.stdout), run.stderr


BROWSER = """
from streamlit.testing.v1 import AppTest

page = AppTest.from_file("page.py", default_timeout=30).run()
for number in range(2):
    page.chat_input[0].set_value(f"message {number}").run()
assert not page.exception, page.exception
print(", ".join(f"{message.name} {message.markdown[0].value}" for message in page.chat_message))
"""


def test_first_application_of_the_readme_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block's application serves a turn, as its comment says."""
    from fastapi.testclient import TestClient
    from opentelemetry import trace

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(trace, "set_tracer_provider", lambda provider: None)
    code = PYTHON[0].replace("trace.get_tracer_provider().add_span_processor", "(lambda processor: None)")
    space: dict[str, Any] = {}
    with pytest.warns(UserWarning, match="development"):
        exec(compile(code, "README.md", "exec"), space)
    with TestClient(space["app"]) as client:
        answers = [client.post("/chat").json() for _ in range(2)]
    instrument(None)()

    assert [1, 2] == [a["turn"] for a in answers]
    assert answers[0]["session"] == answers[1]["session"]


def test_commands_are_those_that_ci_runs() -> None:
    """The two commands stand between the marks from which .ci/run takes them."""
    assert 'python -m pip install ".[demo]" && session-mw demo' in SHELL
    assert 'python -m pip install ".[dev]" && python -m pytest' in SHELL


def test_extras_of_the_readme_exist() -> None:
    """Every ``session-mw[extra]`` named is one of the package."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = pyproject.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = set(re.findall(r"(?m)^([a-z]+) = \[", table))
    named = set(re.findall(r"(?:session-mw|\.)\[([a-z]+)\]", TEXT))

    assert named and named <= extras


def test_environment_of_the_readme_is_accepted(tmp_path: Path) -> None:
    """The exported settings make valid settings."""
    exports = [line for line in SHELL if line.startswith("export ")]
    loud = f"{sys.executable} -c 'from session_mw import SessionSettings; SessionSettings()'"
    script = "\n".join(["set -e", *exports, loud])
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    run = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, timeout=50)

    assert (0, b"") == (run.returncode, run.stderr)


LAUNCHING = ("claude-session ", "session-mw run ", 'eval "$(session-mw env')
LAUNCHED = [line for line in SHELL if line.startswith(LAUNCHING)]


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("session-mw ") and line not in LAUNCHED])
def test_commands_for_operators_work(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each does what it does to a store and a history; those that would stay are only asked what they take."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    SqliteStore(f"{tmp_path}/sessions.db").stats()
    history.fill(url)
    (tmp_path / "traces.jsonl").write_text(json.dumps(request(span(1, 1, said={"session.id": "s"}))))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_MW_STORE", url)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SESSION_MW_SECRET_KEY", "a-secret-of-at-least-sixteen-bytes-for-tests")
    words = shlex.split(line, comments=True)[1:]
    result = CliRunner().invoke(command, [*words, *(["--help"] if {"--watch", "tail", "view"} & set(words) else [])])

    assert 0 == result.exit_code, result.output


@pytest.mark.landing
@pytest.mark.timeout(120)
def test_commands_that_launch_work(tmp_path: Path) -> None:
    """The lines about coding agents, typed one after the other: each session is in the history, and the agent ran."""
    desk = Desk(tmp_path)
    (desk.work / "agent.py").write_text("import os; print('ran in', os.environ['PHOENIX_SESSION_TYPE'])")
    desk.program("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    done = desk.run("bash", text="".join(f"{line}\n" for line in LAUNCHED[:1] + LAUNCHED[3:]))
    shells = [desk.run("bash", text=f"{line}\nexit 0\n") for line in LAUNCHED[1:3]]

    assert 5 == len(LAUNCHED)
    assert [["-p", "Review the auth module"]] == [call["argv"] for call in desk.calls]
    assert (0, True) == (done.returncode, "ran in refactoring" in done.stdout), done.stderr
    assert [0, 0] == [shell.returncode for shell in shells]
    types = ["code-review", "refactoring", "documentation", "debugging", "testing"]
    assert types == [row.type for row in desk.sessions]


def test_filters_of_the_readme_are_read() -> None:
    """Each condition that the section about the history shows is one."""
    section = TEXT.split("A filter is a row of conditions")[1].split("A word alone")[0]
    shown = re.findall(r"`([^`]+)`", section)

    assert len(shown) == 7
    assert all(read_filter(text, 0).tree != And(()) for text in shown)


def test_other_commands_are_known() -> None:
    """What else the README types is run by a test of its own or by .ci/run; a new line has to be added here."""
    known = {
        'pip install "session-mw[fastapi]" opentelemetry-sdk',
        'pip install "session-mw[cli]"',
        "python -m pytest -m landing -n 2 --dist loadfile # what .ci/run does besides: six minutes",
        "python -m pytest -m slow                 # all the others: an hour and a half",
        'python -m pytest -m "slow or not slow" tests/reliability/test_faults.py # stores that hang or are killed',
        "python -m pytest -m slow tests/reliability/test_kills.py # kill -9, 300 a store, 50 at each of 4 points",
        "python -m pytest -m slow tests/reliability/test_races.py # 6 touches at a deadline, 1,500 times",
        "SESSION_MW_TEST_KILLS=15 python -m pytest -m slow tests/reliability/test_[kr]*.py # a twentieth of both",
        'python -m pytest -m "slow or not slow" tests/shells/test_clocks.py # clocks that are an hour off, or are set',
        "python -m pytest -m slow tests/streamlit # Streamlit's server, many tabs at once, and in Chromium",
        "python -m pytest -m slow tests/processes # servers that are stopped, killed, replaced: a table",
        "python -m pytest -m slow tests/security/test_hostile_client.py # 2,000 forged, replayed and broken requests",
        "python -m pytest -m real_backend tests/backends # a chat, read back from Phoenix and MLflow",
        "python -m pytest -m real_backend tests/agents # five real coding agents, from the launcher to Phoenix",
        "python -m tests.bench --only P9,P10,P11,P12,P13 # stores at a million sessions",
        "python -m tests.bench.surge redis 1000000 100000 # 100,000 ends due at once, a million sessions live",
        "CONFIG_FILE_PATH=config.yaml uvicorn session_mw.integrations.litellm:app --port 4000",
        "python -m tests.bench --quick",
        "python -m tests.bench.surge",
    }
    run = ("export ", "session-mw ", *LAUNCHING)
    rest = [line for line in SHELL if not line.startswith(run) and '".[' not in line]

    assert known == set(rest)


def test_names_of_the_readme_exist() -> None:
    """Every attribute named in the README is a name on the wire, spelled as the code spells it."""
    from session_mw._core import names
    from session_mw._hierarchy.window import SPAN

    known = {value for value in vars(names).values() if isinstance(value, str)} | {"error.type", "event_name", SPAN}
    named = set(re.findall(r"`((?:session|turn|conversation|context|journey|dropoff|user)\.[a-z_]+)`", TEXT))

    assert named - known == set()
