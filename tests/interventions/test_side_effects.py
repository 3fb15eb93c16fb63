"""Side effects of an edit against a loop without the engine: hooks, the SAE's own functions, scikit-learn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from statsmodels.stats.proportion import proportion_confint
from torch import Tensor

from codi_int.data.chains import cluster_problems
from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.engine import later_effects
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.kept import load_result
from codi_int.model.hooked import CodiModel
from codi_int.sae import TopKSAE
from codi_int.types import LaterEffects, Problem, Result, SideEffects, Site, SiteLike

SITE, NEXT = Site(2, 3), 3
FEATURE = 3


@dataclass(frozen=True)
class Loop:
    """What hooks and the SAE's functions come to, problem by problem."""

    residual: Tensor
    """at the site, undisturbed. [n, d_model]"""
    rebuilt: Tensor
    """by the SAE alone"""
    fires: np.ndarray
    """whether the feature does. [n]"""
    thoughts: dict[str, Tensor]
    """the next one under: nothing, the reconstruction, the edit added, the edit in place"""
    edited: dict[str, Tensor]
    """the residual under the edit: added, in place"""
    later: dict[str, Tensor]
    """every block's residual at the positions behind, under the same. [n, n_layers, positions, d_model]"""


@pytest.fixture(scope="module")
def engine(engine_at: Callable[..., FeatureInterventionEngine]) -> FeatureInterventionEngine:
    return engine_at(SITE)


@pytest.fixture(scope="module")
@torch.no_grad()
def loop(engine: FeatureInterventionEngine, problems: tuple[Problem, ...]) -> Loop:
    model, sae = engine.model, engine.saes[SITE]
    index = {problem.id: i for i, problem in enumerate(problems)}
    batch = model.think(problems, capture=[SITE])
    x = batch.at(SITE).values
    latents = sae.encode(x).dense()
    without = latents.clone()
    without[:, FEATURE] = 0.0
    edited = {"add": x + sae.decode(without) - sae.decode(latents), "replace": sae.decode(without)}
    table = {"rebuilt": sae.decode(latents), **edited}
    thoughts, later = {"clean": batch.thoughts[:, NEXT]}, {"clean": everything(model, problems)}
    for name, values in table.items():
        with model.hooks({SITE: lambda resid, at, v=values: v[[index[one] for one in at.problem_ids]]}):
            thoughts[name] = model.think(problems).thoughts[:, NEXT]
            later[name] = everything(model, problems)
    fires = (latents[:, FEATURE] != 0).numpy()
    return Loop(residual=x, rebuilt=table["rebuilt"], fires=fires, thoughts=thoughts, edited=edited, later=later)


def everything(model: CodiModel, problems: Sequence[Problem]) -> Tensor:
    residuals = model.think(problems, capture="all").residuals
    assert residuals is not None
    return residuals[:, :, SITE.position + 1 :]


def run(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...], splice: str = "add", controls: int = 0, **how: str
) -> Result:
    made = FeatureInterventionEngine(engine.model, engine.saes, splice=splice, **how)
    made.share(engine._passes)
    return made.run(Ablate(FEATURE), problems, controls=controls)


def percentiles(problems: Sequence[Problem], real: Tensor, asked: Tensor) -> np.ndarray:
    """By a fit for each problem, of those in other folds, which share no calculation with it."""
    fold = cluster_problems(problems) % 5
    x, distances = real.double().numpy(), []
    for states in (x, asked.double().numpy()):
        fits = [LedoitWolf().fit(x[fold != one]) for one in fold]
        distances.append(np.array([fit.mahalanobis(state[None])[0] for fit, state in zip(fits, states, strict=True)]))
    own, other = distances
    return np.array([((own < one).mean() + (own <= one).mean()) / 2 for one in other])


def cosines(one: Tensor, other: Tensor) -> tuple[np.ndarray, np.ndarray]:
    a, b = one.double().numpy(), other.double().numpy()
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / (lengths[0] * lengths[1]), lengths[0] / lengths[1]


