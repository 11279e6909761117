"""What a child finds in its environment: everything is merged, and what others put there stays."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import OTELResourceDetector

from session_mw._core import baggage
from session_mw._core.tokens import Claim, TokenCodec
from session_mw._engine.compiled import compile_policy
from session_mw.cli.launch.carried import proof_of
from session_mw.cli.launch.choosing import Label
from session_mw.cli.launch.headers import OURS, headers_of, merged, value_of
from session_mw.cli.launch.variables import Proof, applied, changes, resource
from session_mw.settings import SessionSettings

LABEL = Label("inner-1", "code-review", "v2", "auth modüle, part=1")
SECRET = "a-secret-of-at-least-sixteen-bytes-for-tests"
LINES = "ANTHROPIC_CUSTOM_HEADERS"
COMMAS = "GEMINI_CLI_CUSTOM_HEADERS"
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def lines(before: str, outer: str | None = None, label: Label = LABEL) -> list[str]:
    replaced = OURS | {"x-session-token"}
    return merged(before, headers_of(label), "lines", outer=outer, replaced=replaced).split("\n")


def test_headers_of_others_stay_word_for_word() -> None:
    """Claude Code takes a header a line: theirs stay first and as they are, ours follow."""
    theirs = "X-Team: a, b: c\nx:nospace\nno header at all"
    found = lines(theirs)

    assert theirs.split("\n") == found[:3]
    assert "x-session-id: inner-1" == found[3]


def test_header_that_somebody_has_set_is_never_replaced() -> None:
    """Whoever names the session by hand is left that."""
    found = lines("X-Session-ID: by-hand")

    assert 1 == sum(line.lower().startswith("x-session-id:") for line in found)
    assert "X-Session-ID: by-hand" in found


def test_headers_of_the_launcher_around_are_replaced() -> None:
    """Inside another session its headers, token and baggage included, make room; others' stay."""
    around = "\n".join(lines("X-Team: a", label=Label("outer-1", "t", "v1")))
    found = lines(f"{around}\nX-Session-Token: old\nbaggage: session.id=outer-1", outer="outer-1")

    assert "X-Team: a" == found[0]
    assert "outer-1" not in "\n".join(found)
    assert "x-session-id: inner-1" in found


def test_launching_twice_changes_nothing() -> None:
    """A command that joins the session around finds the variables as they are."""
    once = applied({"PATH": "/bin"}, changes({"PATH": "/bin"}, LABEL, Proof(), outer=None))

    assert {} == changes(once, LABEL, Proof(), outer=LABEL.id)


def test_gemini_takes_commas() -> None:
    """Gemini CLI splits at commas that a name follows: no value of ours has one."""
    found = changes({COMMAS: "x-team: a,b, x-other: c"}, LABEL, Proof(), outer=None)[COMMAS]
    assert found is not None
    parts = [part.strip() for part in re.split(r",(?=\s*[^,:]+:)", found)]

    assert ["x-team: a,b", "x-other: c", "x-session-id: inner-1", "x-session-type: code-review"] == parts[:4]
    assert "auth modüle, part=1" == unquote(next(p for p in parts if p.startswith("x-session-name:"))[16:])
    assert all("{" not in part for part in parts)


@given(ANY_TEXT)
def test_header_values_can_be_carried_and_come_back(text: str) -> None:
    """Printable ASCII, nothing that ends a line or a header, and ``unquote`` gives the text back."""
    value = value_of(text.strip(" "))

    assert value.isascii() and (value.isprintable() or value == "")
    assert "," not in value and "\n" not in value
    assert text.strip(" ") == unquote(value)


NAMES = st.sampled_from(["X-Team", "x-other", "Baggage", "x-session-id", "Z"])


@given(st.lists(st.tuples(NAMES, ANY_TEXT.map(value_of)), max_size=6))
def test_whatever_was_there_is_there_afterwards(pairs: list[tuple[str, str]]) -> None:
    """For any headers of others: each line is in the result, in its order, before ours."""
    before = [f"{name}: {value}" for name, value in pairs]

    assert before == lines("\n".join(before))[: len(before)]


def test_stock_litellm_header_is_asked_for() -> None:
    """Without a word nobody's budgets are touched; with it the session is the proxy's end user."""
    assert "x-litellm-end-user-id" not in dict(headers_of(LABEL))
    assert "inner-1" == dict(headers_of(LABEL, end_user=True))["x-litellm-end-user-id"]


def test_litellm_metadata() -> None:
    """What a stock LiteLLM proxy puts into its spans' metadata is JSON in ASCII."""
    text = dict(headers_of(LABEL))["x-litellm-spend-logs-metadata"]
    expected = {
        "session_id": "inner-1",
        "session_type": "code-review",
        "prompt_version": "v2",
        "session_name": LABEL.name,
    }

    assert text.isascii()
    assert expected == json.loads(text)


def test_all_our_headers_are_known_as_ours() -> None:
    """A header that is not would pile up where launchers stand inside each other."""
    assert {name.lower() for name, _ in headers_of(LABEL, end_user=True)} <= OURS


def test_resource_attributes_are_merged() -> None:
    """What is there stays, a key that somebody set stays theirs, and an SDK reads all of it."""
    text = resource("service.name=agent, deployment.environment=prod ,session.type=by-hand", LABEL, None)
    found = _read(text)

    assert "service.name=agent,deployment.environment=prod,session.type=by-hand,session.id=inner-1" in text
    assert {"service.name": "agent", "session.type": "by-hand", "session.name": LABEL.name} == {
        key: found[key] for key in ("service.name", "session.type", "session.name")
    }


