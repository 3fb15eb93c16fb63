"""Tables for a terminal of any width: columns leave by rank, headings and labels wrap, a number is never cut.

A page declares for every column how much it matters. Where a table is too wide for the terminal it is set closer, then
its headings and labels wrap at spaces, then columns leave, those of the largest rank first, and the page names them in
its last line. Where even those that stay at every width do not fit, a row becomes several lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult

from codi_int.cli._literal import Table, Text

GAPS = (3, 2)
"""blanks between columns: as a page is set where there is room, and as close as an interval can still be read"""
MANY = 99
SHORT_LABEL = 16
"""a column leaves before a label up to this width wraps, or a longer one into more than about two lines"""


@dataclass(frozen=True)
class Column:
    """A column of a page."""

    heading: str
    """what stands above it"""
    rank: int = 0
    """when it leaves: the largest rank first; 0 stays at every width"""
    name: str = ""
    """what it is called where it was left out, if its heading alone does not say it"""
    text: bool = False
    """flush left and wrapped at spaces, as the first column of every table is"""


class FittedTable:
    """A table that is set when it is printed, for the width that it is printed at."""

    def __init__(self, columns: Sequence[Column], foldable: bool = False, caption: str = "") -> None:
        """
        Args:
            columns: the first is text and always there; the others hold numbers where they do not say otherwise.
            foldable: columns are all alike, as positions are: a table that is too wide goes on below itself.
            caption: a line below.
        """
        self._columns, self._foldable, self._caption = tuple(columns), foldable, caption
        self._rows: list[tuple[tuple[Text, ...], str | None]] = []

    def add_row(self, *cells: str | Text, style: str | None = None) -> None:
        """One row; a cell for every column."""
        texts = tuple(Text(cell) if isinstance(cell, str) else cell for cell in cells)
        assert len(texts) == len(self._columns), (len(texts), [column.heading for column in self._columns])
        self._rows.append((texts, style))

    @property
    def columns(self) -> tuple[Column, ...]:
        """All of them, whatever the width."""
        return self._columns

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The texts of its cells."""
        return [tuple(cell.plain for cell in texts) for texts, _ in self._rows]

    @property
    def caption(self) -> str:
        """The line below; empty for none."""
        return self._caption

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.fit(options.max_width)[0]

    def fit(self, width: int) -> tuple[RenderableType, tuple[str, ...]]:
        """The table at some width, and what the columns are called that it has no room for."""
        kept = list(range(len(self._columns)))
        while True:
            for gap, lines in ((GAPS[0], 1), (GAPS[1], 1), (GAPS[1], 2)):
                if widths := self._widths(kept, width - gap * (len(kept) - 1), lines):
                    return self._set(kept, widths, gap), self._names_without(kept)
            # those of one rank leave together: of a pair such as broken and fixed, one alone says little
            last = max(self._columns[i].rank for i in kept)
            if not last:
                return self._narrowest(kept, width), self._names_without(kept)
            kept = [i for i in kept if self._columns[i].rank < last]

    def _narrowest(self, kept: Sequence[int], width: int) -> RenderableType:
        """Columns none of which may leave, where labels of two lines are still too wide."""
        if self._foldable:
            return self._folded(width)
        widths = self._widths(kept, width - GAPS[1] * (len(kept) - 1), MANY)
        return self._set(kept, widths, GAPS[1]) if widths else self._lines(kept)

    def _names_without(self, kept: Sequence[int]) -> tuple[str, ...]:
        return tuple(c.name or c.heading for i, c in enumerate(self._columns) if i not in kept)

    def _widths(self, kept: Sequence[int], room: int, lines: int) -> list[int]:
        """A width for each column so that they fill `room` at most; empty where there is none.

        Headings stand in one line or, with more `lines`, in as many as they have words; labels in about so many.
        """
        wanted, least = [self._natural(i) for i in kept], [self._least(i, lines) for i in kept]
        if lines == 1:
            return wanted if sum(wanted) <= room else []
        if sum(least) > room:
            return []
        # one by one from the widest above its least: so headings and labels share what they have to give
        while sum(wanted) > room:
            widest = max(range(len(kept)), key=lambda j: (wanted[j] - least[j], -j))
            wanted[widest] -= 1
        return wanted

    def _natural(self, i: int) -> int:
        cells = (line for texts, _ in self._rows for line in texts[i].plain.splitlines())
        return max(map(cell_len, chain((self._columns[i].heading,), cells)), default=0)

    def _least(self, i: int, lines: int = 2) -> int:
        """How narrow a column can be: headings and labels wrap at spaces, and cells of numbers not at all."""
        column, cells = self._columns[i], [texts[i] for texts, _ in self._rows]
        heading = max(map(cell_len, Text(column.heading).words()), default=0)
        if i and not column.text:
            return max(heading, *(cell_len(line) for cell in cells for line in cell.plain.splitlines()), 0)
        longest_word = max((cell_len(word) for cell in cells for word in cell.words()), default=0)
        natural = self._natural(i)
        return max(heading, longest_word, 0 if lines == MANY else min(natural, max(SHORT_LABEL, -(-natural // lines))))

    def _set(self, kept: Sequence[int], widths: Sequence[int], gap: int) -> Table:
        # no box: the page is copied into papers and issues, where lines of box characters break
        columns = [self._columns[i] for i in kept]
        out = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=any(c.heading for c in columns))
        for i, column, width in zip(kept, columns, widths, strict=True):
            out.add_column(column.heading, justify="left" if column.text or not i else "right", width=width)
        for texts, style in self._rows:
            out.add_row(*(texts[i] for i in kept), style=style)
        if self._caption:
            out.caption, out.caption_justify = Text(self._caption), "left"
        return out

    def _folded(self, width: int) -> RenderableType:
        """The table in parts below each other, each with the labels again."""
        gap, label = GAPS[1], self._natural(0)
        widths = [self._least(i) for i in range(len(self._columns))]
        parts: list[list[int]] = [[]]
        for i in range(1, len(widths)):
            row = [*parts[-1], i]
            if parts[-1] and label + sum(widths[j] + gap for j in row) > width:
                row = [i]
                parts.append([])
            parts[-1] = row
        if any(label + sum(widths[j] + gap for j in part) > width for part in parts):
            return self._lines(range(len(widths)))
        tables = (self._set([0, *part], [label, *(widths[j] for j in part)], gap) for part in parts)
        return Group(*_between(tables))

    def _lines(self, kept: Sequence[int]) -> Group:
        """Every row as its label and a line for each number."""
        lines: list[RenderableType] = []
        for texts, style in self._rows:
            lines.append(Text(texts[0].plain, style=style or ""))
            for i in kept[1:]:
                heading = self._columns[i].heading
                lines.append(Text(f"  {heading}: " if heading else "  ").append(texts[i].plain))
        return Group(*lines, *([Text(self._caption)] if self._caption else []))


class Page(Group):
    """What a command prints: texts and tables, and at its end a line about the columns that there was no room for."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left_out: list[str] = []
        for part in page_parts(self):
            if isinstance(part, FittedTable):
                part, names = part.fit(options.max_width)
                left_out += names
            yield part
        if left_out:
            names_once = ", ".join(dict.fromkeys(left_out))
            words = f"Left out at {options.max_width} columns: {names_once}; --json and --out have them."
            yield from ("", Text(words, style="dim"))


def table(*columns: str | Column, foldable: bool = False, caption: str = "") -> FittedTable:
    """A plain table whose first column is text and whose others are numbers; a bare heading stays at every width."""
    made = [column if isinstance(column, Column) else Column(column) for column in columns]
    return FittedTable(made, foldable, caption)


def page_parts(page: Group) -> Iterator[RenderableType]:
    """All that a page and the pages within it hold."""
    for part in page.renderables:
        if isinstance(part, Page):
            yield from page_parts(part)
        else:
            yield part


def _between(parts: Iterator[Table]) -> Iterator[RenderableType]:
    """An empty line between parts."""
    for number, part in enumerate(parts):
        yield from ([""] if number else [])
        yield part
