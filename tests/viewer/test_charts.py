"""Where columns stand, and where an axis ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from session_mw.ledger.shown import shown_number
from session_mw.viewer.charts import HEIGHT, columns, round_count, round_ms, round_top

LARGEST = st.floats(1e-9, 1e15)


@given(LARGEST)
def test_an_axis_ends_at_or_a_little_above_the_largest_value(largest: float) -> None:
    """Nothing sticks out, and at least half of the plot is used."""
    assert largest * 0.999 <= round_top(largest) <= 2 * largest
    assert largest * 0.999 <= round_count(largest) <= max(2.0, 2 * largest)
    assert largest * 0.999 <= round_ms(largest) <= max(7_200_000.0, 2 * largest)


def test_an_axis_of_nothing() -> None:
    """It has an end too."""
    assert (1.0, 2.0, 1.0) == (round_top(0), round_count(0), round_ms(0))


@given(st.lists(st.none() | st.integers(0, 10**9), max_size=60))
def test_columns_stay_in_the_picture(values: list[int | None]) -> None:
    """Side by side, from the ground, none above the top; what is known and not zero can be seen."""
    chart = columns("k", "Things", [(str(at), value) for at, value in enumerate(values)], shown_number)

    for at, (column, value) in enumerate(zip(chart.columns, values, strict=True)):
        assert 0 <= column.x <= column.x + column.width <= 100.01
        assert HEIGHT == round(column.y + column.height, 1)
        assert bool(value) == (column.height >= 1)
        assert at == 0 or column.x >= chart.columns[at - 1].x + chart.columns[at - 1].width
    assert all(0 <= place <= 100 for place, _, _ in chart.marks)