def test_resource_attributes_of_the_session_around_are_replaced() -> None:
    """They are known by the id of the session around."""
    around = resource("team=a", Label("outer-1", "t", "v1", "n"), None)

    assert "team=a,session.id=inner-1,session.type=x,session.prompt_version=v9" == resource(
        around, Label("inner-1", "x", "v9"), "outer-1"
    )


def _read(text: str) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", text)
        return dict(OTELResourceDetector().detect().attributes)


def test_session_variables() -> None:
    """The seed's four variables are written; a name that the session has not is taken away."""
    found = changes({"PHOENIX_SESSION_NAME": "of another"}, Label("i", "t", "v1"), Proof(), outer=None)

    names = ("SESSION_ID", "SESSION_TYPE", "PROMPT_VERSION")
    assert ("i", "t", "v1") == tuple(found[f"PHOENIX_{name}"] for name in names)
    assert found["PHOENIX_SESSION_NAME"] is None
    assert "PHOENIX_SESSION_NAME" not in applied({"PHOENIX_SESSION_NAME": "of another"}, found)


def proof(environ: dict[str, str], *, signs: bool = True, same: bool = True, **settings: str) -> Proof:
    made = SessionSettings(_env_file=None, secret_key=SECRET, **settings)  # type: ignore[arg-type]
    return proof_of(made, signs, LABEL, 3, environ, same)


def test_token_is_one_that_the_middleware_reads() -> None:
    """The token is signed for the header, and names the session."""
    token = proof({}).token
    assert token is not None
    codec = TokenCodec(SECRET.encode(), purpose="header", name="X-Session-Token")
    claim = codec.loads(token.encode(), now_ms=2**42, skew_ms=0, max_age_ms=None)

    assert isinstance(claim, Claim)
    assert "inner-1" == claim.session_id


def test_baggage_is_signed_and_merged() -> None:
    """Ours come first, with the generation; others' entries stay, and what claims to be ours does not."""
    found = proof({"BAGGAGE": "team=a;p=1,session.id=evil"}).carried["BAGGAGE"]
    ours, rest, problems = baggage.split([found])
    settings = SessionSettings(_env_file=None, secret_key=SECRET)
    signer = compile_policy(settings, lambda: None).signer
    assert signer is not None
    now_ms = 1000 * int(ours["session.sig"].split(".")[1])

    assert ("inner-1", "code-review", LABEL.name, "3") == (
        ours["session.id"],
        ours["session.type"],
        ours["session.name"],
        ours["session.generation"],
    )
    assert ("team=a;p=1", ()) == (rest, problems)
    assert "ok" == signer.verify(ours, now_ms=now_ms, max_age_ms=1000, skew_ms=1000)


def test_nothing_is_signed_without_a_secret() -> None:
    """A signature with a key that nobody has would only be refused."""
    found = proof({}, signs=False)

    assert (None, "") == (found.token, found.baggage)
    assert "session.sig" not in found.carried["BAGGAGE"]


def test_what_vouches_for_the_session_around_is_kept_without_a_secret() -> None:
    """Joined from where no secret is set: token, signed baggage and trace of the launcher around go on."""
    environ = {"ANTHROPIC_BASE_URL": "http://localhost:4000", "TRACEPARENT": TRACE}
    around = applied(environ, changes(environ, LABEL, proof(environ), outer=None))
    other = changes(around, Label("other-1", "t", "v1"), proof(around, signs=False, same=False), outer=LABEL.id)

    joined = changes(around, LABEL, proof(around, signs=False), outer=LABEL.id)
    assert {LINES} == joined.keys()
    assert sorted(around[LINES].split("\n")) == sorted(str(joined[LINES]).split("\n"))
    assert other["LLM_SESSION_TOKEN"] is other["TRACEPARENT"] is None
    assert "X-Session-Token" not in str(other[LINES]) and "session.sig" not in str(other["BAGGAGE"])


def test_trace_around_is_left_where_nothing_could_be_made() -> None:
    """Settings that cannot be used cost a signature, not the trace of the build around."""
    assert "TRACEPARENT" not in changes({"TRACEPARENT": TRACE}, LABEL, Proof(), outer=None)
    assert changes({"TRACEPARENT": TRACE}, LABEL, Proof(), outer="other")["TRACEPARENT"] is None


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_trace_goes_on_within_a_session_only() -> None:
    """A trace around goes on in the child; in another session it does not: a trace has one."""
    assert TRACE == proof({"TRACEPARENT": TRACE}).carried["TRACEPARENT"]
    assert "TRACEPARENT" not in proof({"TRACEPARENT": TRACE}, same=False).carried
    found = changes({"TRACEPARENT": TRACE}, LABEL, proof({"TRACEPARENT": TRACE}, same=False), outer="o")
    assert found["TRACEPARENT"] is None


def test_signed_headers_go_to_own_hosts_only() -> None:
    """Token and baggage go to hosts of ``propagate_to``: a proxy next door; no vendor, and nobody unknown."""
    for url, told in (
        ("http://localhost:4000", True),
        ("http://litellm:4000", True),
        ("https://api.anthropic.com", False),
        ("https://llm.example.com", False),
        ("", False),
    ):
        environ = {"ANTHROPIC_BASE_URL": url}
        headers = changes(environ, LABEL, proof(environ), outer=None)[LINES]
        assert headers is not None
        assert told == ("X-Session-Token: " in headers) == ("baggage: " in headers), url
        assert "x-session-id: inner-1" in headers

    environ = {"ANTHROPIC_BASE_URL": "https://llm.example.com"}
    headers = changes(environ, LABEL, proof(environ, propagate_to="*.example.com"), outer=None)[LINES]
    assert headers is not None and "X-Session-Token: " in headers
