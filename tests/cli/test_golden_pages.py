"""Golden pages: a record made by hand goes in, the exact text of the page must come out, at three widths.

Where a page is to change, `UPDATE_GOLDEN=1 pytest tests/cli/test_golden_pages.py` writes the texts anew; read what
`git diff tests/cli/golden` shows against the records in `golden_*.py` before it is kept.
"""

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from codi_int.cli._dictionary_pages import against_section, seeds_section
from codi_int.cli._feature_pages import detail_pages, rank_page
from codi_int.cli._fitting import Page
from codi_int.cli._intervene import paths_page
from codi_int.cli._map_pages import map_page
from codi_int.cli._prediction_pages import confirmed_page, contrast_page, predicted_page
from codi_int.cli._probe_pages import probe_page
from codi_int.cli._sae_pages import evaluation_page as sae_evaluation_page
from codi_int.cli._sae_pages import sweep_page
from codi_int.cli._screen_pages import screen_page
from codi_int.cli._side_effect_pages import later_tables
from codi_int.cli._specialization_pages import pairs_page, specialize_page
from codi_int.cli._tables import evaluation_page, family_page, result_page
from codi_int.cli.capture import capture_page
from codi_int.cli.compare import comparison_page
from codi_int.cli.curve import curve_page
from codi_int.cli.lens import _grid_page, _report_page
from codi_int.cli.sae_train import train_page
from codi_int.cli.stop import stop_page
from codi_int.cli.think import traces_page
from codi_int.sae.at_site import TrainedAtSite
from tests.cli import golden_dictionaries as dictionaries
from tests.cli import golden_features as features
from tests.cli import golden_models as models
from tests.cli import golden_predictions as predictions
from tests.cli import golden_results as results
from tests.cli import golden_saes as saes
from tests.cli import golden_screens as screens

FOLDER = Path(__file__).parent / "golden"
WIDTHS = (60, 80, 120)
UPDATE = "UPDATE_GOLDEN"

