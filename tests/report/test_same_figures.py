"""The figures of a report are those that `.plot()` gives in a notebook."""

from typing import Any

import pytest

from codi_int.report.figures import DRAWERS, FIGURES, save_figures
from codi_int.report.style import collect_figures, write_figure
from tests.cli import golden_models as models
from tests.cli import golden_predictions as predictions
from tests.cli import golden_results as results
from tests.cli import golden_screens as screens
from tests.cli.golden_dictionaries import AGAINST, SEEDS
from tests.cli.test_reproduce_command import FOUND

RECORDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "result": (results.RESULT, ("effect",)),
    "prediction": (predictions.PREDICTED_SWAP, ("effect", "prediction")),
    "family": (results.FAMILY, ("dose",)),
    "paths": (results.PATHS, ("paths",)),
    "comparison": (results.COMPARISON, ("comparison",)),
    "screen": (screens.SCREEN, ("volcano", "effects", "firing", "ranks", "pairs")),
    "several sites": (
        screens.SITES_SCREEN,
        ("volcano-accuracy", "volcano-logprob", "firing-accuracy", "firing-logprob", "effects", "ranks"),
    ),
    "map": (screens.MAP, ("map",)),
    "split map": (screens.SPLIT_MAP, ("map-accuracy", "map-logprob")),
    "contexts": (screens.CONTEXTS_MAP, ("map-accuracy", "map-logprob")),
    "curve": (screens.CURVE, ("curve",)),
    "evaluation": (models.EVALUATION, ("accuracy",)),
    "stop": (models.STOP, ("stop", "stop-logprob")),
    "probe": (models.PROBE, ("probe",)),
    "seeds": (SEEDS, ("seeds",)),
    "against": (AGAINST, ("against",)),
    "reproduction": (FOUND, ("reproduction",)),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_notebook_shows_what_the_report_shows(name: str) -> None:
    record, names = RECORDS[name]
    with collect_figures() as reported:
        save_figures(record.to_dict(), "nowhere")
    assert set(reported) == set(names)
    with collect_figures() as plotted:
        for one in names:
            write_figure(record.plot(one), "nowhere", one)
    assert plotted == reported
    if name == "several sites":
        return
    # without a name, the first of them
    with collect_figures() as first:
        write_figure(record.plot(), "nowhere", names[0])
    assert first[names[0]] == reported[names[0]]


def test_every_record_with_figures_in_a_notebook_has_them_in_a_report() -> None:
    assert set(FIGURES) - set(DRAWERS) == set()
