"""Tables of figures, printed when the tests of a file are over."""

from __future__ import annotations

TABLES: list[Table] = []


class Table:
    """
    Figures of one kind of test.

    Args:
        title: Of the first column.
        columns: The others, in one text.
    """

    def __init__(self, title: str, columns: str) -> None:
        self.title, self.columns = title, columns.split()
        self.rows: list[list[str]] = []
        TABLES.append(self)

    def add(self, name: str, *figures: object) -> None:
        """Add a row."""
        assert len(figures) == len(self.columns)
        self.rows.append([name, *map(str, figures)])

    def __str__(self) -> str:
        rows = [[self.title, *self.columns], *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
