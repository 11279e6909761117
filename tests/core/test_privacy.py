"""Personal data in free text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.identity import clean_attribute, hash_user_id
from session_mw._core.privacy import MARK, Hider, hide_all, window

KEY = b"k" * 32


def named(user: object) -> str:
    return hash_user_id(str(user), KEY)


HIDE = Hider(named)
JANE = named("jane.doe@example.org")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jane.doe@example.org", JANE),
        ("<jane.doe@example.org>", f"<{JANE}>"),
        ("'jane.doe@example.org'", f"'{JANE}'"),
        ("mailto:jane.doe@example.org?subject=x", f"mailto:{JANE}?subject=x"),
        ("?mail=jane.doe%40example.org&page=2", f"?mail={JANE}&page=2"),
        ("jane.doe@example.org, jane.doe@example.org.", f"{JANE}, {JANE}."),
        ("o'neill+tag@mail.example.co.uk", named("o'neill+tag@mail.example.co.uk")),
        ("jürgen@müller.example", named("jürgen@müller.example")),
        ("a@xn--mller-kva.xn--p1ai", named("a@xn--mller-kva.xn--p1ai")),
        ("a@b.example@c.example", f"{named('a@b.example')}@c.example"),
        ("{'mail': 'jane.doe@example.org'}", f"{{'mail': '{JANE}'}}"),
    ],
)
def test_addresses_become_pseudonyms(text: str, expected: str) -> None:
    """An address is found wherever it stands, and named as its owner is who uses it as an id."""
    assert expected == HIDE(text)


@pytest.mark.parametrize(
    "text",
    ["", "no address", "@", "@handle", "a @ b", "claude-4@20250514", "gemini@latest", "left-pad@1.3.0", "a@b", "%40"],
)
def test_what_is_no_address_stays(text: str) -> None:
    """Versions of models and packages, decorators and handles are not hidden; the very same text comes back."""
    assert text is HIDE(text)


def test_addresses_where_nobody_is_named() -> None:
    """Without pseudonyms a mark stands there; in plain mode, what was said."""
    assert f"to {MARK}" == Hider(lambda user: None)("to jane.doe@example.org") == hide_all("to jane.doe@example.org")
    assert "to jane.doe@example.org" == Hider(None)("to jane.doe@example.org")


@pytest.mark.parametrize(
    ("user", "text", "expected"),
    [
        ("customer-4711", "customer-4711", named("customer-4711")),
        ("customer-4711", "of customer-4711: customer-4711.", "of {0}: {0}.".format(named("customer-4711"))),
        ("customer-4711", "customer-47110 xcustomer-4711", "customer-47110 xcustomer-4711"),
        ("anna", "Hannah, anna", f"Hannah, {named('anna')}"),
        ("pro", "pro", "pro"),
        ("jane@intranet", "jane@intranet", named("jane@intranet")),
        (named("x"), f"of {named('x')}", f"of {named('x')}"),
        (None, "None", "None"),
    ],
)
def test_user_that_is_named_in_the_same_call(user: str | None, text: str, expected: str) -> None:
    """A raw id is hidden where it stands by itself, from four characters on; parts of other words are not it."""
    assert expected == HIDE.knowing(user)(text)


def test_user_in_other_modes() -> None:
    """Nobody is named: a mark. Everybody is named plainly: nothing is hidden."""
    assert MARK == hide_all.knowing("customer-4711")("customer-4711")
    assert "customer-4711" == Hider(None).knowing("customer-4711")("customer-4711")


AROUND = st.text(alphabet=st.sampled_from("ab1@.%40-_' ü\u200b\n<>\"=:/?&"), max_size=100)


@given(AROUND, st.sampled_from(' <>"=:/?&\n(,'), AROUND)
def test_address_in_any_surroundings(before: str, between: str, after: str) -> None:
    """What stands before it, beyond a character that no address has, and after it does not keep it from being found."""
    hidden = HIDE(f"{before}{between}jane.doe@example.org{between}{after}")

    assert "jane" not in hidden
    assert JANE in hidden


@given(st.text(max_size=1500), st.integers(1, 50))
def test_cutting_leaves_no_half_address(before: str, limit: int) -> None:
    """However long the text and wherever it is cut: hidden first, cut afterwards."""
    cut = clean_attribute(before + " jane.doe@example.org", limit, HIDE)

    assert cut is None or "jane" not in cut
    assert cut is None or len(cut) <= limit


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000 + "@",
        "a@" * 100_000,
        "%40" * 70_000,
        "a@b" * 70_000,
        "a@" + "b." * 100_000,
        "a%40b.1" * 30_000,
        "'" * 200_000 + "@b.example",
        "a@b.c" * 50_000,
    ],
    ids=["run", "ats", "encoded", "pairs", "labels", "mixed", "quotes", "short"],
)
def test_hiding_takes_linear_time(text: str) -> None:
    """Two hundred thousand characters made to slow a pattern down take no longer than a moment."""
    began = time.thread_time()
    HIDE(text)
    HIDE.knowing("aaaa")(text)
    clean_attribute(text, hide=HIDE)

    assert time.thread_time() - began < 2.0


def test_window_keeps_a_whole_address() -> None:
    """The beginning of a text ends with a whole address, if one begins in it; no run of text makes it endless."""
    assert "ab jane.doe@example.org" == window("ab jane.doe@example.org and so on", 5)
    assert 325 == len(window("a" * 1000, 5))
    assert "ab" == window("ab", 5)
