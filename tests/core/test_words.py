"""Text that is counted whole and kept in part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.words import Words, cut, kept_characters, text_of


@given(st.lists(st.text(max_size=20), max_size=10), st.integers(0, 50))
def test_words_count_all_and_keep_the_beginning(pieces: list[str], keep: int) -> None:
    """However the text comes, its length is exact and what is kept is its beginning."""
    words = Words(keep)
    for piece in pieces:
        words.add(piece)

    whole = "".join(pieces)
    assert (len(whole), whole[:keep]) == (words.length, words.text)
    assert bool(pieces) == words.found


@given(st.text(st.characters(), max_size=200), st.integers(1, 100))
def test_cut_ends_on_a_character(text: str, limit: int) -> None:
    """At most so many bytes of UTF-8, a beginning of the text, and no longer cut than needed."""
    found = cut(text, limit)

    whole = text.encode("utf-8", "replace")
    assert whole.startswith(found.encode()) and len(found.encode()) <= limit
    assert len(whole) <= limit or len(found.encode()) > limit - 4


def test_kept_characters_are_none_without_capture() -> None:
    """Where content may not be kept, none is."""
    assert 0 == kept_characters(False, 1000)
    assert 1000 < kept_characters(True, 1000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "content", "type", "x"]), inner),
)


@given(json_values)
def test_text_of_anything_is_text_or_none(value: object) -> None:
    """No value raises."""
    assert isinstance(text_of(value), (str, type(None)))


def test_text_of_deep_nesting_is_bounded() -> None:
    """A value nested without end is given up."""
    deep: object = "x"
    for _ in range(10_000):
        deep = [deep]

    assert text_of(deep) is None
