"""Pages in a browser, where one is installed: what a reader does with them, and what nobody may."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from codi_int.cli._flips import LONGEST, cut
from codi_int.report.html.blocks import (
    Cell,
    FeatureBlock,
    Filter,
    Flip,
    Flips,
    ReportPage,
    RunReport,
    StepText,
    TableBlock,
    TopExample,
)
from codi_int.report.html.render import render_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

HOSTILE = "<script>document.title='run'</script></script><img src=x onerror=\"document.title='run'\"><b>bold</b>"
MILLION = 1_000_000
N = 40
"""rows of the table"""
LABEL = "L10.P5"


@dataclass
class Opened:
    """A page that is open, and what went wrong in it."""

    page: "Page"
    complaints: list[str] = field(default_factory=list)
    """errors and warnings of the console, and errors of scripts"""
    requests: list[str] = field(default_factory=list)
    """everything that the page asked for"""

    def shown(self) -> list[str]:
        """First cells of the rows of the first long table that are to be seen."""
        found: list[str] = self.page.locator("#features-t1 tbody tr:visible th").all_inner_texts()
        return found

    def check(self) -> None:
        """Nothing was complained of, and nothing but pages of ours was asked for."""
        assert self.complaints == []
        assert {Path(url.split("#")[0]).suffix for url in self.requests} == {".html"}
        assert all(url.startswith("file://") for url in self.requests)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dashboard of two pages with its index, and a report."""
    place = tmp_path_factory.mktemp("pages")
    for name, page in (("features-1", features(0)), ("features-2", features(N)), ("features", index())):
        (place / f"{name}.html").write_text(render_report(page))
    (place / "report.html").write_text(render_report(ReportPage(HOSTILE, (run(),))))
    return place


def features(first: int) -> ReportPage:
    rows = [
        # rates fall, so that the order by feature is not the one by rate; the last feature never fires
        [
            Cell(str(f), f"#{LABEL}/{f}"),
            Cell("dead" if f == first + N - 1 else "alive"),
            Cell(f"{100 - 2.5 * i:.1f}"),
            Cell(HOSTILE),
        ]
        for i, f in enumerate(range(first, first + N))
    ]
    filters = (Filter(1, "state", ("alive", "dead")), Filter(2, "fires, %"))
    table = TableBlock(("feature", "state", "fires, %", "name"), rows, frozenset({0, 1, 3}), filters=filters)
    example = TopExample("p0", "1.0", HOSTILE, (StepText("<<1+1=2>>", marked=True), StepText("<<2+1=3>>")), "3")
    blocks = [
        FeatureBlock(
            address=f"{LABEL}/{f}",
            title=f"feature {f}",
            facts=(("name", HOSTILE),),
            histogram="<svg/>",
            examples=(example,),
            neighbours=(Cell("77", f"features.html#{LABEL}/77"),) if f == first else (),
        )
        for f in range(first, first + N - 1)
    ]
    about = RunReport("features", "Features", "which?", (), (HOSTILE,), blocks=(table,))
    return ReportPage("Features", (about,), features=blocks, links=(Cell("all pages", "features.html"),))


def index() -> ReportPage:
    rows = [
        [Cell(LABEL, f"features-{n}.html", covers=f"{LABEL}/{first}-{first + N - 1}")] for n, first in ((1, 0), (2, N))
    ]
    about = RunReport("features", "all", "which?", (), ("two pages",), blocks=(TableBlock(("page",), rows),))
    return ReportPage("Index", (about,), finds=True)


def run() -> RunReport:
    kinds = ("broken", "fixed", "changed")
    flips = [
        Flip(f"p{i}", kinds[i % 3], "1", "2", true="1", question=f"{HOSTILE} question {i}", steps=("1 + 1 = 2",))  # type: ignore[arg-type]
        for i in range(9)
    ]
    found = Flips(flips, [(kind, 3) for kind in kinds])
    return RunReport("run1", HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,), flips=found, manifest=((HOSTILE, HOSTILE),))


@pytest.fixture
def visit(browser: "Browser", folder: Path) -> Iterator[Any]:
    """Opens a page of the folder at some width."""
    contexts = []

    def opened(name: str, width: int = 1280, **more: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, **more)
        contexts.append(context)
        out = Opened(context.new_page())
        out.page.on("console", lambda said: out.complaints.append(said.text))
        out.page.on("pageerror", lambda error: out.complaints.append(str(error)))
        out.page.on("dialog", lambda dialog: out.complaints.append(dialog.message))
        out.page.on("request", lambda request: out.requests.append(request.url))
        out.page.goto((folder / name).as_uri() if "#" not in name else f"{folder.as_uri()}/{name}")
        return out

    yield opened
    for context in contexts:
        context.close()


def test_a_table_is_sorted_by_click_and_by_key(visit: Any) -> None:
    opened = visit("features-1.html")
    heads, by_rate = opened.page.locator("#features-t1 thead th"), [str(f) for f in range(N)]
    assert opened.shown() == by_rate
    heads.nth(2).get_by_role("button").click()
    assert heads.nth(2).get_attribute("aria-sort") == "ascending"
    # a number, not a text: 2.5 before 97.5 and 100.0 last
    assert opened.shown() == by_rate[::-1]
    heads.nth(0).get_by_role("button").focus()
    for order, wanted in (("ascending", by_rate), ("descending", by_rate[::-1])):
        opened.page.keyboard.press("Enter")
        assert heads.nth(0).get_attribute("aria-sort") == order
        assert opened.shown() == wanted
    assert heads.nth(2).get_attribute("aria-sort") is None
    opened.check()


