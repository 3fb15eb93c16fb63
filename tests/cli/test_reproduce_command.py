"""Published experiments run again: the committed configs, the windows, the lines, and the command."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import fisher_exact, hypergeom

from codi_int.cli.reproduce import reproduction_page
from codi_int.data.answers import is_right
from codi_int.data.problems import load_problems
from codi_int.errors import ConfigError
from codi_int.features.rule_table import RuleComparison
from codi_int.features.specialization_records import RULES, Specialization, SpecializationRow
from codi_int.interventions.screens.confirmed import Confirmation
from codi_int.interventions.screens.screen_records import ScreenRow
from codi_int.model.loading import load_model
from codi_int.records import ArmEffect, Estimate
from codi_int.runs.published import experiments, load_experiment, published_numbers
from codi_int.runs.reproduce_ablations import _group
from codi_int.runs.reproduce_dictionaries import Wanted, Window, _compare, _specialists, read_wanted, scaled_site
from codi_int.runs.reproduction import Honest, Line, Reproduction, ReproductionPlan
from codi_int.sae.store import load_sae
from codi_int.types import Site
from tests.cli.test_golden_pages import rendered

NAMES = ("activation-patterns", "causal-validation", "dictionary-scaling", "k50-specialization", "topk-grid")


def plan(name: str) -> ReproductionPlan:
    return ReproductionPlan(
        experiment=load_experiment(name),
        problems=(),
        data="none",
        training=(),
        training_name="none",
        confirming=None,
        out=None,
    )


def test_every_experiment_is_committed() -> None:
    assert tuple(sorted(experiments())) == NAMES
    with pytest.raises(ConfigError, match="no published experiment 'topk'") as error:
        load_experiment("topk")
    assert error.value.remedy.startswith("Name one of activation-patterns, ")


def test_k_keeps_its_share_of_the_width_and_layers_their_depth() -> None:
    wanted = read_wanted(plan("k50-specialization"), 96, 16)
    assert [one.k for one in wanted] == [round(k * 96 / 2048) for k in (50, 100, 200)] == [2, 5, 9]
    assert {one.site for one in wanted} == {Site(14, 3)}
    assert [one.k for one in read_wanted(plan("k50-specialization"), 2048, 16)] == [50, 100, 200]
    assert [one.k for one in read_wanted(plan("topk-grid"), 96, 16)] == [5, 10, 20, 100] * 3
    assert [scaled_site(Site(layer, 3), 4).layer for layer in (3, 14, 15)] == [1, 3, 3]


@pytest.mark.parametrize(
    ("experiment", "alive"),
    [
        ("k50-specialization", (348, 508, 512)),
        ("activation-patterns", (508, 508, 512)),
        ("dictionary-scaling", (207, 348)),
    ],
)
def test_windows_hold_as_many_features_as_were_looked_at(experiment: str, alive: tuple[int, ...]) -> None:
    """149, 109, 113; 109, 151, 81; 108, 149: what the reports say they analysed."""
    numbers, found = published_numbers(), plan(experiment)
    windows = [(one, window) for one in read_wanted(found, 2048, 16) for window in one.windows]
    assert len(windows) == len(alive)
    for (one, window), n in zip(windows, alive, strict=True):
        said = numbers.find(found.experiment.report, window.quantity, one.published_k, one.d_sae, one.published_layer)
        assert said is not None
        assert len(window.rows([row(rank) for rank in range(1, n + 1)])) == said[1]


def row(rank: int, kind: str = "general", label: str = "mixed patterns", n_firing: int = 9) -> SpecializationRow:
    return SpecializationRow(
        rank=rank,
        feature=rank,
        firing_rate=n_firing / 100,
        n_firing=n_firing,
        n_active=n_firing,
        type=kind,
        label=label,
    )


def comparison(published: list[SpecializationRow], tested: list[SpecializationRow]) -> RuleComparison:
    about = ("", "", "", 100, 100)
    counted = [replace(one, type="general") for one in published]
    rows = (published, counted, tested)
    rules = [Specialization(rule, None, *about, tuple(some)) for rule, some in zip(RULES, rows, strict=True)]
    return RuleComparison(tuple(rules), (0.01, 0.1), ())


WANTED = Wanted(
    name="K=50",
    published_layer=14,
    site=Site(14, 3),
    published_k=50,
    d_sae=512,
    k=2,
    windows=(Window("rare", 0.5, 1.0, "specialized"),),
)


def test_lines_of_specialists() -> None:
    """Ten features; of the rare five three are specialists as published, two of one problem, none with ties counted."""
    rows = [row(rank) for rank in range(1, 8)]
    rows += [row(8, "operation-specialized", "addition", 1), row(9, "operation-specialized", "division", 1)]
    rows += [row(10, "highly-specialized", "addition + number 12", 2)]
    tested = [*rows[:9], row(10)]
    found = list(_specialists("k50", WANTED, comparison(rows, tested), published_numbers()))
    first, counted, single, pairs, everything = found
    assert (first.published, first.published_n) == (pytest.approx(100 * 29 / 149), 149)
    assert (first.here, first.here_n) == (60.0, 5)
    assert first.honest is not None
    assert (first.honest.value, first.honest.n) == (40.0, 5)
    assert (counted.here, single.here, single.here_n) == (0.0, 2.0, 3)
    assert (pairs.published, pairs.here) == (3, 1)
    assert (everything.here, everything.here_n) == (30.0, 10)


def test_two_dictionaries_are_compared_by_the_tested_rule() -> None:
    def table(hits: int, n: int) -> RuleComparison:
        rows = [row(rank, "operation-specialized" if rank <= hits else "general") for rank in range(1, n + 1)]
        return comparison(rows, rows)

    tables, wanted = {"a": table(8, 207), "b": table(29, 348)}, {"a": WANTED, "b": WANTED}
    (line,) = _compare("a", "b", tables, wanted)
    assert line.honest is not None
    law = hypergeom(555, 37, 207)
    chances = law.pmf(np.arange(38))
    assert line.honest.p_value == pytest.approx(chances[chances <= law.pmf(8) * (1 + 1e-9)].sum())
    assert line.honest.p_value == pytest.approx(fisher_exact([[8, 199], [29, 319]]).pvalue)
    assert line.honest.value == pytest.approx(100 * (8 / 207 - 29 / 348))
    assert line.honest.low < line.honest.value < line.honest.high


def line(measure: str, unit: str, published: float, here: float | None = None, honest: Honest | None = None) -> Line:
    return Line("K=50", measure, unit, published=published, here=here, honest=honest)


TESTED = Honest(value=1.2, low=0.1, high=3.4, n=70, method="tested rule", p_value=0.25)
FOUND = Reproduction(
    experiment="k50-specialization",
    question="Does a smaller K make more features specialized?",
    report="k50",
    model="codi-mini",
    data="stories:validation",
    n_problems=1495,
    settings=("K=50: K = 2 of d_sae 512",),
    lines=(
        line("explained variance", "%", 84.9, 79.82, Honest(79.5, 79.1, 79.82, 3, "range of seeds")),
        line("loss", "", 0.0649, 16.8),
        replace(line("specialized, rare", "%", 19.46), published_n=149, honest=TESTED),
        line("swap pairs, rare", "", 3.0, 1.0),
    ),
    seconds=12.34,
)


@pytest.mark.parametrize(
    ("words", "width"),
    [
        ("explained variance, %         84.9     79.8    79.5  79.1 to 79.8   3       -", 80),
        ("specialized, rare, %   19.5 of 149        -     1.2    0.1 to 3.4  70  0.2500", 80),
        ("swap pairs, rare                 3        1       -             -   -       -", 80),
        ("honest: range of seeds", 60),
        ("79.1 to 79.8", 120),
    ],
)
def test_page(words: str, width: int) -> None:
    assert words in rendered(reproduction_page(FOUND), width)


def test_the_command(run: Callable, shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a tiny model, with two small dictionaries in place of the committed ones."""
    small = load_experiment("dictionary-scaling")
    first = {
        "site": "L14.P3",
        "k": 50,
        "d_sae": 16,
        "windows": [{"name": "rare", "first": 0.5, "last": 1.0, "quantity": "x"}],
    }
    settings = {
        "k": "as-published",
        "seeds": [0],
        "dictionaries": [{**first, "name": "a", "k": 4}],
        "compare": [["a", "a"]],
    }
    monkeypatch.setattr("codi_int.runs.published.load_experiment", lambda name: replace(small, settings=settings))
    words = ("reproduce", "dictionary-scaling", "--model", shelf.model, "--data", shelf.data)
    words += ("--train-data", shelf.data, "--epochs", "1", "--out", str(tmp_path / "run"))
    ran = run(*words, "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/reproduction@1"
    assert document["settings"][0].startswith("a: K = 4 of d_sae 16 at L3.P3 (published K = 4 of width 2,048")
    assert json.loads((tmp_path / "run" / "reproduction.json").read_text()) == document
    with (tmp_path / "run" / "reproduction.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [one["measure"] for one in rows] == [one["measure"] for one in document["lines"]]
    difference = document["lines"][-1]
    assert (difference["subject"], difference["honest"]["value"], difference["honest"]["p_value"]) == (
        "a minus a",
        0,
        1,
    )
    saved = sorted((tmp_path / "run").rglob("sae_weights.safetensors"))
    times = [path.stat().st_mtime_ns for path in saved]
    again = run(*words, "--json")
    assert json.loads(again.out)["lines"] == document["lines"]
    assert [path.stat().st_mtime_ns for path in saved] == times
    other = run(*words, "--limit", "11")
    assert other.code == 2
    assert len(other.err.strip().splitlines()[-2:]) == 2


def test_a_wrong_name_is_two_lines(run: Callable) -> None:
    ran = run("reproduce", "k51")
    assert ran.code == 2
    assert ran.err.startswith("codi-int: There is no published experiment 'k51'.\nName one of activation-patterns, ")


def change_by_hand(shelf, folder: Path, feature: int) -> float:
    """Change of accuracy, in points, where a plain hook takes the feature's part out of the residual."""
    sae, model, problems = load_sae(next(folder.rglob("d16_k*"))), load_model(shelf.model), load_problems(shelf.data)
    site = Site(3, 3)

    def hook(resid: torch.Tensor, context: object) -> torch.Tensor:
        latents = sae.encode(resid).dense()
        return resid - latents[:, [feature]] * sae.W_dec[feature]

    clean = model.answer(problems)
    with model.hooks({site: hook}):
        edited = model.answer(problems)
    right = [
        [is_right(one.answer, p.answer) for one, p in zip(some, problems, strict=True)] for some in (clean, edited)
    ]
    return 100 * (sum(right[1]) - sum(right[0])) / len(problems)


def test_ablations(run: Callable, shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frequent and rare features of a small dictionary; every change is that of a plain hook."""
    committed = load_experiment("causal-validation")
    assert committed.settings["features"] == 20
    small = {"name": "small", "site": "L14.P3", "k": 4, "d_sae": 16}
    settings = {**committed.settings, "k": "as-published", "features": 2, "dictionaries": [small]}
    monkeypatch.setattr("codi_int.runs.published.load_experiment", lambda name: replace(committed, settings=settings))
    words = ("reproduce", "causal-validation", "--model", shelf.model, "--data", shelf.data, "--train-data", shelf.data)
    ran = run(*words, "--epochs", "1", "--out", str(tmp_path / "run"), "--json")
    assert ran.code == 0, ran.err
    lines = json.loads(ran.out)["lines"]
    subjects = list(dict.fromkeys(line["subject"] for line in lines))
    assert subjects[:2] == ["the 2 most frequent", "the 2 rarest"]
    features = [line for line in lines if line["measure"].startswith("feature ")]
    assert len(features) == 4
    rates = [float(re.findall(r"([\d.]+) %", line["measure"])[0]) for line in features]
    assert rates == sorted(rates, reverse=True)
    for line in features[:2]:
        feature = int(line["measure"].split()[1].rstrip(","))
        assert line["here"] == pytest.approx(change_by_hand(shelf, tmp_path / "run", feature))
        assert line["honest"]["low"] <= line["honest"]["value"] <= line["honest"]["high"]


def screen_row(feature: int, value: float, low: float, high: float) -> ScreenRow:
    accuracy = Estimate(value, low, high, p_value=0.01, p_adjusted=0.02)
    effect = ArmEffect(accuracy=accuracy, logprob=accuracy, n_touched=9, n_broken=1, n_fixed=0, n_answer_changed=1)
    return ScreenRow(site=Site(14, 3), feature=feature, firing_rate=0.5, edit_size=1.0, effect=effect)


def test_forecasts_are_counted_by_estimate_and_by_interval() -> None:
    """Of three features two lose ten points by their estimate, and one of them by its whole interval."""
    rows = [screen_row(1, -0.3, -0.4, -0.2), screen_row(2, -0.11, -0.2, -0.01), screen_row(3, -0.05, -0.1, 0.0)]
    forecast = {"least_points": -100, "most_points": -10}
    first, *each = _group("top", rows, forecast, 1495)
    assert (first.published, first.here) == (3, 2)
    assert first.honest is not None
    assert first.honest.value == 1
    assert [one.here for one in each] == pytest.approx([-30, -11, -5])
    assert each[0].honest is not None
    assert (each[0].honest.low, each[0].honest.n, each[0].honest.p_value) == (-40, 1495, 0.02)


def test_what_was_selected_is_told_by_the_problems_that_confirm() -> None:
    again = Estimate(-0.05, -0.1, 0.02, p_value=0.2, p_adjusted=0.3)
    confirmation = Confirmation(
        n=700,
        n_broken=40,
        n_fixed=5,
        accuracy=again,
        logprob=again,
        confirmed=False,
        confirmed_logprob=None,
        power=0.9,
    )
    row = replace(screen_row(1, -0.3, -0.4, -0.2), confirmation=confirmation)
    first, line = _group("top", [row], {"least_points": -100, "most_points": -10}, 1495)
    assert (first.here, line.here) == (1, pytest.approx(-30))
    assert line.honest is not None
    assert (line.honest.value, line.honest.high, line.honest.n, line.honest.p_value) == (-5, 2, 700, 0.3)
    assert first.honest is not None
    assert first.honest.value == 0
