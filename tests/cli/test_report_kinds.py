"""`codi-int report` of what has files beside its document: dictionaries, attribution, patches of two kinds."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from codi_int.cli._numbers import points
from codi_int.cli._report_runs import report_of, reports_of
from codi_int.files import write_json
from codi_int.interventions.kept import save_finding
from codi_int.interventions.patching.claims import ConfirmedClaim
from codi_int.interventions.patching.predicted_store import save_contrast
from codi_int.interventions.patching.predictions import Prediction
from codi_int.report.html.blocks import ReportPage, TableBlock, Words
from codi_int.report.html.render import render_report
from codi_int.types import Outcome
from tests.cli import golden_predictions as predictions
from tests.cli import golden_screens as screens
from tests.cli.conftest import Ran
from tests.cli.golden_dictionaries import AGAINST, SEEDS
from tests.cli.test_reproduce_command import FOUND
from tests.report.reading import ReadPage, check_alone

CLAIM = ConfirmedClaim(
    name="the answer follows the value",
    fold=None,
    n_selecting=812,
    selecting_estimate=0.335,
    n=777,
    estimate=0.3123,
    p_value=0.0004,
    p_adjusted=0.0008,
    confirmed=True,
    power=0.97,
)
UNTESTED = Prediction(
    "p0", None, informative=False, why_not="no such step", ambiguous=False, source_id="p1", source_answer=3
)


def page_of(folder: Path) -> ReadPage:
    made = reports_of(folder, "run1")
    return check_alone(render_report(ReportPage("a title", made)))


def test_a_screen_has_the_dictionaries_that_lie_beside_it(tmp_path: Path) -> None:
    save_finding(screens.SCREEN, tmp_path)
    alone = page_of(tmp_path).text
    for name, beside in (("seeds", SEEDS), ("against", AGAINST)):
        write_json(tmp_path / f"{name}.json", beside.to_dict())
    page = page_of(tmp_path)
    for words in ("other dictionaries of the same recipe", "this dictionary against others"):
        assert words in page.text
        assert words not in alone
    # a partner of every feature, as seeds.json has them, and not the strongest alone
    headings = ["feature", "dictionary", "partner"]
    start = next(i for i, row in enumerate(page.rows) if row[:3] == headings and "there" not in row)
    shown = page.rows[start + 1 : start + 1 + len(SEEDS.rows)]
    assert {(row[0], row[1], row[2]) for row in shown} == {
        (str(row.feature), row.dictionary, str(row.partner)) for row in SEEDS.rows
    }


def test_a_screen_has_its_attribution(tmp_path: Path) -> None:
    save_finding(screens.SCREEN, tmp_path)
    assert "attribution" not in page_of(tmp_path).text
    document = json.loads((tmp_path / "screen.json").read_text())
    found = asdict(screens.AGREEMENT) | {"site": asdict(screens.AGREEMENT.site)}
    write_json(tmp_path / "screen.json", document | {"agreement": [found]})
    assert "integrated gradients" in page_of(tmp_path).text


def test_dictionaries_can_be_a_run_of_their_own(tmp_path: Path) -> None:
    for name, found in (("seeds", SEEDS), ("against", AGAINST)):
        save_finding(found, tmp_path / name)
        made = reports_of(tmp_path / name, "run1")[0]
        assert made.question.endswith("?")
        assert made.answers
        assert any(isinstance(block, TableBlock) for block in made.blocks)
        check_alone(render_report(ReportPage(made.title, (made,))))


def test_a_reproduction_says_how_many_published_numbers_lie_in_its_intervals(tmp_path: Path) -> None:
    write_json(tmp_path / "reproduction.json", FOUND.to_dict())
    (made,) = reports_of(tmp_path, "run1")
    assert made.question == "Does a smaller K make more features specialized?"
    # 84.9 is outside of 79.1 to 79.82; 19.46 has no number here
    assert made.answers[0].startswith(
        "3 published numbers beside what codi-mini gives; of 1 that have an interval here, 0 lie in it."
    )
    page = check_alone(render_report(ReportPage(made.title, (made,))))
    assert ["explained variance, %", "84.9", "79.8", "79.5", "79.1 to 79.8", "3", "-"] in page.rows


def two_patches(folder: Path) -> None:
    rows = [Outcome("p0", 10, correct=True, answer_logprob=-0.5, touched=True, answer_margin=1.0)]
    for kind, found in (("same", predictions.SAME_VALUE), ("different", predictions.OTHER_VALUE)):
        arms = dict.fromkeys(("clean", "reconstructed", "intervened"), tuple(rows))
        save_finding(replace(found, outcomes=arms, predictions=(UNTESTED,)), folder / kind)
    save_contrast(predictions.CONTRAST, folder)


def test_two_patches_stand_below_how_they_compare(tmp_path: Path) -> None:
    two_patches(tmp_path)
    write_json(tmp_path / "confirmation.json", {"on": "stories:confirmation", "claims": [asdict(CLAIM)]})
    made = reports_of(tmp_path, "run1")
    assert [one.key for one in made] == ["run1", "run1-same", "run1-different"]
    first = made[0]
    assert first.question.startswith("Does a value from another problem change the answer as another value")
    assert predictions.CONTRAST.verdict in first.answers
    assert first.answers[-1] == (
        "On stories:confirmation (Holm, same sign): the answer follows the value is confirmed (+31.23 points, "
        "p = 0.0008; power 97 % at most)."
    )
    page = check_alone(render_report(ReportPage("2 patches", made)))
    # each in its own column
    start = page.rows.index(["", "same value", "another value"])
    changes = [points(found.effect.estimate) for found in (predictions.SAME_VALUE, predictions.OTHER_VALUE)]
    assert changes[0] != changes[1]
    assert ["change, points", *changes] in page.rows[start : start + 12]
    assert not [words for words in first.answers if words.startswith("prediction:")]
    assert ["another value - same value", "812", "45", "317", "+33.50", "+30.10 to +36.90", "0.0006"] in page.rows


def test_a_map_leaves_out_no_cell(tmp_path: Path) -> None:
    made = report_of(screens.SPLIT_MAP, "run1")
    assert not [block for block in made.blocks if isinstance(block, Words) and "--json has them all" in block.text]


@pytest.mark.parametrize("name", ["seeds.json", "contrast.json", "confirmation.json", "screen.json"])
def test_a_file_beside_a_run_that_is_not_whole_is_two_lines(run: Callable[..., Ran], tmp_path: Path, name: str) -> None:
    if name in ("seeds.json", "screen.json"):
        save_finding(screens.SCREEN, tmp_path)
    else:
        two_patches(tmp_path)
    if name == "screen.json":
        document = json.loads((tmp_path / name).read_text())
        write_json(tmp_path / name, document | {"agreement": [{"site": "L1.P1"}]})
    else:
        write_json(tmp_path / "contrast.json", predictions.CONTRAST.to_dict())
        write_json(tmp_path / name, {"on": "x", "claims": [{"name": "half"}]})
    done = run("report", str(tmp_path))
    assert (done.code, done.out) == (2, "")
    assert f"{tmp_path / name} is not whole" in done.err
    assert "Traceback" not in done.err
