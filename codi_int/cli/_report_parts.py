"""A command's page as the parts of a report: the same words and tables, whole at every width."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType

from codi_int.cli._fitting import FittedTable, Page, page_parts
from codi_int.cli._literal import Text
from codi_int.report.html.blocks import Cell, TableBlock, Words

NOTE = "Note: "


@dataclass
class PageParts:
    """What a page says, by what a reader looks for."""

    title: str = ""
    """its first line"""
    conditions: list[str] = field(default_factory=list)
    """what follows it: on what, and how"""
    answers: list[str] = field(default_factory=list)
    """the findings, which a page prints in bold"""
    blocks: list[Words | TableBlock] = field(default_factory=list)
    """tables, and what stands beside them"""
    notes: list[str] = field(default_factory=list)
    """what a reader should know besides"""


def take_page_apart(page: Page) -> PageParts:
    """The parts of a page."""
    out, parts = PageParts(), list(_flat(page))
    for number, part in enumerate(parts):
        if isinstance(part, FittedTable):
            out.blocks.append(table_block(part))
        elif isinstance(part, Text):
            _take_text(out, part, parts[number + 1 : number + 2])
    return out


def _take_text(out: PageParts, text: Text, following: Sequence[RenderableType]) -> None:
    words, bold = text.plain.strip(), str(text.style) == "bold"
    if not out.title:
        out.title, *rest = words.splitlines()
        out.conditions += [part for line in rest for part in line.split(" · ")]
    elif words.startswith(NOTE):
        out.notes.append(words.removeprefix(NOTE))
    elif bold and following and isinstance(following[0], FittedTable):
        out.blocks.append(Words(words, "heading"))
    elif bold and any(str(span.style) == "not bold" for span in text.spans):
        # the head of a part of the page: what it is about, and below it on what
        head, _, below = words.partition("\n")
        out.blocks += [Words(head, "heading"), *([Words(below, "small")] if below else [])]
    elif bold:
        out.answers.append(words)
    elif words:
        out.blocks.append(Words(words, "small" if str(text.style) == "dim" else "line"))


def _flat(page: Group) -> Iterator[RenderableType]:
    """Texts and tables, those of groups within the page too."""
    for part in page_parts(page):
        if isinstance(part, Group):
            yield from _flat(part)
        else:
            yield part


def table_block(table: FittedTable) -> TableBlock:
    """All the columns of a table, with what each is called where its heading alone does not say it."""
    return TableBlock(
        headings=[column.heading for column in table.columns],
        rows=[[Cell(text) for text in row] for row in table.rows],
        text_columns=frozenset(i for i, column in enumerate(table.columns) if column.text or not i),
        hints=[column.name for column in table.columns],
        caption=table.caption,
    )