PAGES: dict[str, Callable[[], RenderableType]] = {
    "result": lambda: result_page(results.RESULT),
    "result-later-thoughts": lambda: Page(
        *later_tables(replace(results.SIDE_EFFECTS, later=results.LATER_EFFECTS)),
        *later_tables(replace(results.SIDE_EFFECTS, later=replace(results.LATER_EFFECTS, fires=None, results=()))),
    ),
    "dead-feature": lambda: result_page(results.DEAD_RESULT),
    "result-later-silent": lambda: result_page(results.SILENT_RESULT),
    "swap": lambda: result_page(results.SWAP_RESULT),
    "family": lambda: family_page(results.FAMILY),
    "compare": lambda: comparison_page(results.COMPARISON),
    "compare-same-model": lambda: comparison_page(results.SAME_MODEL_COMPARISON),
    "paths": lambda: paths_page(results.PATHS, results.PATHS_DOCUMENT),
    "screen": lambda: screen_page(screens.SCREEN, (screens.AGREEMENT,), top=20),
    "screen-sites": lambda: screen_page(screens.SITES_SCREEN, screens.SITES_AGREEMENTS, top=2),
    "screen-seeds": lambda: Page(*seeds_section(dictionaries.SEEDS, top=2)),
    "screen-seeds-alone": lambda: Page(*seeds_section(replace(dictionaries.SEEDS, found=(), agreements=()), top=0)),
    "screen-against": lambda: Page(*against_section(dictionaries.AGAINST)),
    "curve": lambda: curve_page(screens.CURVE),
    "curve-folds": lambda: curve_page(screens.FOLDS_CURVE),
    "map": lambda: map_page(screens.MAP),
    "map-contexts": lambda: map_page(screens.CONTEXTS_MAP),
    "map-cumulative": lambda: map_page(screens.CUMULATIVE_MAP),
    "map-split": lambda: map_page(screens.SPLIT_MAP),
    "swap-predicted": lambda: predicted_page(predictions.PREDICTED_SWAP),
    "patch": lambda: predicted_page(predictions.PATCH, predictions.PAIRING),
    "patch-confirmed": lambda: confirmed_page(
        [
            predicted_page(predictions.PATCH, predictions.PAIRING),
            predicted_page(predictions.PATCH, predictions.OTHER_PAIRING),
        ],
        "On stories:confirmation (Holm, same sign): the prediction is confirmed.",
    ),
    "patch-contrast": lambda: contrast_page(
        (predictions.SAME_VALUE, predictions.OTHER_VALUE),
        (predictions.PAIRING, predictions.OTHER_PAIRING),
        predictions.CONTRAST,
    ),
    "eval": lambda: evaluation_page(models.EVALUATION),
    "eval-plain": lambda: evaluation_page(models.PLAIN_EVALUATION),
    "probe": lambda: probe_page(models.PROBE),
    "stop": lambda: stop_page(models.STOP),
    "think": lambda: traces_page(models.TRACES, models.TRUTHS),
    "lens-problem": lambda: _grid_page(models.LENS_GRID, known=True),
    "lens-question": lambda: _grid_page(models.LENS_GRID, known=False),
    "lens": lambda: _report_page(models.LENS_REPORT),
    # the page asks the disk how large its files are
    "capture": lambda: capture_page(models.capture(Path("runs/activations"))),
    "sae-train": lambda: train_page(
        saes.TRAIN_OPTIONS, saes.TRAIN_CONFIG, saes.TRAIN_SITES, TrainedAtSite(saes.sae_metrics(2))
    ),
    "sae-transcoder": lambda: train_page(
        saes.TRAIN_OPTIONS, saes.TRANSCODER_CONFIG, saes.TRANSCODER_SITES, saes.transcoder()
    ),
    "sae-eval": lambda: sae_evaluation_page(saes.SAE_EVALUATION),
    "sae-sweep": lambda: sweep_page(saes.SWEEP_PLAN, saes.SWEEP_ROWS, "codi-mini"),
    "sae-sweep-long": lambda: sweep_page(saes.SWEEP_PLAN, saes.LONG_SWEEP_ROWS, "codi-mini"),
    "features-rank": lambda: rank_page(features.PROFILES, features.PROFILES.rows, top=2),
    "features-show": lambda: detail_pages([features.DETAIL, features.SILENT]),
    "features-specialize": lambda: specialize_page(features.RULES, top=1),
    "features-pairs": lambda: pairs_page([features.PAIRS, features.NO_POWER], top=3),
    "doctor": models.CHECKUP.page,
    "doctor-bad": models.BAD_CHECKUP.page,
    "doctor-rounded": models.ROUNDED_CHECKUP.page,
}


def rendered(page: RenderableType, width: int) -> str:
    """The page as `codi-int` prints it where nobody looks on; the padding at the ends of lines is not compared."""
    console = Console(
        width=width,
        file=io.StringIO(),
        force_terminal=False,
        no_color=True,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(page)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def golden_and_text(name: str, page: RenderableType, width: int) -> tuple[str, str]:
    """The golden text of a page, written anew where the environment asks for it, and what the page prints."""
    golden, text = FOLDER / f"{name}-{width}.txt", rendered(page, width)
    if os.environ.get(UPDATE):
        golden.write_text(text, encoding="utf-8")
    return golden.read_text(encoding="utf-8"), text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_pages_print_the_exact_text(name: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # pages print the folders that they are given: relative ones are the same everywhere
    golden, text = golden_and_text(name, PAGES[name](), width)
    assert text == golden, "see the docstring of this file"


def test_at_100_columns_a_family_says_what_does_more_than_its_controls() -> None:
    lines = rendered(PAGES["family"](), 100).splitlines()
    assert sum(line.endswith("63 % of 4 controls") for line in lines) == 1
    # which few single features have
    assert "Left out at 100 columns: interval of nats; --json and --out have them." in lines


def test_every_golden_text_has_its_page() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}-{width}.txt" for name in PAGES for width in WIDTHS}
