"""What later positions do: against plain Hugging Face loops, the naive path, live hooks, and where it is planted."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from codi_int.errors import ConfigError, HookError
from codi_int.interventions.edits.basic import Ablate, Amplify, Swap
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.edits.residual import InterchangeResidual
from codi_int.interventions.edits.values import Clamp
from codi_int.interventions.engine.clean import CleanPasses
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.later import hold_after
from codi_int.interventions.screens.attribution import attribute
from codi_int.interventions.screens.paths import split_effect
from codi_int.interventions.screens.screen import run_screen
from codi_int.interventions.screens.sides import NONE, SelectionPlan
from codi_int.model.hooked import CodiModel
from codi_int.sae import TopKSAE
from codi_int.types import Problem, Result, Site
from tests.interventions.planted import PLACE, SILENCE, planted_model, planted_problems, sign_sae, telling

SITE = Site(1, 3)
LATER = (Site(1, 4), Site(1, 5), Site(1, 6))
SaeMaker = Callable[[CodiModel, Site], TopKSAE]


def plain_logprob(
    model: CodiModel, problem: Problem, puts: Mapping[int, Callable[[Tensor], Tensor]], force: tuple[int, ...]
) -> float:
    """Log-probability of some answer by Hugging Face alone, with the outputs of layer 1 changed at some positions."""
    body = model.hf.model if model.hf.config.model_type == "llama" else model.hf.transformer
    blocks = body.layers if model.hf.config.model_type == "llama" else body.h
    table, cache = body.get_input_embeddings(), DynamicCache()
    put: Callable[[Tensor], Tensor] | None = None
    handle = blocks[1].register_forward_hook(lambda module, inputs, out: None if put is None else put(out))

    def step(x: Tensor) -> Tensor:
        return body(inputs_embeds=x, past_key_values=cache, use_cache=True).last_hidden_state

    with torch.no_grad():
        state = step(table(torch.tensor([model.encode_question(problem)])))[:, -1]
        for position in range(1, model.n_thoughts + 1):
            put = puts.get(position)
            state = step(model.projection(state)[:, None])[:, -1]
            put = None
        ids = torch.tensor([[model.config.eot_id, *force[:-1]]])
        logits = model.hf.lm_head(step(table(ids)))[0]
    handle.remove()
    return float(logits.log_softmax(-1).gather(1, torch.tensor(force)[:, None]).sum())


@pytest.mark.parametrize("later", ["mean", "clean"])
def test_log_probabilities_are_those_of_a_plain_loop(
    model: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, later: str
) -> None:
    sae, some, edit = sae_at(model, SITE), problems[:9:3], Ablate((4, 9, 20))
    result = FeatureInterventionEngine(model, {SITE: sae}, later=later).run(edit, some, controls=None)
    there, moved = model.think(some, capture=LATER), []
    for i, problem in enumerate(some):

        def hold(site: Site, row: int = i) -> Callable[[Tensor], Tensor]:
            values = there.at(site).values
            kept = values.mean(0) if later == "mean" else values[row]
            return lambda x: kept.expand_as(x)

        held = {site.position: hold(site) for site in LATER}
        # the answer that is followed is the baseline's
        with model.hooks({site: lambda x, context, put=held[site.position]: put(x) for site in LATER}):
            (answer,) = model.answer(problem)
        force = answer.ids if len(answer.ids) == model.config.max_new_tokens else (*answer.ids, model.config.eos_id)
        edited = {3: lambda x: x + (sae.decode(edit.edit(latents := sae.encode(x[0]).dense())) - sae.decode(latents))}
        before, after = (plain_logprob(model, problem, puts, force) for puts in (held, {**held, **edited}))
        assert result.outcomes["clean"][i].answer_logprob == pytest.approx(before, abs=1e-4)
        assert result.outcomes["intervened"][i].answer_logprob == pytest.approx(after, abs=1e-4)
        moved.append(abs(before - after))
    assert max(moved) > 1e-3


SITES = {SITE: Ablate((4, 9)), Site(2, 4): Amplify(4, 3.0)}
CASES: list[tuple[Any, dict[str, Any]]] = [
    (Ablate((4, 9, 20)), {"memory_budget": 0}),
    (InterchangeResidual((1, 2, 0)), {}),
    *((AtSites(SITES), {"propagate": path}) for path in ("cache", "recurrence")),
    (AtSites({SITE: Ablate((4, 9)), Site(1, 5): Clamp(2, low=1.0)}), {}),
    *((Swap(4, 9), {"splice": "replace", "propagate": path}) for path in ("cache", "recurrence")),
]


@pytest.mark.parametrize("later", ["mean", "clean"])
def test_the_fast_path_is_the_naive_one_on_every_combination(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, later: str
) -> None:
    some = problems[:9:3]  # of one length, and so in one batch
    saes = {site: sae_at(llama, site) for site in (SITE, Site(2, 4), Site(1, 5))}
    passes = CleanPasses()
    for edit, settings in CASES:
        sites = edit.sites if isinstance(edit, AtSites) else (SITE,)
        found = []
        for method in ("suffix", "naive"):
            engine = FeatureInterventionEngine(llama, saes, later=later, method=method, **settings)
            engine.share(passes)
            context = engine.site_context(some, SITE, edited=sites)
            plan = engine.plan(context, edit)
            (scores,) = engine.score(context, [plan])
            found.append(scores)
        fast, slow = found
        assert fast.answers == slow.answers
        assert torch.allclose(fast.logprobs, slow.logprobs, atol=1e-4)
        assert not torch.allclose(fast.logprobs, context.clean.logprobs[plan.rows], atol=1e-3), (edit, settings)


def test_what_an_edit_leaves_alone_is_the_baseline_bit_for_bit(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    sae, edit = sae_at(llama, SITE), Ablate(4)
    problems = problems[::3]
    result = FeatureInterventionEngine(llama, {SITE: sae}, later="mean").run(edit, problems, controls=None)
    touched = [outcome.touched for outcome in result.outcomes["intervened"]]
    fires = (sae.encode(llama.think(problems, capture=[SITE]).at(SITE).values).dense()[:, 4] != 0).tolist()
    assert touched == fires
    assert 0 < sum(touched) < len(problems)
    # the law of exact skipping, held against a run that skips nothing: hooks on the whole model, for every problem
    means = {site: llama.think(problems, capture=[site]).at(site).values.mean(0) for site in LATER}
    table = {site: lambda x, context, mean=mean: mean.expand_as(x) for site, mean in means.items()}

    def ablate(x: Tensor, context: Any) -> Tensor:
        latents = sae.encode(x).dense()
        return x + sae.decode(edit.edit(latents)) - sae.decode(latents)

    with llama.hooks(table):
        before = llama.answer(problems)
    with llama.hooks({**table, SITE: ablate}):
        after = llama.answer(problems)
    assert [one.answer for one in result.outcomes["clean"]] == [one.answer for one in before]
    assert [one.answer for one in result.outcomes["intervened"]] == [one.answer for one in after]
    same = [a == b for a, b in zip(result.outcomes["clean"], result.outcomes["intervened"], strict=True)]
    assert all(equal or hit for equal, hit in zip(same, touched, strict=True))


@pytest.fixture(scope="module")
def planted() -> CodiModel:
    return planted_model()


def run_planted(model: CodiModel, later: str, edit: Any = SILENCE, **settings: Any) -> Result:
    """The sign taken out of one of the two places that hold it."""
    with model.hooks(telling()):
        engine = FeatureInterventionEngine(model, {PLACE: sign_sae(model)}, later=later, **settings)
        return engine.run(edit, planted_problems(), controls=None)


def test_a_place_that_has_a_stand_in_does_nothing_alone_and_everything_where_that_is_silent(planted: CodiModel) -> None:
    free, silent, clean = (run_planted(planted, later) for later in ("free", "mean", "clean"))
    assert [result.arms["clean"].accuracy for result in (free, silent, clean)] == [1.0, 1.0, 1.0]
    assert (free.effect.n_broken, free.effect.n_touched) == (0, 20)
    assert (silent.effect.n_broken, silent.effect.estimate) == (20, -1.0)
    # the stand-in has the sign by itself, not from the place: at its clean value it still says it
    assert clean.effect.n_broken == 0
    # the record, the document and the verdict say under which condition
    assert [result.experiment.later for result in (free, silent, clean)] == ["free", "mean", "clean"]
    assert silent.to_dict()["experiment"]["later"] == "mean"
    words = "Given that later positions say nothing (L0.P4 to L0.P6 held at their means over the problems):"
    assert silent.effect.verdict.startswith(f"{words} The intervention hurts")
    assert free.effect.condition == ""
    assert free.effect.verdict.startswith("Unresolved")
    assert silent.arms["undisturbed"].n_correct == 20
    assert "undisturbed" not in free.arms
    assert any("right on 20 of 20, the undisturbed model on 20" in note for note in silent.notes)


def test_the_baseline_is_the_silent_model_and_not_the_clean_one(planted: CodiModel) -> None:
    # only the stand-in holds the sign: silent, there is no answer to lose, though the undisturbed model has them all
    with planted.hooks(telling(Site(0, 4))):
        engine = FeatureInterventionEngine(planted, {PLACE: sign_sae(planted)}, later="mean")
        result = engine.run(Ablate(3), planted_problems(), controls=None)
    assert result.arms["undisturbed"].accuracy == 1.0
    assert result.arms["clean"].accuracy == 0.0
    assert (result.effect.n_broken, result.effect.n_touched > 0) == (0, True)


def test_a_screen_and_the_paths_know_the_condition(planted: CodiModel) -> None:
    screened = {}
    for later in ("free", "mean"):
        with planted.hooks(telling()):
            engine = FeatureInterventionEngine(planted, {PLACE: sign_sae(planted)}, later=later)
            plan = SelectionPlan(confirm=NONE)
            screened[later] = run_screen(engine, planted_problems(), selection=plan)
            ordered = attribute(engine, engine.site_context(planted_problems()))
            by_path = split_effect(engine, SILENCE, planted_problems())
    assert [row.n_broken for row in screened["free"].rows] == [0, 0, 0, 0]
    assert [row.n_broken for row in screened["mean"].rows] == [10, 10, 0, 0]
    assert (screened["free"].later, screened["mean"].later) == ("free", "mean")
    # the gradient is taken with the later positions silent, too
    assert float(ordered.absolute[0]) > 0
    assert by_path.both.condition.startswith("Given that later positions say nothing")
    assert by_path.both.n_broken == 20


def test_engines_that_share_a_pass_do_not_share_a_baseline(planted: CodiModel) -> None:
    passes, found = CleanPasses(), {}
    with planted.hooks(telling()):
        for later in ("mean", "clean", "mean", "free"):
            engine = FeatureInterventionEngine(planted, {PLACE: sign_sae(planted)}, later=later)
            engine.share(passes)
            found.setdefault(later, []).append(engine.run(SILENCE, planted_problems(), controls=None))
    broken = {later: [result.effect.n_broken for result in results] for later, results in found.items()}
    assert broken == {"mean": [20, 20], "clean": [0], "free": [0]}
    assert found["mean"][0].outcomes == found["mean"][1].outcomes


def test_at_the_last_position_there_is_nothing_to_hold_and_a_note_says_so(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    site = Site(1, 6)
    found = {
        later: FeatureInterventionEngine(llama, {site: sae_at(llama, site)}, later=later).run(
            Ablate((4, 9)), problems[:9:3], controls=None
        )
        for later in ("free", "mean")
    }
    assert found["free"].outcomes == found["mean"].outcomes
    assert found["mean"].effect.condition == ""
    note = "Nothing later reads a position of this layer behind L1.P6: later=mean has nothing to hold"
    assert [one for one in found["mean"].notes if one not in found["free"].notes] == [f"{note} and changes nothing."]


def test_which_positions_are_held(llama: CodiModel) -> None:
    def held(*sites: str) -> list[str]:
        return [str(site) for site in hold_after(llama, [Site.parse(site) for site in sites], "mean").sites]

    assert held("L1.P3") == ["L1.P4", "L1.P5", "L1.P6"]
    # behind the last edited position of each layer
    assert held("L1.P3", "L1.P5", "L2.P4") == ["L1.P6", "L2.P5", "L2.P6"]
    # nothing reads the last layer of the last position, nor the thought that it makes
    assert held("L3.P4") == ["L3.P5"]
    assert held("P4.thought") == ["P5.thought"]
    assert hold_after(llama, [SITE], "free").sites == ()
    words = hold_after(llama, [Site(1, 3), Site(2, 5)], "clean").words
    assert words == "L1.P4 to L1.P6, L2.P6 held at their clean values"
    assert hold_after(llama, [Site(1, 5)], "mean").words == "L1.P6 held at its mean over the problems"


def test_what_cannot_be_is_refused(llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker) -> None:
    with pytest.raises(ConfigError, match="later='none' does not exist"):
        FeatureInterventionEngine(llama, {SITE: None}, later="none")
    saes = {site: sae_at(llama, site) for site in (SITE, Site(2, 3))}
    engine = FeatureInterventionEngine(llama, saes, later="mean")
    with pytest.raises(ConfigError, match="a baseline of its own"):
        run_screen(engine, problems[:6])


def test_users_hooks_of_a_later_layer_act_in_the_position_that_is_edited(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    sae, found = sae_at(llama, SITE), []
    for method in ("suffix", "naive"):
        with llama.hooks({Site(2, 3): lambda x, context: 0.5 * x}):
            engine = FeatureInterventionEngine(llama, {SITE: sae}, method=method)
            found.append(engine.run(Ablate((4, 9, 20)), problems[:9:3], controls=None))
    fast, slow = ([one.answer_logprob for one in result.outcomes["intervened"]] for result in found)
    assert fast == pytest.approx(slow, abs=1e-4)
    with llama.hooks({Site(2, 3): lambda x, context: 0.5 * x}, propagate="cache"):
        engine = FeatureInterventionEngine(llama, {SITE: sae})
        with pytest.raises(HookError, match="acts by one path only"):
            engine.run(Ablate((4, 9, 20)), problems[:9:3], controls=None)
