"""Commands that start nothing: env, status, end, templates, config, completion."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from session_mw._core.records import Limits
from session_mw.cli.app import command
from session_mw.cli.demo.receiver import Receiver
from session_mw.cli.launch import ci, places
from session_mw.cli.launch.choosing import Label
from session_mw.cli.launch.claude import claude_session
from session_mw.ledger import open_ledger
from session_mw.telemetry import notices

LIMITS = Limits(1_800_000, 86_400_000, 600_000, 60_000)
NOW = 1_800_000_000_000
LABEL = Label("code-review-1", "code-review", "v2", "auth")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user of their own, in a directory of their own, in no session and no build."""
    marks = {mark.partition("=")[0] for system in ci._SYSTEMS for mark in system.marks}
    for name in list(os.environ):
        if name in marks or name.startswith(("SESSION_MW_", "OTEL_", "PHOENIX_", "ANTHROPIC_", "GOOGLE_", "GEMINI_")):
            monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SHELL", "/bin/bash")
    notices.reset()
    return tmp_path


def run(*words: str, **environ: str) -> Result:
    return CliRunner().invoke(command, list(words), env=environ)


def variables(*words: str, **environ: str) -> dict[str, Any]:
    result = run("env", "--shell", "json", *words, **environ)
    assert 0 == result.exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_env_begins_a_session(home: Path) -> None:
    """The session is in the store and the history, its variables on standard output, what it is on standard error."""
    result = run("env", "-t", "testing", "-v", "v7", "--name", "n")

    assert result.stdout.startswith("export PHOENIX_SESSION_ID='testing-20")
    assert '(testing v7 "n")' in result.stderr
    ledger = open_ledger(f"sqlite:///{home}/state/session-mw/sessions.db")
    (row,) = ledger.sessions(10)
    ledger.close()
    assert ("testing", "v7", "n", "cli", "active") == (row.type, row.prompt_version, row.name, row.channel, row.status)
    assert [] == places.runs()


@pytest.mark.parametrize(
    "words",
    [["-t", "own type", "-v", "v7", "-n", "a b"], ["--type", "own type", "--version", "v7", "--name", "a b"]],
    ids=["short", "long"],
)
def test_labels_in_short_and_long(words: list[str]) -> None:
    """-t, -v and -n are --type, --version and --name; a type of one's own is taken."""
    found = variables(*words)

    names = ("SESSION_TYPE", "PROMPT_VERSION", "SESSION_NAME")
    assert ["own type", "v7", "a b"] == [found[f"PHOENIX_{name}"] for name in names]
    assert found["PHOENIX_SESSION_ID"].startswith("own-type-20")


def test_other_options_in_short_and_long() -> None:
    """-q is --quiet, -h is --help; --id and --new choose the session, --keep keeps it."""
    around = {"PHOENIX_SESSION_ID": "outer-1"}
    quiet = [run("env", word, **around) for word in ("-q", "--quiet")]
    helps = [run(name, word) for name in ("run", "shell", "env", "end", "templates") for word in ("-h", "--help")]
    given, new = run("env", "--id", "mine-1"), run("env", "--new", **around)
    run("env", "--keep", "-t", "testing")

    assert ["", ""] == [result.stderr for result in quiet]
    assert {0} == {result.exit_code for result in helps}
    assert "session mine-1 (general v1)" in given.stderr
    assert "inside session outer-1" in new.stderr
    assert places.kept_for(os.getcwd(), 0) is not None


def test_env_is_for_the_users_shell() -> None:
    """Without --shell it is that of $SHELL."""
    assert run("env", SHELL="/usr/bin/fish").stdout.startswith("set -gx PHOENIX_SESSION_ID ")
    assert run("env", SHELL="/opt/pwsh").stdout.startswith("$env:PHOENIX_SESSION_ID = ")
    assert run("env", SHELL="/bin/dash").stdout.startswith("export PHOENIX_SESSION_ID=")


def test_env_within_a_session_joins_it() -> None:
    """What is around is joined; options that ask for another begin one, and say what they continue."""
    around = {"PHOENIX_SESSION_ID": "outer-1", "PHOENIX_SESSION_TYPE": "testing"}
    joined, other = run("env", **around), run("env", "-t", "debugging", **around)

    assert "session outer-1 (testing v1), joined: that of the environment" in joined.stderr
    assert "inside session outer-1, which is its session.previous_id" in other.stderr


