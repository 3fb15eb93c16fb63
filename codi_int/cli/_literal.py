"""Rich's texts and tables, made so that what a name holds is literal: no markup, no emoji codes, controls shown.

Every page takes `Text` and `Table` from here (a test sees to it); Rich itself reads a plain string in a table as
markup, and drops some control characters while it sends others to the terminal.
"""

from typing import Any

from rich import table, text

from codi_int.report.literal import show_controls


class Text(text.Text):
    """Rich's text, with controls written out before Rich could drop them."""

    def __init__(self, text: str = "", *args: Any, **settings: Any) -> None:
        """As Rich's."""
        super().__init__(show_controls(text), *args, **settings)

    def append(self, text: Any, style: Any = None) -> "Text":
        """As Rich's."""
        super().append(show_controls(text) if isinstance(text, str) else text, style)
        return self


class Table(table.Table):
    """Rich's table, whose strings are texts and not markup."""

    # headers that are given at once go through `add_column` in Rich, so they need no method here
    def add_column(self, header: Any = "", *args: Any, **settings: Any) -> None:
        """As Rich's."""
        super().add_column(_literal(header), *args, **settings)

    def add_row(self, *cells: Any, **settings: Any) -> None:
        """As Rich's."""
        super().add_row(*map(_literal, cells), **settings)


def _literal(cell: Any) -> Any:
    return Text(cell) if isinstance(cell, str) else cell
