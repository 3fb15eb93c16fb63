"""The template: everything that it is given is text, whatever it looks like."""

import base64
import hashlib
import re

from codi_int.report.html.blocks import Cell, Flip, Flips, Picture, ReportPage, RunReport, TableBlock, Words
from codi_int.report.html.render import MANY_ROWS, render_report
from tests.report.reading import check_alone, read_page

HOSTILE = "<script>alert(1)</script></style></script><img src=x onerror=alert(2)>\" onload='x' {{ 7*7 }} \u202e"
SHOWN = HOSTILE.replace("\u202e", "\\u202e")


def hostile_run(key: str = "run1") -> RunReport:
    """Every text of a run, hostile."""
    table = TableBlock((HOSTILE, "n"), [[Cell(HOSTILE), Cell("1")]], hints=(HOSTILE, ""), caption=HOSTILE)
    flip = Flip(
        problem_id=HOSTILE,
        what="broken",
        before=HOSTILE,
        after=HOSTILE,
        true=HOSTILE,
        question=HOSTILE,
        steps=(HOSTILE,),
    )
    return RunReport(
        key=key,
        title=HOSTILE,
        question=HOSTILE,
        conditions=(HOSTILE,),
        answers=(HOSTILE,),
        conclusion=HOSTILE,
        blocks=(Words(HOSTILE, "heading"), Words(HOSTILE), Words(HOSTILE, "small"), table),
        left_out=(HOSTILE,),
        flips=Flips((flip,), (("broken", 1),), HOSTILE),
        notes=(HOSTILE,),
        manifest=((HOSTILE, HOSTILE),),
        manifest_text=HOSTILE,
    )


def test_hostile_text_stays_text() -> None:
    page = check_alone(render_report(ReportPage(HOSTILE, (hostile_run(),), notes=(HOSTILE,))))
    # one for each field above, and the page's own title and note; attributes hold it besides
    whole = " ".join(SHOWN.split())
    assert page.text.count(whole) == 25
    assert page.values("th", "title") == [SHOWN]
    assert "img" not in {tag for tag, _ in page.tags}
    assert "49" not in page.text


def test_only_its_own_style_and_script_may_run() -> None:
    html = render_report(ReportPage("a page", (hostile_run(),)))
    page = read_page(html)
    for kind, text in (("script", page.scripts[0]), ("style", page.styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in html.replace("&#39;", "'")


def test_a_long_table_can_be_searched_and_a_short_one_cannot() -> None:
    for n, fields in ((MANY_ROWS, 1), (MANY_ROWS - 1, 0)):
        table = TableBlock(("feature",), [[Cell(str(i))] for i in range(n)])
        page = check_alone(render_report(ReportPage("t", (RunReport("a", "t", "q", (), (), blocks=(table,)),))))
        assert len(page.values("input", "aria-controls")) == fields
        assert page.rows == [["feature"], *([str(i)] for i in range(n))]


def test_runs_side_by_side_link_to_each_other() -> None:
    overview = TableBlock(("run",), [[Cell("first", "#one")], [Cell("second", "#two")]])
    runs = (RunReport("one", "first", "q", (), ()), RunReport("two", "second", "q", (), ()))
    page = check_alone(render_report(ReportPage("2 runs", runs, overview)))
    assert page.values("a", "href") == ["#one", "#two"]
    assert {"one", "two"} <= set(page.values("section", "id"))


def test_a_picture_goes_in_as_it_is() -> None:
    picture = Picture("volcano", '<svg id="p"><path d="M0 0"/></svg>')
    page = check_alone(render_report(ReportPage("t", (RunReport("a", "t", "q", (), (), pictures=(picture,)),))))
    assert page.values("path", "d") == ["M0 0"]


def test_a_page_follows_the_scheme_the_paper_and_the_screen() -> None:
    style = read_page(render_report(ReportPage("t", (RunReport("a", "t", "q", (), ()),)))).styles[0]
    for rule in ("prefers-color-scheme:dark", "@media print", "max-width:40rem"):
        assert len(re.findall(re.escape(rule), style)) == 1
