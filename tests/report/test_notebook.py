"""What public objects say of themselves: few lines that hold their numbers, and HTML in which names are no markup."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import codi_int as ci
from codi_int.report.notebook import SAYERS
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Latents, Site, SiteActivations, ThoughtBatch
from tests.cli import golden_models as models
from tests.cli import golden_predictions as predictions
from tests.cli import golden_results as results
from tests.cli import golden_screens as screens

BATCH = ThoughtBatch(("a", "b"), torch.zeros(2, 6, 96), {Site(14, 3): torch.zeros(2, 96)})


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (
            BATCH,
            "ThoughtBatch of 2 problems: 6 thoughts, d_model 96\ncaptured at L14.P3",
        ),
        (ThoughtBatch(("a",), torch.zeros(1, 6, 96), {}), "ThoughtBatch of 1 problem: 6 thoughts, d_model 96"),
        (
            SiteActivations(Site(14, 3), ("a", "b"), torch.zeros(2, 96)),
            "SiteActivations at L14.P3: values [2, 96]: problem, d_model",
        ),
        (
            Latents(torch.zeros(2, 16), torch.zeros(2, 16, dtype=torch.long), 512),
            "Latents of 2 rows: 16 of 512 features each, as values and indices",
        ),
        (
            ci.compare_paired([True] * 9 + [False], [False] * 3 + [True] * 7),
            "Effect on 10 problems (exact sign flips)\n"
            "change -20.0 points (-63.4 to +31.9), p = 0.625: 3 broken, 1 fixed\n",
        ),
        (
            TopKSAE(SAEConfig(d_in=96, d_sae=512, k=16, rule="abs")),
            "TopKSAE unnamed: topk (abs), d_in 96, d_sae 512, k 16\nsite unknown, model unknown",
        ),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_lines(shown: Any, text: str) -> None:
    assert repr(shown).startswith(text)


def test_a_result_says_what_was_done_on_what_and_what_came_out() -> None:
    done, effect = results.RESULT.experiment, results.RESULT.effect
    text = repr(results.RESULT)
    assert text.startswith(f"Result: {done.label} at L14.P3")
    assert f"{done.n_problems:,} problems of {done.data}, seed {done.seed}" in text
    assert f"change {100 * effect.estimate:+.1f} points" in text
    assert f"{effect.n_broken:,} broken, {effect.n_fixed:,} fixed" in text
    assert f"log-probability {effect.logprob.estimate:+.3f} nats" in text
    assert text.endswith(effect.verdict)


EVERY = [
    *(
        results.RESULT,
        results.DEAD_RESULT,
        predictions.PREDICTED_SWAP,
        results.FAMILY,
        results.PATHS,
        screens.SCREEN,
        screens.SITES_SCREEN,
    ),
    *(screens.CURVE, screens.MAP, screens.SPLIT_MAP, models.EVALUATION, results.EFFECT),
]


@pytest.mark.parametrize("shown", EVERY, ids=lambda shown: type(shown).__name__)
def test_every_record_is_a_few_lines(shown: Any) -> None:
    lines = repr(shown).splitlines()
    assert 2 <= len(lines) <= 8
    assert max(map(len, lines)) < 400
    assert lines[0] in shown._repr_html_() or "&" in shown._repr_html_()


def test_names_are_no_markup() -> None:
    hostile = replace(results.RESULT, experiment=replace(results.RESULT.experiment, data="<script>alert(1)</script>"))
    assert "<script>" not in hostile._repr_html_()
    assert "&lt;script&gt;" in hostile._repr_html_()
    assert "<script>" not in replace(screens.SCREEN, sae="<script>")._repr_html_()


def test_a_long_table_says_how_much_is_left() -> None:
    rows = tuple(replace(screens.SCREEN.rows[0], feature=feature) for feature in range(25))
    html = replace(screens.SCREEN, rows=rows)._repr_html_()
    assert "and 15 rows more: .to_frame() has them all" in html
    assert html.count("<tr") == 11


def test_models_engines_and_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ci.load_model("codi-mini")
    assert repr(model) == "CodiModel codi-mini: 16 layers, d_model 96, 6 thoughts\nfloat32 on cpu"
    with model.hooks({"L14.P3": lambda resid, context: None}):
        assert repr(model).endswith("float32 on cpu, 1 hooks set")
        model.think("Tom has 3 apples .")
    engine = ci.FeatureInterventionEngine(model, {"L14.P3": "codi-mini/L14.P3", "P1.thought": None})
    assert repr(engine) == (
        "FeatureInterventionEngine on codi-mini at L14.P3, P1.thought\n"
        "SAEs: codi-mini/L14.P3; splice add, propagate both"
    )
    assert repr(engine.saes[Site(14, 3)]).splitlines()[1] == "site L14.P3, model codi-mini"
    assert repr(ci.load_problems("stories:validation", limit=3)) == "<Problems 'stories:validation': 3>"


def test_every_public_class_has_a_repr_of_its_own() -> None:
    """Either its lines stand here, or the dataclass writes its few fields; none is an address in memory."""
    for name in ci.__all__:
        kind = getattr(ci, name)
        if isinstance(kind, type) and not issubclass(kind, BaseException):
            assert kind.__repr__ is not object.__repr__, name
    assert {"Result", "Screen", "ThoughtMap", "AblationCurve", "CodiModel", "SAE", "ThoughtBatch"} <= set(SAYERS)
