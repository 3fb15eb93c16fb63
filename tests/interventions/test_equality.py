"""The law of the engine: every edit, made the fast way, gives what live hooks on the whole model give.

The reference here knows nothing of plans and suffixes. It sets one hook per site, and each hook encodes what arrives,
edits, and decodes, while the whole model runs. All problems have one length and so stand in one batch: a hook sees them
all, in order, and even means and resampling can be done live.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codi_int.data.stories import load_stories
from codi_int.interventions.edits.basic import Ablate, Amplify, Swap
from codi_int.interventions.edits.combined import AtSites, Together
from codi_int.interventions.edits.residual import InterchangeResidual, ReplaceByMean, SteerAlong
from codi_int.interventions.edits.values import Clamp, Interchange, Steer
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.summary import arm_outcomes
from codi_int.model.hooked import CodiModel
from codi_int.model.loading import load_model
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem, Site

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
N = 8
AWAY = (3, -1, 1, 0, 7, -1, 2, 4)
"""sources of the interchanges: two problems keep what they have, one would get its own"""


class Stage:
    """A model with problems that share one batch, its clean run, and an SAE at every site of the cases."""

    def __init__(self, model: CodiModel, problems: tuple[Problem, ...], max_rows: int = 5) -> None:
        self.model, self.problems, self.max_rows = model, problems, max_rows
        (self.batch,) = model.batches(problems)
        sites = sorted({self.site(text) for case in CASES.values() for text in case.table}, key=str)
        self.clean = model.rollout(self.batch, sites)
        self.saes = {site: random_sae(self.clean.captured[site], seed) for seed, site in enumerate(sites)}
        self.engines: dict[tuple[str, str], FeatureInterventionEngine] = {}

    def site(self, text: str) -> Site:
        """A site of a model of four layers, moved to this model's depth."""
        site = Site.parse(text)
        return site if site.layer is None else replace(site, layer=site.layer * self.model.n_layers // 4)

    def engine(self, splice: str, method: str) -> FeatureInterventionEngine:
        """One engine for all cases that keep both paths open, so that the clean pass runs once."""
        if (splice, method) not in self.engines:
            self.engines[splice, method] = FeatureInterventionEngine(
                self.model, self.saes, splice=splice, max_rows=self.max_rows, method=method
            )
        return self.engines[splice, method]


def golden_stage(kind: str) -> Stage:
    """An official checkpoint with answers kept short; any number that it writes is its answer."""
    folder = GOLDEN / f"codi-{kind}-tiny"
    if not folder.is_dir():
        pytest.skip("the golden checkpoints are not here")
    model = load_model(folder / "checkpoint", base=next(folder.glob("base-*")), lora_alpha=32)
    model.config = replace(model.config, answer_rule="last", max_new_tokens=6)
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1, 150, (N, 9), generator=generator).tolist()
    return Stage(model, tuple(Problem(f"p{i}", " ".join(f"w{w}" for w in row), 3, ()) for i, row in enumerate(words)))


