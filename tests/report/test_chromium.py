"""The page in a browser, where one is installed: its own script runs under the policy, and nobody else's does."""

import shutil
import subprocess
from pathlib import Path

import pytest

from codi_int.report.html.blocks import Cell, FeatureBlock, ReportPage, RunReport, TableBlock
from codi_int.report.html.render import MANY_ROWS, render_report
from tests.report.reading import read_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
LONGEST = 60
"""seconds that a browser has to show a page"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_an_address_opens_its_feature_and_no_script_but_its_own_runs(tmp_path: Path) -> None:
    rows = [[Cell(str(i)), Cell(HOSTILE)] for i in range(MANY_ROWS)]
    run = RunReport("run1", HOSTILE, "a question?", (), (HOSTILE,), blocks=(TableBlock(("feature", "name"), rows),))
    features = [
        FeatureBlock(
            address=f"L10.P5/{i}",
            title=HOSTILE,
            facts=(),
            histogram="<svg/>",
            examples=(),
            neighbours=(),
        )
        for i in range(2)
    ]
    html = render_report(ReportPage("a title", (run,), features=features))
    # what the policy forbids, if somebody wrote it into the file
    html = html.replace("</main>", "<script>document.title='run'</script></main>")
    (tmp_path / "page.html").write_text(html)
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    address = f"{(tmp_path / 'page.html').as_uri()}#L10.P5/1"
    done = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 0, done.stderr
    page = read_page(done.stdout)
    opened = {a["id"]: "open" in a for tag, a in page.tags if tag == "details"}
    assert opened == {"L10.P5/0": False, "L10.P5/1": True}
    assert page.values("button", "type") == ["button", "button"], "headings are buttons once the script has run"
    assert page.values("input", "hidden") == []
    assert "<title>a title</title>" in done.stdout