def test_rows_are_searched_and_filtered_together(visit: Any) -> None:
    opened = visit("features-1.html")
    bar = opened.page.locator(".filters").first
    bar.get_by_label("state").select_option("dead")
    assert opened.shown() == [str(N - 1)]
    bar.get_by_label("state").select_option("alive")
    bar.get_by_label("fires, %, from").fill("90")
    bar.get_by_label("fires, %, to").fill("97.5")
    assert opened.shown() == ["1", "2", "3", "4"]
    bar.get_by_role("searchbox").fill("97.5 onerror")
    assert opened.shown() == ["1"]
    assert bar.locator("output").inner_text() == f"1 of {N} shown"
    bar.get_by_role("searchbox").fill("no such words")
    assert opened.shown() == []
    opened.check()


def test_a_feature_is_opened_by_click_by_key_and_by_its_address(visit: Any) -> None:
    opened = visit(f"features-1.html#{LABEL}/3")
    details = opened.page.locator("details.feature")
    is_open = "all => all.filter(one => one.open).map(one => one.id)"
    assert details.evaluate_all(is_open) == [f"{LABEL}/3"]
    opened.page.get_by_role("link", name="5", exact=True).click()
    assert details.evaluate_all(is_open) == [f"{LABEL}/3", f"{LABEL}/5"]
    details.nth(7).locator("summary").focus()
    opened.page.keyboard.press("Enter")
    assert details.evaluate_all(is_open) == [f"{LABEL}/{f}" for f in (3, 5, 7)]
    assert details.nth(7).locator("mark").all_inner_texts() == ["<<1+1=2>>"]
    opened.check()


def test_an_index_finds_a_feature_on_the_page_that_has_it(visit: Any) -> None:
    opened = visit(f"features.html#{LABEL}/{N + 2}")
    opened.page.wait_for_url(f"**/features-2.html#{LABEL}/{N + 2}")
    assert opened.page.locator("details[open]").get_attribute("id") == f"{LABEL}/{N + 2}"
    opened.page.get_by_role("link", name="all pages").click()
    field = opened.page.get_by_label("go to feature")
    field.fill(f"{LABEL}/{5 * N}")
    field.press("Enter")
    assert opened.page.locator("#goto output").inner_text() == f"no feature {LABEL}/{5 * N} here"
    field.fill(f"#{LABEL}/1")
    field.press("Enter")
    opened.page.wait_for_url(f"**/features-1.html#{LABEL}/1")
    opened.check()


def test_flips_are_filtered_by_what_became_of_them(visit: Any) -> None:
    opened = visit("report.html")
    flips = opened.page.locator("#run1-flipped > details:visible")
    assert flips.count() == 9
    opened.page.get_by_role("checkbox", name="fixed").uncheck()
    opened.page.get_by_role("checkbox", name="changed").uncheck()
    assert [one.split(":")[0] for one in flips.locator("summary").all_inner_texts()] == [
        "broken p0",
        "broken p3",
        "broken p6",
    ]
    opened.page.get_by_label("Search these problems").fill("question 3")
    assert flips.count() == 1
    flips.locator("summary").click()
    assert flips.locator("blockquote").inner_text() == f"{HOSTILE} question 3"
    opened.check()


def test_hostile_texts_stay_text_and_no_script_but_our_own_runs(visit: Any, folder: Path) -> None:
    opened = visit("report.html")
    assert opened.page.title() == HOSTILE
    assert opened.page.locator("h1").inner_text() == HOSTILE
    assert opened.page.locator("img, main b, main script").count() == 0
    opened.check()
    # what the policy forbids, if somebody wrote it into the file
    html = (folder / "report.html").read_text()
    forbidden = "<script>document.title='run'</script><img src='http://127.0.0.1:9/x' onerror=\"document.title='run'\">"
    (folder / "changed.html").write_text(html.replace("</main>", f"{forbidden}</main>"))
    opened, stopped = visit("report.html"), []
    opened.page.on("requestfailed", lambda request: stopped.append(request.failure))
    opened.page.goto((folder / "changed.html").as_uri())
    assert opened.page.title() == HOSTILE
    assert len([said for said in opened.complaints if "Content Security Policy" in said]) >= 2
    assert stopped == ["csp"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_follows_the_scheme(visit: Any, scheme: str) -> None:
    opened = visit("report.html", color_scheme=scheme)
    colours = opened.page.evaluate(
        "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.documentElement))"
    )
    ink, paper = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
    assert (ink < paper) == (scheme == "light")
    assert abs(ink - paper) > 500


def test_a_page_prints(visit: Any) -> None:
    opened = visit("features-1.html", color_scheme="dark")
    pdf = opened.page.pdf()
    assert pdf.startswith(b"%PDF")
    # paper is white whatever the screen is, and what is there to click is not printed
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.locator(".filters:visible, form:visible").count() == 0


@pytest.mark.parametrize("width", [360, 2560])
def test_a_page_is_never_wider_than_its_window(visit: Any, width: int) -> None:
    for name in ("features-1.html", "features.html", "report.html"):
        opened = visit(name, width=width)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_texts_of_a_million_characters_leave_a_page_usable(visit: Any, folder: Path) -> None:
    word = "x" * MILLION
    flip = Flip("p0", "broken", "1", "2", question=cut(word), steps=())
    rows = [[Cell(str(i)), Cell(word if not i else "short")] for i in range(N)]
    long = replace(
        run(),
        conditions=(word,),
        flips=Flips((flip,), (("broken", 1),)),
        blocks=(TableBlock(("n", "name"), rows, frozenset({0, 1})),),
    )
    assert len(flip.question) < LONGEST + 100
    (folder / "long.html").write_text(render_report(ReportPage("long", (long,))))
    opened = visit("long.html", width=360)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    opened.page.get_by_label("Search the rows of this table").fill("short")
    assert opened.page.locator("#run1-t1 tbody tr:visible").count() == N - 1
    opened.check()
