"""Ids, builds, agents' command lines, templates and configuration files: text from text."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from session_mw._core.identity import valid_session_id
from session_mw.cli.launch.agents import agent_words, modern, outdated
from session_mw.cli.launch.choosing import Label
from session_mw.cli.launch.ci import build_of
from session_mw.cli.launch.ids import launched_id, slug
from session_mw.cli.launch.kinds import TYPES, template
from session_mw.cli.launch.snippets import AGENTS, snippet

AT = datetime(2025, 11, 1, 14, 30, 22, tzinfo=timezone.utc)
LABEL = Label("code-review-1", "code-review", "v2", "auth module")


def test_id_has_the_seeds_shape() -> None:
    """``code-review-20251101-143022-`` and 128 bits where the seed has 24."""
    assert f"code-review-20251101-143022-{'a3' * 16}" == launched_id("code-review", AT, b"\xa3" * 16)


@pytest.mark.parametrize("type_", ["Code Review!", "überprüfung", "日本", "", "x" * 300, "../../etc", "a.b", "-"])
def test_id_of_any_type_is_one_that_everybody_takes(type_: str) -> None:
    """Own types are accepted, whatever they are called; LiteLLM's pattern for ids is the narrowest."""
    made = launched_id(type_, AT, bytes(16))

    assert valid_session_id(made)
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,}", made)


def test_id_needs_its_entropy() -> None:
    """An id with less could be guessed."""
    with pytest.raises(ValueError, match="16 are needed"):
        launched_id("general", AT, b"short")


def test_slug() -> None:
    """Letters, digits and ``_`` stay, the rest becomes hyphens."""
    assert "Code-Review_2" == slug("  Code / Review_2! ")