@pytest.mark.parametrize(("splice", "method"), [("add", "suffix"), ("replace", "suffix"), ("add", "naive")])
def test_residual_and_thought_are_those_of_a_plain_loop(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...], loop: Loop, splice: str, method: str
) -> None:
    found = run(engine, problems, splice, method=method).side_effects
    assert found is not None
    assert found.residual is not None
    assert found.next_thought is not None
    fires = loop.fires
    assert 4 < fires.sum() == found.n_touched < len(problems)
    before = percentiles(problems, loop.residual, loop.rebuilt if splice == "replace" else loop.residual)[fires]
    after = percentiles(problems, loop.residual, loop.edited[splice])[fires]
    assert found.residual.n_real == len(problems)
    # a residual that lies next to a real one may round to either side of it
    assert found.residual.before == pytest.approx(np.median(before), abs=0.5 / len(problems))
    assert found.residual.after == pytest.approx(np.median(after), abs=0.5 / len(problems))
    assert found.residual.change.value == pytest.approx((after - before).mean(), abs=0.5 / len(problems))
    assert np.abs(after - before).max() > 0.05
    cosine, norm = (values[fires] for values in cosines(loop.thoughts[splice], loop.thoughts["clean"]))
    thought = found.next_thought
    assert thought.thought == 4
    assert thought.cosine == pytest.approx(np.median(cosine), abs=1e-5)
    assert cosine.min() < 0.99
    assert thought.cosine_low == pytest.approx(np.quantile(cosine, 0.05), abs=1e-5)
    assert thought.mean_cosine.value == pytest.approx(cosine.mean(), abs=1e-5)
    assert thought.mean_norm.value == pytest.approx(norm.mean(), abs=1e-5)
    wanted = [np.median(norm), *np.quantile(norm, [0.05, 0.95])]
    assert [thought.norm, thought.norm_low, thought.norm_high] == pytest.approx(wanted, abs=1e-5)
    was = loop.thoughts["rebuilt" if splice == "replace" else "clean"]
    rebuilt = [np.median(values[fires]) for values in cosines(was, loop.thoughts["clean"])]
    assert [thought.before_cosine, thought.before_norm] == pytest.approx(rebuilt, abs=1e-5)


class Far:
    """Moves every residual further than any real one lies."""

    label = "far out"

    def edit_residual(self, activations: Tensor) -> Tensor:
        return activations + 100.0


def test_an_edit_far_out_lies_beyond_all_and_has_a_mean_with_an_interval(
    llama: CodiModel, problems: tuple[Problem, ...]
) -> None:
    found = FeatureInterventionEngine(llama, {SITE: None}).run(Far(), problems).side_effects
    assert found is not None
    assert found.residual is not None
    assert found.next_thought is not None
    assert (found.residual.after, found.residual.n_beyond) == (1.0, len(problems))
    low, high = found.residual.beyond.low, found.residual.beyond.high
    assert low is not None
    assert high is not None
    assert 0.8 < low < high == pytest.approx(1.0)
    mean = found.next_thought.mean_cosine
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low < mean.value < mean.high < 0.9
    assert found.residual.controls is None
    assert found.next_thought.controls is None