def test_odd_session_id_is_said() -> None:
    """An id that can be none is not used, and not passed over in silence."""
    result = run("env", PHOENIX_SESSION_ID="not an id")

    assert "PHOENIX_SESSION_ID is left aside" in result.stderr
    assert "not an id" not in result.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--id", "a b"], 2), (["--type", "\x01"], 2), (["--shell", "csh"], 2)],
    ids=["id", "type", "shell"],
)
def test_bad_words_are_refused(words: list[str], code: int) -> None:
    """What cannot be an id, a label or a form is an error of the command line."""
    assert code == run("env", *words).exit_code


def test_addresses_do_not_get_into_names() -> None:
    """An e-mail address in a session's name becomes a pseudonym before anybody is told."""
    name = variables("--name", "for jane@example.com")["PHOENIX_SESSION_NAME"]

    assert name.startswith("for u_") and "jane" not in name


def test_settings_name_the_session() -> None:
    """The settings' labels count where options and PHOENIX variables say nothing."""
    found = variables(SESSION_MW_SESSION_TYPE="by-settings", SESSION_MW_PROMPT_VERSION="v5")

    assert ("by-settings", "v5") == (found["PHOENIX_SESSION_TYPE"], found["PHOENIX_PROMPT_VERSION"])


def test_files_of_the_directory_say_nothing(home: Path) -> None:
    """A .env that came with somebody's repository neither names the store nor lets headers go anywhere."""
    theirs = {"STORE": "sqlite:///theirs.db", "PROPAGATE_TO": "*", "SECRET_KEY": "a-key-that-came-with-a-repository"}
    Path(".env").write_text("".join(f"SESSION_MW_{name}={text}\n" for name, text in theirs.items()))
    found = variables(ANTHROPIC_BASE_URL="https://llm.example.com")

    assert "LLM_SESSION_TOKEN" not in found
    assert not Path("theirs.db").exists()
    assert (home / "state/session-mw/sessions.db").exists()


def test_secret_signs() -> None:
    """With a secret, a proxy next door gets token and signed baggage."""
    secret = {"SESSION_MW_SECRET_KEY": "a-secret-of-at-least-sixteen-bytes-for-tests"}
    found = variables(**secret, ANTHROPIC_BASE_URL="http://localhost:4000")

    assert found["LLM_SESSION_TOKEN"] in found["ANTHROPIC_CUSTOM_HEADERS"]
    assert "session.sig" in found["BAGGAGE"]
    assert "LLM_SESSION_TOKEN" not in variables()


def test_status_of_nothing() -> None:
    """No session is an answer, too."""
    result = run("status", "--json")
    found = json.loads(result.stdout)

    assert (0, None, []) == (result.exit_code, found["session"], found["running"])


def test_status_of_the_environment_and_of_the_directory() -> None:
    """The environment's session is nearer than the one kept for the directory."""
    places.keep(places.Kept(LABEL, os.getcwd(), 2**50))
    kept = json.loads(run("status", "--json").stdout)
    around = json.loads(run("status", "--json", PHOENIX_SESSION_ID="outer-1").stdout)

    assert ("directory", "code-review-1") == (kept["source"], kept["session"]["id"])
    assert ("environment", "outer-1") == (around["source"], around["session"]["id"])
    assert "from     directory" in run("status").stdout


def test_status_masks_passwords() -> None:
    """A store's password is shown to nobody."""
    result = run("status", SESSION_MW_STORE="postgresql://app:pa55word@db/app")

    assert "pa55word" not in result.output and "@db/app" in result.output


def test_end_of_nothing() -> None:
    """There is nothing to end, which is said."""
    for result in (run("end"), CliRunner().invoke(claude_session, ["--reset"])):
        assert (0, "session-mw: no session is active here\n") == (result.exit_code, result.stderr)


def test_end_reports_the_session(home: Path) -> None:
    """The session's end is in the history at once."""
    session_id = variables("-t", "testing")["PHOENIX_SESSION_ID"]
    result = run("end", session_id)
    again = run("end", session_id)

    ledger = open_ledger(f"sqlite:///{home}/state/session-mw/sessions.db")
    (row,) = ledger.sessions(10)
    ledger.close()
    assert f"session {session_id} ended" in result.stderr
    assert "is not active" in again.stderr
    assert ("ended", "user_exit") == (row.status, row.end_reason)