BUILDS = [
    (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_RUN_ID": "99",
            "GITHUB_RUN_ATTEMPT": "2",
            "GITHUB_JOB": "review",
            "RUNNER_NAME": "GitHub Actions 7",
            "GITHUB_WORKFLOW": "Nightly",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "o/r",
        },
        ("build-github-99-2-review-GitHub-Actions-7", "Nightly", "99", "https://github.com/o/r/actions/runs/99"),
    ),
    (
        {"GITLAB_CI": "1", "CI_PIPELINE_ID": "5", "CI_JOB_ID": "6", "CI_PROJECT_PATH": "g/p", "CI_PIPELINE_URL": "u"},
        ("build-gitlab-5-6", "g/p", "5", "u"),
    ),
    (
        {"BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b", "BUILDKITE_JOB_ID": "j", "BUILDKITE_PIPELINE_SLUG": "p"},
        ("build-buildkite-b-j", "p", "b", None),
    ),
    (
        {"CIRCLECI": "true", "CIRCLE_WORKFLOW_ID": "w", "CIRCLE_JOB": "t", "CIRCLE_BUILD_NUM": "8"},
        ("build-circleci-w-t-8", None, "w", None),
    ),
    (
        {
            "CIRCLECI": "true",
            "CIRCLE_WORKFLOW_ID": "w",
            "CIRCLE_BUILD_NUM": "8",
            "CIRCLE_NODE_INDEX": "1",  # of a job that runs in parallel: the rest is the same in each
            "CIRCLE_PROJECT_REPONAME": "r",
            "CIRCLE_BUILD_URL": "https://circleci.com/gh/o/r/8",
        },
        ("build-circleci-w-8-1", "r", "w", "https://circleci.com/gh/o/r/8"),
    ),
    (
        {"JENKINS_URL": "http://j/", "BUILD_TAG": "jenkins-app-12", "JOB_NAME": "app", "BUILD_URL": "http://j/12"},
        ("build-jenkins-jenkins-app-12", "app", "jenkins-app-12", "http://j/12"),
    ),
    (  # no administrator has entered a URL
        {"JENKINS_HOME": "/var/jenkins", "BUILD_TAG": "jenkins-app-12", "JOB_NAME": "app"},
        ("build-jenkins-jenkins-app-12", "app", "jenkins-app-12", None),
    ),
    ({"TF_BUILD": "True", "BUILD_BUILDID": "3", "SYSTEM_JOBID": "j"}, ("build-azure-3-j", None, "3", None)),
    (
        {
            "TF_BUILD": "True",
            "BUILD_BUILDID": "3",
            "SYSTEM_JOBID": "j",
            "SYSTEM_JOBATTEMPT": "2",
            "BUILD_DEFINITIONNAME": "app CI",
            "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": "https://dev.azure.com/org/",
            "SYSTEM_TEAMPROJECT": "My Project",
        },
        ("build-azure-3-j-2", "app CI", "3", "https://dev.azure.com/org/My%20Project/_build/results?buildId=3"),
    ),
    ({"BITBUCKET_BUILD_NUMBER": "4"}, ("build-bitbucket-4", None, "4", None)),
    (
        {
            "BITBUCKET_BUILD_NUMBER": "4",
            "BITBUCKET_PIPELINE_UUID": "{p-1}",
            "BITBUCKET_STEP_UUID": "{s-1}",
            "BITBUCKET_REPO_FULL_NAME": "team/app",
        },
        ("build-bitbucket-4-p-1-s-1", "team/app", "4", "https://bitbucket.org/team/app/pipelines/results/4"),
    ),
    ({"TRAVIS": "true", "TRAVIS_BUILD_ID": "1", "TRAVIS_JOB_ID": "2"}, ("build-travis-1-2", None, "1", None)),
    ({"TEAMCITY_VERSION": "9", "BUILD_NUMBER": "7"}, ("build-teamcity-7", None, "7", None)),
    (
        {
            "TEAMCITY_VERSION": "2025.11",
            "BUILD_NUMBER": "7",
            "TEAMCITY_PROJECT_NAME": "App",
            "TEAMCITY_BUILDCONF_NAME": "Unit tests",
        },
        ("build-teamcity-7-App-Unit-tests", "Unit tests", "7", None),
    ),
    ({"CODEBUILD_BUILD_ID": "app:1-2"}, ("build-codebuild-app-1-2", None, "app:1-2", None)),
    ({"DRONE": "true", "DRONE_REPO": "o/r", "DRONE_BUILD_NUMBER": "5"}, ("build-drone-5-o-r", "o/r", "5", None)),
    ({"SEMAPHORE": "true", "SEMAPHORE_WORKFLOW_ID": "w"}, ("build-semaphore-w", None, "w", None)),
    ({"CI": "true", "CI_BUILD_ID": "4711"}, ("build-4711", None, "4711", None)),
    ({"CI": "true"}, (None, None, None, None)),
]


@pytest.mark.parametrize(("environ", "expected"), BUILDS, ids=lambda value: next(iter(value)) if value else "")
def test_builds(environ: dict[str, str], expected: tuple[str | None, ...]) -> None:
    """Each system is known by its mark; id, pipeline, run and page are what it says."""
    build = build_of(environ)

    assert build is not None
    assert expected == (build.id, build.pipeline, build.run, build.url)
    assert build.id is None or valid_session_id(build.id)


@pytest.mark.parametrize("environ", [{}, {"CI": "false"}, {"GITHUB_ACTIONS": ""}, {"CI": "0"}, {"GITLAB_CI": "false"}])
def test_no_build(environ: dict[str, str]) -> None:
    """Outside of CI there is none, also where a mark is there and says so."""
    assert build_of(environ) is None


