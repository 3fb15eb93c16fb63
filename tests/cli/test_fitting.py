"""Tables at any width: which columns leave and in which order, and that no number or word of a page is ever cut."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from tests.cli.test_golden_pages import PAGES, rendered


def ranked() -> FittedTable:
    out = table("arm", Column("right", rank=2), "change", Column("interval", rank=1, name="interval of change"))
    out.add_row("clean", "1,153", "-4.32", "-6.54 to -2.11")
    out.add_row("reconstructed", "1,138", "+0.61", "-0.50 to +1.72")
    return out


def lines(page: RenderableType, width: int) -> list[str]:
    return rendered(page, width).splitlines()


def test_where_there_is_room_three_blanks_stand_between_columns() -> None:
    assert lines(Page(ranked()), 80) == [
        "arm             right   change         interval",
        "clean           1,153    -4.32   -6.54 to -2.11",
        "reconstructed   1,138    +0.61   -0.50 to +1.72",
    ]


def test_then_two_then_the_column_of_the_largest_rank_leaves() -> None:
    assert lines(Page(ranked()), 46)[1] == "clean          1,153   -4.32  -6.54 to -2.11"
    assert lines(Page(ranked()), 40) == [
        "arm             change         interval",
        "clean            -4.32   -6.54 to -2.11",
        "reconstructed    +0.61   -0.50 to +1.72",
        "",
        "Left out at 40 columns: right; --json",
        "and --out have them.",
    ]


def test_what_was_left_out_is_named_once_by_its_own_name_for_the_whole_page() -> None:
    page = Page(ranked(), Page(ranked(), Text("a line between")))
    assert lines(page, 24)[:3] == ["arm             change", "clean            -4.32", "reconstructed    +0.61"]
    end = " ".join(lines(page, 24)[-4:])
    assert end == "Left out at 24 columns: right, interval of change; --json and --out have them."


def test_columns_of_one_rank_leave_together() -> None:
    out = table("edit", Column("broken", rank=1), Column("fixed", rank=1), "p")
    out.add_row("ablate 449", "68", "11", "0.0031")
    assert out.fit(30)[1] == ("broken", "fixed")
    assert lines(out, 30) == ["edit              p", "ablate 449   0.0031"]


def test_headings_and_labels_wrap_at_spaces_before_a_column_leaves() -> None:
    out = table("log-probability of the clean answer, nats", Column("controls' median", rank=1))
    out.add_row("both - (cache + recurrence)", "-0.15")
    assert lines(out, 34) == [
        "log-probability of the   controls'",
        "clean answer, nats          median",
        "both - (cache +              -0.15",
        "recurrence)",
    ]


def test_a_row_becomes_lines_where_even_the_last_columns_do_not_fit() -> None:
    out = table("edit", "interval", "p")
    out.add_row("ablate 449", "-6.54 to -2.11", "< 0.0001")
    assert lines(out, 26) == ["ablate 449", "  interval: -6.54 to -2.11", "  p: < 0.0001"]


def test_a_grid_goes_on_below_itself() -> None:
    out = table("layer", "<bot>", "1", "2", foldable=True)
    out.add_row("0", "+7.40*", "-8.64*", "+12.34")
    out.add_row("14", "+9.87", "-1.11", "no path")
    assert lines(out, 22) == [
        "layer   <bot>       1",
        "0      +7.40*  -8.64*",
        "14      +9.87   -1.11",
        "",
        "layer        2",
        "0       +12.34",
        "14     no path",
    ]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("accuracy -1.20 to +3.40 points", 17, ["accuracy", "-1.20 to +3.40", "points"]),
        ("a share of 16.3 to 21.0 %, p < 0.0001", 17, ["a share of", "16.3 to 21.0 %,", "p < 0.0001"]),
        ("memory: 37.7 MiB", 14, ["memory:", "37.7 MiB"]),
        ("splice add · seed 11", 10, ["splice", "add · seed", "11"]),
        ("from here to there", 10, ["from here", "to there"]),
    ],
)
def test_no_line_ends_inside_an_interval_or_before_a_unit(text: str, width: int, expected: list[str]) -> None:
    assert lines(Page(Text(text)), width) == expected


def tokens(text: str) -> Iterator[str]:
    """Numbers, intervals and words of a page, without what is left out of it."""
    text = re.sub(r"Left out at \d+ columns:.*", "", text, flags=re.DOTALL)
    text = re.sub(r"([\d%]) to ([+-]?\d)", r"\1_to_\2", text)
    yield from (token.rstrip(":") for token in text.split())


@pytest.mark.parametrize("width", [44, 57, 60, 72, 93])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_cuts_a_number_or_a_word(
    name: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGES[name]()
    text, whole = rendered(page, width), set(tokens(rendered(page, 1_000)))
    assert max(map(len, text.splitlines())) <= width
    assert set(tokens(text)) - whole == set()
