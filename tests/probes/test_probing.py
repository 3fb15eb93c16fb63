"""Probe maps of a small model: rows, resume, confirmation, and the removal of directions against a plain hook."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

import codi_int as ci
from codi_int.data.chains import chain_of
from codi_int.errors import ConfigError, SiteError
from codi_int.probes.activations import rows_at, words_of
from codi_int.probes.beyond import _fitting
from codi_int.probes.causal import remove_directions, span_of
from codi_int.probes.fitting import Outputs, make_splits, predict_out_of_fold
from codi_int.probes.probing import ProbeCheckpoint
from codi_int.probes.ridge import LinearProbe
from codi_int.probes.targets import label_problems, parse_target
from codi_int.probes.wrong import collect_errors
from tests.interventions.conftest import make_sae

SITES = (ci.Site(0, 0), ci.Site(1, 2))
QUICK = ci.ProbeSettings(causal=0, confirm="none", folds=3, control_draws=1)


@pytest.fixture(scope="module")
def found(llama: Any, stories: Sequence[ci.Problem]) -> ci.ProbeMap:
    return ci.probe(llama, stories, "n_steps", sites=SITES, settings=QUICK)


def test_a_score_is_that_of_predictions_out_of_fold(found: Any, llama: Any, stories: Sequence[ci.Problem]) -> None:
    from codi_int.data.chains import cluster_problems

    steps = [str(len(p.steps)) for p in stories]
    places = np.array([sorted(set(steps)).index(one) for one in steps], dtype=float)
    outputs = Outputs(places, len(set(steps)))
    splits = make_splits(outputs, cluster_problems(stories), 3, 0)
    x = llama.think(stories, capture=[SITES[1]]).at(SITES[1]).values.double().numpy()
    said, penalty = predict_out_of_fold(x, outputs, splits)
    row = found.rows[1]
    assert (row.site, row.penalty, row.n_dimensions) == (SITES[1], penalty, 24)
    assert row.score == pytest.approx(balanced_accuracy_score(places, said))
    assert row.selectivity == pytest.approx(row.score - row.control)
    assert row.selectivity_low <= row.selectivity <= row.selectivity_high
    words, _ = predict_out_of_fold(words_of(llama, stories), outputs, splits)
    assert found.baselines[1].score == pytest.approx(balanced_accuracy_score(places, words))
    assert row.over_words == pytest.approx(row.score - found.baselines[1].score)
    assert found.baselines[0].score == pytest.approx(1 / outputs.n_classes)


def test_finished_rows_are_not_made_again(found: Any, llama: Any, stories: Sequence[ci.Problem]) -> None:
    kept: list[int] = []
    left = replace(found.rows[0], control=0.123)
    again = ci.probe(
        llama,
        stories,
        "n_steps",
        sites=SITES,
        settings=QUICK,
        checkpoint=ProbeCheckpoint((left,), lambda rows: kept.append(len(rows))),
    )
    assert (again.rows[0], again.rows[1]) == (left, found.rows[1])
    assert kept == [1, 2]


def test_it_comes_back_as_it_was_kept(found: Any, tmp_path: Path) -> None:
    found.save(tmp_path)
    assert ci.load_result(tmp_path).to_dict() == found.to_dict()
    frame = found.to_frame()
    assert list(frame["site"]) == ["L0.P0", "L1.P2"]
    assert "selectivity" in frame.columns
    assert "most selective" in repr(found)


def test_the_best_site_is_confirmed_on_new_calculations(llama: Any, stories: Sequence[ci.Problem]) -> None:
    settings = replace(QUICK, confirm="default", causal=2)
    given = ci.load_problems("stories:validation", limit=80)
    found = ci.probe(llama, given, "left:1", sites=[SITES[0]], settings=settings)
    assert found.confirmed is not None
    assert (found.confirmed.site, found.confirmed.data) == (SITES[0], "stories:confirmation")
    assert found.causal is not None
    assert (found.causal.n_directions, found.causal.draws, found.causal.site) == (1, 2, SITES[0])
    other = ci.load_problems("stories:confirmation", limit=80)
    labels, new = (label_problems(parse_target("left:1"), group) for group in (stories, other))
    chains = frozenset(map(str, map(chain_of, stories)))
    kept = _fitting(new, labels, other, chains)
    assert len(kept) == found.confirmed.n
    assert all(chain_of(other[new.rows[j]]) not in chains and new.types[j] in set(labels.types) for j in kept)
    assert any("left:1 stands in the question" in note for note in found.notes)


def test_removing_directions_is_a_plain_projection(llama: Any, stories: Sequence[ci.Problem]) -> None:
    """The flips of the causal check are those of a hook that projects the directions out."""
    site, answers = ci.Site(1, 2), llama.answer(stories)
    problems = [p if a.answer is None else replace(p, answer=a.answer) for p, a in zip(stories, answers, strict=True)]
    x = llama.think(problems, capture=[site]).at(site).values.double()
    weights = np.random.default_rng(0).normal(size=(24, 3))
    weights[:, 2] = -weights[:, 0] - weights[:, 1]  # of classes, which add up to nothing
    basis = span_of(torch.from_numpy(weights))
    assert basis.shape == (2, 24)

    def project(resid: torch.Tensor, context: Any) -> torch.Tensor:
        away = (resid.double() - x.mean(0)) @ basis.T
        return (resid.double() - away @ basis).float()

    with llama.hooks({site: project}):
        edited = llama.answer(problems)
    before, after = ([a.answer == p.answer for a, p in zip(some, problems, strict=True)] for some in (answers, edited))
    found = remove_directions(llama, problems, site, LinearProbe(weights, np.zeros(3), 1.0), x.numpy(), draws=2, seed=0)
    pairs = list(zip(before, after, strict=True))
    assert found.n_broken == sum(b and not a for b, a in pairs) > 0
    assert found.n_fixed == sum(a and not b for b, a in pairs)
    assert found.accuracy.value == pytest.approx((sum(after) - sum(before)) / len(problems))
    moved = ((x - x.mean(0)) @ basis.T).norm(dim=1).mean()
    assert found.norm == pytest.approx(float(moved), rel=1e-4)
    assert found.beyond_accuracy.value == pytest.approx(found.accuracy.value - found.control_accuracy)


def test_latents_and_thoughts_are_read_too(llama: Any, stories: Sequence[ci.Problem]) -> None:
    site = ci.Site(1, 2)
    sae = make_sae(llama, site, stories)
    settings = replace(QUICK, source="latents", ks=(1, 4))
    found = ci.probe(llama, stories, "n_steps", sites=[site], saes={site: sae}, settings=settings)
    assert [(row.k, row.n_dimensions, row.sae) for row in found.rows] == [(k, 32, sae.name) for k in (None, 1, 4)]
    batch = llama.think(stories, capture=[site])
    latents = rows_at(batch, site, np.arange(3), sae)
    assert np.allclose(latents, sae.encode(batch.at(site).values[:3]).dense().detach().numpy())
    thoughts = ci.probe(llama, stories, "n_steps", settings=replace(QUICK, source="thoughts"))
    assert [str(row.site) for row in thoughts.rows] == [f"P{p}.thought" for p in range(6)]
    assert [one.name for one in thoughts.baselines][2:] == ["shuffled positions, thoughts"]


def test_errors_are_collected_with_right_ones_of_the_same_length(llama: Any, stories: Sequence[ci.Problem]) -> None:
    answers = llama.answer(stories)
    mixed = [
        replace(p, answer=p.answer if i % 3 == 0 or a.answer is None else a.answer)
        for i, (p, a) in enumerate(zip(stories, answers, strict=True))
    ]
    problems, correct = collect_errors(llama, [mixed[:40], mixed[40:]], 20)
    again = [ci.is_right(a.answer, p.answer) for a, p in zip(llama.answer(problems), problems, strict=True)]
    assert list(correct) == again
    pairs = list(zip(problems, correct, strict=True))
    lengths = {ok: sorted(len(p.steps) for p, one in pairs if one is ok) for ok in (True, False)}
    assert lengths[True] == lengths[False]
    assert len(lengths[False]) >= 20
    with pytest.raises(ConfigError, match="are asked for"):
        collect_errors(llama, [mixed[:40]], 41)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "lasso"}, "ridge, logistic"),
        ({"source": "attention"}, "residuals, thoughts, latents"),
        ({"source": "latents"}, "has no SAE"),
        ({"source": "thoughts"}, "does not go with the site L0.P0"),
        ({"ks": (2,)}, "source latents"),
        ({"folds": 1}, "folds is 1"),
        ({"method": "logistic"}, "a logistic probe cannot read"),
    ],
)
def test_settings_that_cannot_work(
    settings: dict[str, Any], says: str, llama: Any, stories: Sequence[ci.Problem]
) -> None:
    with pytest.raises(ConfigError, match=says):
        ci.probe(llama, stories, "answer", sites=[SITES[0]], settings=ci.ProbeSettings(**settings))


def test_a_site_that_the_model_lacks(llama: Any, stories: Sequence[ci.Problem]) -> None:
    with pytest.raises(SiteError, match="Layer 7"):
        ci.probe(llama, stories, "answer", sites="L7.P0")
