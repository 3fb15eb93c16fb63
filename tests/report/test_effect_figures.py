"""Effects of single experiments: the bar is the interval, the rings are the controls, the curve is the dose."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from codi_int.report.effect_figures import dose_figure, dose_figures, result_figure, result_figures
from codi_int.types import (
    Arm,
    ControlSet,
    Effect,
    Environment,
    Experiment,
    LogprobEffect,
    Result,
    RunCounts,
    Site,
)

ENVIRONMENT = Environment(
    codi_int="0",
    torch="0",
    model_sha256="m",
    sae_sha256="s",
    data_sha256="d",
    threads=1,
    device="cpu",
    dtype="float32",
    seconds=1.0,
)
LOGPROB = LogprobEffect(-0.5, -0.75, -0.25, 0.01, "test")
EFFECT = Effect(
    estimate=-0.125,
    low=-0.25,
    high=0.0,
    confidence=0.95,
    p_value=0.03,
    method="exact",
    n=40,
    n_touched=10,
    n_broken=6,
    n_fixed=1,
    n_answer_changed=8,
    logprob=LOGPROB,
    minimum_detectable=0.1,
    verdict="...",
)
RANDOM = ControlSet(
    draws=3,
    labels=("a", "b", "c"),
    firing_rates=(0.1,) * 3,
    edit_sizes=(1.0,) * 3,
    estimates=(0.0, 0.025, -0.05),
    logprob_estimates=(0.1, 0.0, -0.2),
    rank_of_effect=1.0,
    rank_of_logprob=1.0,
)


def result(factor: float | None = None, effect: Effect = EFFECT, **controls: ControlSet) -> dict:
    kind = "ablate" if factor is None else "amplify"
    site = Site(2, 3)
    experiment = Experiment(
        kind=kind,
        features=(4,),
        site=site,
        mode=None,
        factor=factor,
        splice="add",
        propagate="both",
        model="tiny",
        sae="sae",
        data="stories",
        n_problems=40,
        seed=0,
        label=f"{kind} 4",
    )
    arms = {"clean": Arm(0.9, 36)}
    counts = RunCounts(1, 0, 1, 0, 0)
    return Result(
        experiment=experiment,
        arms=arms,
        effect=effect,
        controls=controls,
        by_operation=(),
        environment=ENVIRONMENT,
        counts=counts,
        outcomes={},
    ).to_dict()


def rings(axis) -> list[float]:
    lines = [line for line in axis.lines if line.get_markerfacecolor() == "none"]
    return sorted(float(x) for line in lines for x in line.get_xdata())


def test_the_effect_stands_among_its_controls_in_points_and_nats() -> None:
    accuracy, logprob = result_figure(result(random_features=RANDOM)).axes
    assert rings(accuracy) == pytest.approx([-5, 0, 2.5])
    assert rings(logprob) == pytest.approx([-0.2, 0, 0.1])
    bar = next(line for line in accuracy.lines if list(line.get_ydata()) == [0, 0] and line.get_marker() == "None")
    assert list(bar.get_xdata()) == [-25.0, 0.0]
    assert [t.get_text() for t in accuracy.get_yticklabels()] == ["this edit", "random features"]
    assert result_figure(result()).axes[0].get_yticklabels()[0].get_text() == "this edit"


def test_without_log_probability_there_is_one_panel() -> None:
    assert len(result_figure(result(effect=replace(EFFECT, logprob=None))).axes) == 1


def test_nothing_is_drawn_where_nothing_was_edited(tmp_path: Path) -> None:
    assert result_figures(result(effect=replace(EFFECT, p_value=None)), tmp_path) == []


def results(*factors: float | None) -> dict:
    found = [
        result(f, replace(EFFECT, estimate=-0.01 * i, low=-0.02 * i, high=0.0)) for i, f in enumerate(factors, start=1)
    ]
    return {"schema": "codi-int/results@1", "results": found, "p_adjusted": [0.5, *[0.01] * (len(factors) - 1)]}


def test_the_dose_is_drawn_in_the_order_of_the_factors() -> None:
    accuracy, logprob = dose_figure(results(5.0, 2.0, 10.0)).axes
    line = accuracy.containers[0]
    assert list(line[0].get_xdata()) == [2, 5, 10]
    assert list(line[0].get_ydata()) == pytest.approx([-2, -1, -3])
    assert line[2][0].get_segments()[0][:, 1] == pytest.approx([-4, 0])
    marks = {float(m.get_xdata()[0]): m.get_markerfacecolor() for m in accuracy.lines if m.get_marker() == "o"}
    assert {x for x, face in marks.items() if face == "white"} == {5.0}
    assert "Holm over 3 edits" in dose_figure(results(5.0, 2.0, 10.0)).get_supxlabel().replace("\n", " ")
    assert (accuracy.get_xscale(), logprob.get_xlabel()) == ("linear", "factor")
    assert dose_figure(results(1.0, 100.0)).axes[0].get_xscale() == "log"


def test_edits_without_a_factor_stand_side_by_side(tmp_path: Path) -> None:
    axis = dose_figure(results(None, None)).axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["ablate 4", "ablate 4"]
    assert all(path.stat().st_size > 5000 for path in dose_figures(results(None), tmp_path))


def test_documents_survive_json() -> None:
    document = json.loads(json.dumps(results(2.0, 5.0)))
    assert len(dose_figure(document).axes) == 2