@pytest.fixture(scope="module", params=["codi-mini", "llama", "gpt2"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """The shipped model and both golden checkpoints."""
    if request.param != "codi-mini":
        return golden_stage(request.param)
    model = request.getfixturevalue("mini")[0]
    by_length: dict[int, list[Problem]] = {}
    for problem in load_stories("validation"):
        if len(problem.steps) == 4:
            by_length.setdefault(len(model.encode_question(problem)), []).append(problem)
    many = max(by_length.values(), key=len)
    (batch,) = model.batches(many)
    unsure = model.rollout(batch).decoded.total_logprob.argsort()[:N]  # where it is sure, small edits do not show
    return Stage(model, tuple(many[i] for i in unsure.tolist()), max_rows=N)


@pytest.fixture(scope="module")
def small() -> Stage:
    """One golden checkpoint."""
    return golden_stage("llama")


def random_sae(x: Tensor, seed: int) -> TopKSAE:
    """A random abs-TopK SAE that reads activations at their own scale and writes at a scale that matters."""
    generator = torch.Generator().manual_seed(seed)
    width = x.shape[1]
    sae = TopKSAE(SAEConfig(d_in=width, d_sae=24, k=12, rule="abs")).requires_grad_(False)
    sae.W_enc.copy_(torch.randn(width, 24, generator=generator) / width**0.5)
    sae.W_dec.copy_(sae.W_enc.T)
    sae.b_enc.copy_(-(x.mean(0) @ sae.W_enc))
    sae.b_dec.copy_(x.mean(0))
    return sae


@dataclass(frozen=True)
class Halved:
    """An edit of a user's own."""

    label: str = "halve everything"

    def edit(self, latents: Tensor) -> Tensor:
        return latents * 0.5


@dataclass(frozen=True)
class Case:
    """One edit and how it is to be made."""

    table: Mapping[str, Any]
    splice: str = "add"
    propagate: str = "both"


def direction(stage: Stage) -> SteerAlong:
    generator = torch.Generator().manual_seed(5)
    return SteerAlong(torch.randn(stage.model.d_model, generator=generator), 1.5)


WHOLE, ALL = InterchangeResidual(AWAY), Interchange(None, AWAY)
ONE = {
    "ablate": Ablate(4),
    "ablate several": Ablate((4, 9, 20)),
    "ablate to the mean": Ablate((4, 7), mode="mean"),
    "ablate resampled": Ablate((4, 7), mode="resample", seed=2),
    "ablate set": Ablate((1, 7), mode="set", value=2.0),
    "amplify": Amplify(4, 5.0),
    "amplify negative": Amplify((2, 9), -3.0),
    "swap": Swap(4, 9),
    "swap sets": Swap((4, 5), (9, 10)),
    "clamp": Clamp((4, 5), low=-0.2, high=0.2),
    "clamp below": Clamp(4, low=1.0),
    "clamp to a value": Clamp(4, 1.0, 1.0),
    "steer": Steer((4, 5), 2.0),
    "interchange a feature": Interchange((4, 7), AWAY),
    "interchange all features": ALL,
    "together": Together((Ablate(4), Amplify(5, 3.0), Steer(6, 1.0), Interchange(7, AWAY))),
    "a user's own": Halved(),
    "a whole residual": WHOLE,
    "the mean residual": ReplaceByMean(),
    "along a vector": direction,
}
CASES = {name: Case({"L2.P3": edit}) for name, edit in ONE.items()} | {
    "another problem's thought": Case({"P3.thought": WHOLE}),
    "a thought along a vector": Case({"P1.thought": direction}),
    "a final state": Case({"P2.final_norm": WHOLE}),
    "an MLP's output": Case({"L1.P4.mlp_out": WHOLE}),
    "a head": Case({"L1.P4.head:2": WHOLE}),
    "a head at <bot>, cache only": Case({"L2.P0.head:0": ReplaceByMean()}, propagate="cache"),
    "at <bot>": Case({"L1.P0": ALL}),
    "at the last thought": Case({"L1.P6": ALL}),
    "replace": Case({"L2.P3": Amplify(4, 3.0)}, "replace"),
    "cache only": Case({"L2.P3": ALL}, propagate="cache"),
    "recurrence only": Case({"L2.P3": WHOLE}, propagate="recurrence"),
    "thought, recurrence only": Case({"P3.thought": WHOLE}, propagate="recurrence"),
    "two positions": Case({"L2.P2": Ablate((4, 9, 11)), "L1.P4": Amplify((4, 5), 4.0)}),
    "two layers of one position": Case({"L1.P3": ALL, "L3.P3": Swap((4, 5), (9, 10))}),
    "neighbouring layers": Case({"L1.P3": Steer(4, 2.0), "L2.P3.resid_pre": Ablate((4, 5, 6))}),
    "every component of a block": Case(
        {
            "L2.P3.resid_pre": Halved(),
            "L2.P3.head:0": Halved(),
            "L2.P3.head:2": direction,
            "L2.P3.attn_out": direction,
            "L2.P3.resid_mid": Steer(3, 1.0),
            "L2.P3.mlp_out": ALL,
            "L2.P3": Ablate((4, 5, 6)),
            "P3.final_norm": Halved(),
            "P3.thought": Steer(2, 1.0),
        }
    ),
    "an MLP and its residual": Case({"L2.P3.mlp_out": ALL, "L2.P3": Ablate((4, 5, 6))}),
    "attention and later": Case({"L2.P3.attn_out": ALL, "L2.P3.mlp_out": Halved(), "L1.P4": Ablate((4, 5, 6))}),
    "final state, then thought": Case({"P2.final_norm": ALL, "P2.thought": Amplify((4, 5, 6), -2.0)}),
    "thought, then inside the next": Case({"P2.thought": WHOLE, "L1.P3": Ablate((4, 5, 6)), "L1.P5": Clamp(4, 0.5)}),
    "all thoughts of another problem": Case({f"P{p}.thought": WHOLE for p in range(6)}),
    "means and values of others, late": Case(
        {"L1.P1": Amplify((4, 5), 4.0), "L2.P3": Ablate((4, 5), mode="mean"), "L1.P4": Interchange((6, 7, 8), AWAY)}
    ),
    "first to last": Case({"L1.P0": Ablate((4, 5)), "L3.P0": Steer(4, 1.0), "L2.P6": (Ablate(4), Steer(5, 2.0))}),
    "a touched few, then another few": Case({"L2.P2": Interchange(None, (-1, 0, *[-1] * 6)), "L2.P4": Ablate(4)}),
    "several, replace": Case({"L1.P2": Amplify(4, 2.0), "L2.P4": Ablate(4)}, "replace"),
    "several, cache only": Case({"L1.P2": ALL, "L2.P2": ALL, "L1.P4": Amplify((4, 5), 4.0)}, propagate="cache"),
    "several, recurrence only": Case(
        {"L1.P2": ALL, "P2.final_norm": Halved(), "L1.P4": Amplify((4, 5), 4.0), "P4.thought": WHOLE},
        propagate="recurrence",
    ),
}
HEAVY = [name for name, case in CASES.items() if len(case.table) > 1]


def made(stage: Stage, case: Case) -> dict[Site, Any]:
    """The case's sites and edits for a model."""
    return {stage.site(text): edit(stage) if edit is direction else edit for text, edit in case.table.items()}


def live(edit: Any, sae: TopKSAE, clean: Tensor, splice: str) -> Callable[[Tensor, Any], Tensor]:
    """A hook that edits what arrives, written out."""

    def hook(x: Tensor, context: Any) -> Tensor:
        assert x.shape == clean.shape
        if not hasattr(edit, "edit"):
            return edit.edit_residual_from(x, clean) if hasattr(edit, "edit_residual_from") else edit.edit_residual(x)
        before, reference = sae.encode(x).dense(), sae.encode(clean).dense()
        after = edit.edit_from(before, reference) if hasattr(edit, "edit_from") else edit.edit(before)
        return sae.decode(after) if splice == "replace" else x + sae.decode(after) - sae.decode(before)

    return hook


def hooked(stage: Stage, case: Case) -> tuple[list[Any], Tensor]:
    """Answers under live hooks, and the log-probability of the clean answer's tokens, from the logits themselves."""
    model, clean = stage.model, stage.clean
    hooks = {
        site: live(edit, stage.saes[site], clean.captured[site], case.splice)
        for site, edit in AtSites(made(stage, case)).pairs
    }
    with torch.no_grad(), model.hooks(hooks, propagate=case.propagate):
        edited = model.rollout(stage.batch)
    ids, counts = clean.decoded.ids, clean.decoded.counts
    with torch.no_grad():
        scores = model.teacher_force(edited.state_at(model.n_thoughts), ids[:, :-1]).log_softmax(-1)
    chosen = scores.gather(2, ids[..., None])[..., 0] * (torch.arange(ids.shape[1]) < counts[:, None])
    return [completion.answer for completion in edited.completions], chosen.sum(1)


def assert_same(stage: Stage, case: Case, method: str) -> None:
    edit = AtSites(made(stage, case))
    if case.propagate == "both":
        engine = stage.engine(case.splice, method)
    else:
        saes = {site: stage.saes[site] if hasattr(part, "edit") else None for site, part in edit.pairs}
        path = {"propagate": case.propagate, "max_rows": stage.max_rows}
        engine = FeatureInterventionEngine(stage.model, saes, method=method, **path)
    context = engine.site_context(stage.problems, edit.sites[0])
    plan = engine.plan(context, edit)
    outcomes = arm_outcomes(context.clean, plan, engine.score(context, [plan])[0])
    answers, logprobs = hooked(stage, case)
    assert [outcome.answer for outcome in outcomes] == answers
    ours = torch.tensor([outcome.answer_logprob for outcome in outcomes])
    torch.testing.assert_close(ours, logprobs, rtol=1e-4, atol=1e-4)
    assert (ours - context.clean.logprobs).abs().max() > 1e-3, "the edit did nothing, so nothing was compared"
    # with `replace` every problem is run
    left = set(range(len(outcomes))) - set(plan.rows.tolist())
    assert all(context.clean.outcomes[i] == outcomes[i] and not outcomes[i].touched for i in left)
    assert [outcome.touched for outcome in outcomes] == plan.edited.tolist()


@pytest.mark.parametrize("name", CASES)
def test_every_edit_gives_what_live_hooks_give(stage: Stage, name: str) -> None:
    assert_same(stage, CASES[name], "suffix")


@pytest.mark.parametrize("name", HEAVY)
def test_the_naive_method_finds_later_sites_by_itself(small: Stage, name: str) -> None:
    assert_same(small, CASES[name], "naive")


def test_a_problem_that_no_site_touches_is_the_clean_one(small: Stage) -> None:
    first, second = Site(2, 2), Site(2, 4)
    edit = AtSites({first: Interchange(None, (-1, 0, *[-1] * 6)), second: Interchange(None, (*[-1] * 7, 0))})
    engine = small.engine("add", "suffix")
    plan = engine.plan(engine.site_context(small.problems, first), edit)
    assert plan.rows.tolist() == [1, 7]
    assert [plan.delta[1].any(), plan.changes[1].delta[0].any()] == [False, False]
    assert plan.edit_size > 0