def test_end_is_exported() -> None:
    """By hand as by a command that is over: whoever receives ends gets this one as well, once."""
    session_id = variables("-t", "testing")["PHOENIX_SESSION_ID"]
    with Receiver() as receiver:
        run("end", session_id, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
        told = [(one.event_name, one.attributes["session.id"]) for one in receiver.records()]

    assert ("session.end", session_id) == told[-1]
    assert 1 == [name for name, _ in told].count("session.end")


def test_end_forgets_the_kept_session() -> None:
    """--reset ends the directory's session, and the next launch joins nothing."""
    places.keep(places.Kept(LABEL, os.getcwd(), 2**50))
    CliRunner().invoke(claude_session, ["--reset"])

    assert places.kept_for(os.getcwd(), NOW) is None


def test_templates_are_listed_and_written(tmp_path: Path) -> None:
    """Listed without --dir; with it executables, and what is there is not overwritten unasked."""
    assert 8 == len(run("templates").stdout.splitlines())
    first = run("templates", "--dir", str(tmp_path / "bin"), "-v", "v4")
    again = run("templates", "--dir", str(tmp_path / "bin"))
    forced = run("templates", "--dir", str(tmp_path / "bin"), "--force")
    made = tmp_path / "bin" / "claude-code-review"

    assert (8, 0, 8) == tuple(len(result.stdout.splitlines()) for result in (first, again, forced))
    assert os.access(made, os.X_OK) and "--version v1" in made.read_text()
    assert 8 == again.stderr.count("is there already")
    assert f"{tmp_path}/bin is not in PATH yet" in first.stderr
    assert "not in PATH" not in run("templates", "--dir", str(tmp_path / "bin"), PATH=f"/bin:{tmp_path}/bin").stderr


@pytest.mark.parametrize("agent", ["codex", "opencode", "aider", "claude", "gemini"])
def test_config(agent: str) -> None:
    """Each agent's snippet goes to standard output."""
    result = run("config", agent, "--url", "http://proxy:1/v1", PHOENIX_SESSION_ID="outer-1")

    assert 0 == result.exit_code
    assert ("outer-1" in result.stdout) == (agent == "aider")
    assert "http://proxy:1" in result.stdout
    assert ("http://proxy:1/v1" in result.stdout) == (agent not in ("claude", "gemini"))


@pytest.mark.parametrize(
    ("address", "vouched"),
    [
        pytest.param({"ANTHROPIC_API_BASE": "http://localhost:4000"}, True, id="proxy"),
        pytest.param({"ANTHROPIC_BASE_URL": "http://proxy.internal"}, True, id="that of Claude Code, too"),
        pytest.param({"OPENAI_API_BASE": "https://api.example.com/v1"}, False, id="elsewhere"),
        pytest.param(
            {"ANTHROPIC_API_BASE": "http://localhost", "OPENAI_BASE_URL": "https://api.example.com"}, False, id="both"
        ),
        pytest.param({}, False, id="vendor"),
    ],
)
def test_aiders_headers_are_vouched_for_where_they_may_be(address: dict[str, str], vouched: bool) -> None:
    """A proxy that takes nobody's bare word gets the token from aider's file as well; a vendor does not."""
    session = {"PHOENIX_SESSION_ID": "outer-1", "SESSION_MW_SECRET_KEY": "a-secret-of-at-least-sixteen-bytes-for-tests"}
    result = run("config", "aider", **session, **address)

    assert vouched == ("X-Session-Token: " in result.stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_both_commands(shell: str) -> None:
    """One script completes session-mw and claude-session."""
    text = run("completion", shell).stdout

    assert "_SESSION_MW_COMPLETE" in text and "_CLAUDE_SESSION_COMPLETE" in text


def test_types_are_completed() -> None:
    """The eight types, by their beginning; own types are accepted all the same."""
    environ = {"_CLAUDE_SESSION_COMPLETE": "bash_complete", "COMP_WORDS": "claude-session --type de", "COMP_CWORD": "2"}
    result = CliRunner().invoke(claude_session, [], env=environ, prog_name="claude-session")

    assert "plain,debugging" in result.output and "testing" not in result.output


def test_shell_takes_no_prompt() -> None:
    """--shell and a prompt at once is not understood."""
    assert 2 == CliRunner().invoke(claude_session, ["--shell", "Review it"]).exit_code


def test_help_shows_the_types() -> None:
    """run and claude-session list the workflow types."""
    for text in (run("run", "--help").stdout, CliRunner().invoke(claude_session, ["--help"]).stdout):
        assert "code-review    Code review and analysis" in text


def test_help_is_laid_out_as_its_paragraphs() -> None:
    """Older releases of click take a docstring's indentation away early, newer ones when the help is shown."""
    for text in (run(name, "--help").stdout for name in ("run", "shell")):
        assert "\n\n  Open a shell in a session" in text or "\n\n  Run a command as a session" in text
    assert "\n\n  Run Claude Code as a session.\n" in CliRunner().invoke(claude_session, ["--help"]).stdout
