"""
Builds: what a CI system says of the one that runs, from the variables it documents.

The first row whose mark is set decides. An id that is made of a build's is the same in all steps of one job, and in no
other job or attempt: each of those may keep its own history, and two sessions of one id would be taken for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from .ids import slug

LONGEST_ID = 190  # characters, of the 200 that a session id may have


@dataclass(frozen=True, slots=True)
class Build:
    """
    A build that runs.

    Attributes:
        provider: ``github``, ``gitlab`` ...
        id: For a session id: ``build-github-123-1-review``; None when the system says no number.
        pipeline: Its name for people; None when unknown.
        run: The system's own id of the run; None when unknown.
        url: Its page; None when unknown.
    """

    provider: str
    id: str | None = None
    pipeline: str | None = None
    run: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class _System:
    """
    How one system says it.

    Attributes:
        provider: Its name.
        marks: Variables of which each has to be set (``NAME``) or to be so (``NAME=value``).
        ids: Variables that together tell this job from all others; the first is the run's.
        pipeline: Variables that name the pipeline; the first that is set.
        url: The same for its page; words in braces are variables.
    """

    provider: str
    marks: tuple[str, ...]
    ids: tuple[str, ...]
    pipeline: tuple[str, ...] = ()
    url: tuple[str, ...] = ()


_SYSTEMS = (
    _System(
        "github",
        ("GITHUB_ACTIONS=true",),
        ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB", "RUNNER_NAME"),  # the last tells a matrix's jobs apart
        ("GITHUB_WORKFLOW",),
        ("{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",),
    ),
    _System(
        "gitlab",
        ("GITLAB_CI",),
        ("CI_PIPELINE_ID", "CI_JOB_ID"),
        ("CI_PIPELINE_NAME", "CI_PROJECT_PATH"),
        ("{CI_PIPELINE_URL}",),
    ),
    _System(
        "buildkite",
        ("BUILDKITE",),
        ("BUILDKITE_BUILD_ID", "BUILDKITE_JOB_ID"),
        ("BUILDKITE_PIPELINE_SLUG",),
        ("{BUILDKITE_BUILD_URL}",),
    ),
    _System(
        "circleci",
        ("CIRCLECI",),
        ("CIRCLE_WORKFLOW_ID", "CIRCLE_JOB", "CIRCLE_BUILD_NUM", "CIRCLE_NODE_INDEX"),  # the last: parallel runs
        ("CIRCLE_PROJECT_REPONAME",),
        ("{CIRCLE_BUILD_URL}",),
    ),
    _System("jenkins", ("JENKINS_URL",), ("BUILD_TAG",), ("JOB_NAME",), ("{BUILD_URL}",)),
    # Its URL is said only where an administrator has entered one.
    _System("jenkins", ("JENKINS_HOME", "BUILD_TAG"), ("BUILD_TAG",), ("JOB_NAME",), ("{BUILD_URL}",)),
    _System(
        "azure",
        ("TF_BUILD",),
        ("BUILD_BUILDID", "SYSTEM_JOBID", "SYSTEM_JOBATTEMPT"),
        ("BUILD_DEFINITIONNAME",),
        ("{SYSTEM_TEAMFOUNDATIONCOLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}",),
    ),
    _System(
        "bitbucket",
        ("BITBUCKET_BUILD_NUMBER",),
        ("BITBUCKET_BUILD_NUMBER", "BITBUCKET_PIPELINE_UUID", "BITBUCKET_STEP_UUID"),
        ("BITBUCKET_REPO_FULL_NAME",),
        ("https://bitbucket.org/{BITBUCKET_REPO_FULL_NAME}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",),
    ),
    _System(
        "travis",
        ("TRAVIS",),
        ("TRAVIS_BUILD_ID", "TRAVIS_JOB_ID"),
        ("TRAVIS_REPO_SLUG",),
        ("{TRAVIS_BUILD_WEB_URL}",),
    ),
    _System(
        "teamcity",
        ("TEAMCITY_VERSION",),
        ("BUILD_NUMBER", "TEAMCITY_PROJECT_NAME", "TEAMCITY_BUILDCONF_NAME"),  # numbers are a configuration's
        ("TEAMCITY_BUILDCONF_NAME",),
        ("{BUILD_URL}",),
    ),
    _System("codebuild", ("CODEBUILD_BUILD_ID",), ("CODEBUILD_BUILD_ID",), (), ("{CODEBUILD_PUBLIC_BUILD_URL}",)),
    _System(
        "drone",
        ("DRONE",),
        ("DRONE_BUILD_NUMBER", "DRONE_REPO", "DRONE_STAGE_NUMBER"),
        ("DRONE_REPO",),
        ("{DRONE_BUILD_LINK}",),
    ),
    _System(
        "semaphore",
        ("SEMAPHORE",),
        ("SEMAPHORE_WORKFLOW_ID", "SEMAPHORE_JOB_ID"),
        ("SEMAPHORE_PROJECT_NAME",),
    ),
    _System("ci", ("CI_BUILD_ID",), ("CI_BUILD_ID",), ("CI_PROJECT_NAME", "CI_PIPELINE_NAME")),
    _System("ci", ("CI=true",), ()),
)


def build_of(environ: Mapping[str, str]) -> Build | None:
    """Return the build that *environ* tells of; None outside of CI."""
    system = next((one for one in _SYSTEMS if all(_holds(mark, environ) for mark in one.marks)), None)
    if system is None:
        return None
    known = [environ[name] for name in system.ids if environ.get(name)]
    return Build(
        system.provider,
        _id(system.provider, known),
        next((environ[name] for name in system.pipeline if environ.get(name)), None),
        known[0] if known else None,
        next((url for text in system.url if (url := _filled(text, environ))), None),
    )


def _holds(mark: str, environ: Mapping[str, str]) -> bool:
    name, equals, value = mark.partition("=")
    found = environ.get(name, "").strip().lower()
    return found == value if equals else found not in ("", "0", "false")


def _id(provider: str, known: list[str]) -> str | None:
    words = [word for text in known if (word := slug(text, LONGEST_ID))]
    if not words:
        return None
    return "-".join(("build", *(() if provider == "ci" else (provider,)), *words))[:LONGEST_ID].rstrip("-")


def _filled(text: str, environ: Mapping[str, str]) -> str:
    """Return *text* with its variables in place; empty when one of them is not set."""
    made = ""
    for part in text.split("{"):
        name, brace, rest = part.partition("}")
        if not brace:
            made += part
        elif environ.get(name):
            made += quote(environ[name], safe="%:/?#[]@!$&'()*+,;=") + rest  # projects may be called "My Project"
        else:
            return ""
    return made