def test_id_of_a_build_is_bounded() -> None:
    """Names of jobs are people's own, and may be long."""
    build = build_of({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "GITHUB_JOB": "j" * 500})

    assert build is not None and build.id is not None
    assert valid_session_id(build.id)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["Review it"], ["claude", "-p", "Review it"]),
        (["fix", "the", "bug"], ["claude", "-p", "fix the bug"]),
        (["Review it", "--model", "opus"], ["claude", "-p", "Review it", "--model", "opus"]),
        (["--resume"], ["claude", "--resume"]),
        (["code", "Review it"], ["claude", "-p", "Review it"]),
        (["code"], ["claude", "-p", "code"]),
        ([], ["claude"]),
    ],
)
def test_bare_prompt(words: list[str], expected: list[str]) -> None:
    """A prompt runs the agent with it; from the first option on words go to the agent as they are."""
    assert expected == agent_words(words)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["claude", "code", "Review it"], ["claude", "-p", "Review it"]),
        (["/opt/bin/claude", "code", "a", "b"], ["/opt/bin/claude", "-p", "a b"]),
        (["claude", "code", "a\nb", "--verbose"], ["claude", "-p", "a\nb", "--verbose"]),
        (["claude", "code"], ["claude", "code"]),
        (["claude", "-p", "code", "x"], ["claude", "-p", "code", "x"]),
        (["codex", "code", "x"], ["codex", "code", "x"]),
    ],
)
def test_claude_code_of_old(command: list[str], expected: list[str]) -> None:
    """``claude code "..."`` is understood; nothing else is touched."""
    assert (expected, expected != command) == modern(command)


def test_outdated_prompt() -> None:
    """``code "..."`` behind claude-session is the old way as well."""
    assert outdated(["code", "Review it"])
    assert not outdated(["code"])
    assert not outdated(["code", "--verbose"])


@pytest.mark.parametrize("type_", TYPES)
def test_templates_are_scripts(type_: str, tmp_path: Path) -> None:
    """Each is a shell script that hands its words on, and opens a shell without any."""
    stub = tmp_path / "claude-session"
    stub.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    stub.chmod(0o755)
    script = tmp_path / "template"
    script.write_text(template(type_, "v2"))
    bare, prompt = (
        subprocess.run(["sh", str(script), *words], env={"PATH": f"{tmp_path}:/bin:/usr/bin"}, capture_output=True)
        for words in ([], ["Review it"])
    )

    assert f"--type|{type_}|--version|v2|--shell|".encode() == bare.stdout
    assert f"--type|{type_}|--version|v2|Review it|".encode() == prompt.stdout


def test_codex_configuration() -> None:
    """Codex' file is TOML whose headers name variables."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no reader of TOML")
    document = tomllib.loads(snippet("codex", "http://proxy:4000/v1", "X-Session-Token", None))
    provider = document["model_providers"][document["model_provider"]]

    assert "http://proxy:4000/v1" == provider["base_url"]
    assert {
        "x-session-id": "PHOENIX_SESSION_ID",
        "x-litellm-session-id": "PHOENIX_SESSION_ID",
        "x-session-type": "PHOENIX_SESSION_TYPE",
        "x-session-prompt-version": "PHOENIX_PROMPT_VERSION",
        "X-Session-Token": "LLM_SESSION_TOKEN",
    } == provider["env_http_headers"]


def test_opencode_configuration() -> None:
    """OpenCode's file is JSON; ``x-session-id`` is its own."""
    document = json.loads(snippet("opencode", "http://proxy:4000/v1", "X-Session-Token", None))
    headers = document["provider"]["anthropic"]["options"]["headers"]

    assert "{env:PHOENIX_SESSION_ID}" == headers["x-litellm-session-id"]
    assert "x-session-id" not in headers


def test_aider_configuration() -> None:
    """aider's file is YAML with one session's headers, strings as JSON writes them (which is YAML)."""
    text = snippet("aider", "http://proxy:4000/v1", "X-Session-Token", LABEL, "signed")
    begin = next(at for at, line in enumerate(text.splitlines()) if not line.startswith("#"))
    lines = [line.strip().partition(": ") for line in text.splitlines() if line.startswith("      ")]
    headers = {name: json.loads(value) for name, _, value in lines}

    assert text.splitlines()[begin : begin + 3] == [
        "- name: aider/extra_params",
        "  extra_params:",
        "    extra_headers:",
    ]
    assert ("code-review-1", "auth module") == (headers["x-session-id"], headers["x-session-name"])
    assert "signed" == headers["X-Session-Token"]


def test_every_agent_has_something() -> None:
    """No agent of the list is without an answer."""
    assert all(snippet(agent, "http://p", "X-Session-Token", None).endswith("\n") for agent in AGENTS)
