"""Rich's texts and tables, made so that what a name holds is literal: no markup, no emoji codes, controls shown.

Every page takes `Text` and `Table` from here (a test sees to it); Rich itself reads a plain string in a table as
markup, and drops some control characters while it sends others to the terminal.
"""

import re
from typing import Any

from rich import table, text
from rich.console import Console, JustifyMethod, OverflowMethod
from rich.containers import Lines

from codi_int.report.literal import show_controls

# blanks that no line ends at: in `-1.2 to 3.4`, `38 %`, `37.7 MiB`, `p < 0.05`, and before a dot between facts
_HELD = re.compile(
    r"(?<=[\d%]) (?=to [+-]?\d)|(?<=\bto) (?=[+-]?\d)|(?<=\d) (?=%|[GMK]iB\b)"
    r"|(?<=[<>=]) (?=[+-]?\d)| (?=·|[<>=] [+-]?\d)"
)
_BLANK = "\ue000"
"""stands for such a blank while lines are cut: as wide as one, and no space in Rich's eyes"""


class Text(text.Text):
    """Rich's text, with controls written out before Rich could drop them, and intervals whole."""

    def __init__(self, text: str = "", *args: Any, **settings: Any) -> None:
        """As Rich's."""
        super().__init__(show_controls(text), *args, **settings)

    def append(self, text: Any, style: Any = None) -> "Text":
        """As Rich's."""
        super().append(show_controls(text) if isinstance(text, str) else text, style)
        return self

    def words(self) -> list[str]:
        """What no line ends inside."""
        return _HELD.sub(_BLANK, self.plain).split()

    def wrap(
        self,
        console: Console,
        width: int,
        *,
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        tab_size: int = 8,
        no_wrap: bool | None = None,
    ) -> Lines:
        """As Rich's, but that a line does not end inside an interval or before a unit."""
        held = self.copy()
        held.plain = _HELD.sub(_BLANK, self.plain)
        lines = held.wrap(console, width, justify=justify, overflow=overflow, tab_size=tab_size, no_wrap=no_wrap)
        for line in lines:
            line.plain = line.plain.replace(_BLANK, " ")
        return lines


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