def test_controls_stand_beside_it_as_their_median(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    result = run(engine, problems, controls=2)
    own = result.side_effects
    others = [
        engine.run(Ablate(int(label.removeprefix("ablate "))), problems, controls=0).side_effects
        for label in result.controls["random_features"].labels
    ]
    assert own is not None
    assert own.residual is not None
    assert own.next_thought is not None
    shifts = [one.residual.change.value for one in others if one and one.residual]
    means = [one.next_thought.mean_cosine.value for one in others if one and one.next_thought]
    assert len(shifts) == 2
    assert own.residual.controls == pytest.approx(np.mean(shifts), abs=1e-9)
    assert own.next_thought.controls == pytest.approx(np.mean(means), abs=1e-6)
    assert own.residual.controls != pytest.approx(own.residual.change.value, abs=1e-3)


def test_where_nothing_follows_or_nothing_is_touched_nothing_is_said(
    llama: CodiModel, engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    last = FeatureInterventionEngine(llama, {Site(1, llama.n_thoughts): None}).run(Far(), problems).side_effects
    assert last is not None
    assert last.residual is not None
    assert last.next_thought is None
    assert engine.run(Ablate(31), problems, controls=0).side_effects is None


def test_by_the_cache_alone_the_next_thought_stays(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    found = run(engine, problems, propagate="cache").side_effects
    assert found is not None
    assert found.next_thought is not None
    assert found.next_thought.cosine_low == pytest.approx(1.0, abs=1e-6)


def test_a_kept_result_has_them_again(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...], tmp_path: Path
) -> None:
    result = run(engine, problems)
    result.save(tmp_path / "run")
    again = load_result(tmp_path / "run")
    assert isinstance(again, Result)
    assert isinstance(again.side_effects, SideEffects)
    assert again.side_effects == result.side_effects
    assert again.to_dict()["side_effects"]["n_touched"] == result.to_dict()["side_effects"]["n_touched"]


LATER = Site(1, 5)


@pytest.fixture(scope="module")
def looked(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...], sae_at: Callable[[CodiModel, Site], TopKSAE]
) -> dict[str, LaterEffects]:
    """What is found at later thoughts; numbers are among the first forty tokens often enough to be counted."""
    out = {}
    saes: dict[SiteLike, TopKSAE] = {LATER: sae_at(engine.model, LATER), Site(0, 3): engine.saes[SITE]}
    for splice in ("add", "replace"):
        made = FeatureInterventionEngine(engine.model, engine.saes, splice=splice)
        made.share(engine._passes)
        result = made.run(Ablate(FEATURE), problems, controls=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(later_effects, "TOP", 40)
            found = later_effects.look_later(made, Ablate(FEATURE), problems, result, saes, controls=1).side_effects
        assert found is not None
        assert found.later is not None
        out[splice] = found.later
    return out


@pytest.mark.parametrize(("splice", "before"), [("add", "clean"), ("replace", "rebuilt")])
@torch.no_grad()
def test_features_are_switched_as_in_a_plain_loop(
    engine: FeatureInterventionEngine,
    loop: Loop,
    looked: dict[str, LaterEffects],
    sae_at: Callable[[CodiModel, Site], TopKSAE],
    splice: str,
    before: str,
) -> None:
    found, sae, position = looked[splice], sae_at(engine.model, LATER), LATER.position - SITE.position - 1
    was, now = (
        (sae.encode(loop.later[arm][loop.fires][:, LATER.layer, position]).dense() != 0).numpy()
        for arm in (before, splice)
    )
    on, off = now & ~was, was & ~now
    assert on.sum() > 5
    assert (found.n_sites, found.n_features) == (1, int((was | now).any(0).sum()))
    assert found.fires == pytest.approx(was.sum(1).mean())
    assert (found.turns_on, found.turns_off) == pytest.approx((on.sum(1).mean(), off.sum(1).mean()))
    switched = (on | off).sum(0)
    order = sorted(np.flatnonzero(switched), key=lambda i: (-switched[i], i))[:20]
    assert [row.feature for row in found.features] == order
    for row in found.features:
        own = [int(one[:, row.feature].sum()) for one in (was, on, off)]
        assert [row.n_before, row.n_on, row.n_off] == own
        low, _ = proportion_confint(own[1] + own[2], len(was), method="wilson")
        assert (row.site, row.share.value) == (LATER, pytest.approx((own[1] + own[2]) / len(was)))
        assert row.share.low is not None
        assert row.share.low <= low + 1e-9


@pytest.mark.parametrize(("splice", "before"), [("add", "clean"), ("replace", "rebuilt")])
@torch.no_grad()
def test_results_are_read_as_hugging_face_s_own_head_reads_them(
    engine: FeatureInterventionEngine,
    problems: tuple[Problem, ...],
    loop: Loop,
    looked: dict[str, LaterEffects],
    splice: str,
    before: str,
) -> None:
    hf, tokenizer = engine.model.hf, engine.model.running_tokenizer
    shown = {
        arm: hf.lm_head(hf.model.norm(loop.later[arm])).topk(40).indices.transpose(1, 2).flatten(2)
        for arm in (before, splice)
    }
    number = {tokenizer.decode([i]).strip(): i for i in range(len(tokenizer))}
    rows = [row for row in looked[splice].results if row.result == "answer"]
    assert [row.thought for row in rows] == [4, 5, 6]
    for i, row in enumerate(rows):
        seen = {arm: [] for arm in shown}
        for at in np.flatnonzero(loop.fires):
            problem = problems[at]
            steps = [str(step.result) for step in problem.steps[:-1]]
            given = [*steps, *(word.strip("?.,$") for word in problem.question.split())]
            if str(problem.answer) in given or str(problem.answer) not in number:
                continue
            for arm, ids in shown.items():
                seen[arm].append(number[str(problem.answer)] in ids[at, i].tolist())
        assert row.n == len(seen[before]) > 3
        assert (row.n_before, row.n_after) == (sum(seen[before]), sum(seen[splice]))
        change = [b - a for a, b in zip(seen[before], seen[splice], strict=True)]
        assert row.change.value == pytest.approx(np.mean(change))
    assert sum(row.n_before for row in rows) > 0
    assert any(row.n_before != row.n_after for row in looked["replace"].results)


@torch.no_grad()
def test_controls_switch_what_they_switch_by_themselves(
    engine: FeatureInterventionEngine,
    problems: tuple[Problem, ...],
    looked: dict[str, LaterEffects],
    sae_at: Callable[[CodiModel, Site], TopKSAE],
) -> None:
    result = run(engine, problems, controls=1)
    control = Ablate(int(result.controls["random_features"].labels[0].removeprefix("ablate ")))
    saes: dict[SiteLike, TopKSAE] = {LATER: sae_at(engine.model, LATER)}
    alone = engine.run(control, problems, controls=0)
    side = later_effects.look_later(engine, control, problems, alone, saes, controls=0).side_effects
    assert side is not None
    assert side.later is not None
    assert (side.later.controls, looked["add"].n_controls) == (None, 1)
    assert side.later.turns_on is not None
    assert side.later.turns_off is not None
    assert looked["add"].controls == pytest.approx(side.later.turns_on + side.later.turns_off)
