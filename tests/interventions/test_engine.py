"""The engine against plain Hugging Face loops and hooks on the whole model; what it reports and what it refuses."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from codi_int.errors import CodiError, ConfigError, DataError, FeatureError, HookError, SAEError, SiteError
from codi_int.interventions.edits.basic import Ablate, Amplify, Edit, Swap
from codi_int.interventions.engine.clean import CleanPasses
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.screen import run_screen
from codi_int.interventions.screens.sides import SelectionPlan
from codi_int.model.hooked import CodiModel
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem, Result, Site

SITE = Site(2, 3)
EDITS = [Ablate(4), Ablate((4, 9, 20)), Ablate(7, mode="mean"), Amplify(4, 5.0), Amplify(9, -3.0), Swap(4, 9)]
SaeMaker = Callable[[CodiModel, Site], TopKSAE]


@dataclass(frozen=True)
class Halved:
    """A user's own edit: nothing but a label and a method, and it works in place."""

    label: str = "halve everything"

    def edit(self, latents: Tensor) -> Tensor:
        latents *= 0.5
        return latents


def difference(sae: TopKSAE, edit: Edit, resid: Tensor) -> Tensor:
    """decode(edit(f)) - decode(f), written out."""
    latents = sae.encode(resid).dense()
    return sae.decode(edit.edit(latents.clone())) - sae.decode(latents)


@contextmanager
def changed_layer(
    model: CodiModel, layer: int, switch: dict[str, bool], fn: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """A torch hook on a Hugging Face block that acts while `switch["on"]`."""
    blocks = model.hf.model.layers if model.hf.config.model_type == "llama" else model.hf.transformer.h

    def hook(module: Any, inputs: Any, output: Tensor) -> Tensor | None:
        return fn(output) if switch["on"] else None

    handle = blocks[layer].register_forward_hook(hook)
    yield
    handle.remove()


def plain_loop(
    model: CodiModel, problem: Problem, fn: Callable[[Tensor], Tensor], site: Site, force: tuple[int, ...]
) -> tuple[list[int], float, float]:
    """One problem by Hugging Face alone, with the block's output changed: greedy ids, and of `force` log-probability
    and margin."""
    body = model.hf.model if model.hf.config.model_type == "llama" else model.hf.transformer
    table, cache, switch = body.get_input_embeddings(), DynamicCache(), {"on": False}

    def step(x: Tensor) -> Tensor:
        return body(inputs_embeds=x, past_key_values=cache, use_cache=True).last_hidden_state

    with torch.no_grad(), changed_layer(model, site.layer or 0, switch, fn):
        state = step(table(torch.tensor([model.encode_question(problem)])))[:, -1]
        for position in range(1, model.n_thoughts + 1):
            switch["on"] = position == site.position
            state = step(model.projection(state)[:, None])[:, -1]
            switch["on"] = False
        ids: list[int] = []
        logits = model.hf.lm_head(step(table(torch.tensor([[model.config.eot_id]]))))[0, -1]
        total, margins = 0.0, []
        for forced in force:
            total += float(logits.log_softmax(-1)[forced])
            margins.append(float(logits[forced] - torch.cat([logits[:forced], logits[forced + 1 :]]).max()))
            logits = model.hf.lm_head(step(table(torch.tensor([[forced]]))))[0, -1]
        cache.crop(-len(force) - 1)
        token = model.config.eot_id
        while len(ids) < model.config.max_new_tokens:
            token = int(model.hf.lm_head(step(table(torch.tensor([[token]]))))[0, -1].argmax())
            if token == model.config.eos_id:
                break
            ids.append(token)
    return ids, total, min(margins)


@pytest.mark.parametrize("edit", [Ablate(4), Amplify(4, 8.0), Swap(4, 9)], ids=lambda e: e.label)
def test_answers_and_logprobs_are_those_of_a_plain_loop(
    model: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, edit: Edit
) -> None:
    sae, some = sae_at(model, SITE), problems[:10]
    result = FeatureInterventionEngine(model, {SITE: sae}).run(edit, some, controls=0)
    clean = model.answer(some)
    eos = model.config.eos_id
    for problem, before, outcome in zip(some, clean, result.outcomes["intervened"], strict=True):
        ended = len(before.ids) < model.config.max_new_tokens
        force = (*before.ids, eos) if ended and eos is not None else before.ids
        ids, total, margin = plain_loop(
            model, problem, lambda x: x + difference(sae, edit, x[:, -1])[:, None], SITE, force
        )
        assert outcome.answer_logprob == pytest.approx(total, abs=1e-4)
        assert outcome.answer_margin == pytest.approx(margin, abs=1e-3)
        assert outcome.answer == answer_of(model, ids)
    assert any(outcome.answer != c.answer for outcome, c in zip(result.outcomes["intervened"], clean, strict=True))


def answer_of(model: CodiModel, ids: list[int]) -> int | None:
    """The last number among some story tokens: one token is one number."""
    words = model.tokenizer.convert_ids_to_tokens(ids)
    return next((int(word) for word in reversed(words) if word.isdigit()), None)


WAYS = [(edit, "add", "both") for edit in (*EDITS, Halved())] + [
    (Amplify(4, 5.0), splice, path) for splice in ("add", "replace") for path in ("cache", "recurrence")
]


@pytest.mark.parametrize(("edit", "splice", "propagate"), [*WAYS, (Ablate(4), "replace", "both")])
def test_every_answer_is_that_of_a_hook_on_the_whole_model(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, edit: Edit, splice: Any, propagate: Any
) -> None:
    sae = sae_at(llama, SITE)
    engine = FeatureInterventionEngine(llama, {SITE: sae}, splice=splice, propagate=propagate, max_rows=7)
    result = engine.run(edit, problems, controls=0)
    resid = llama.think(problems, capture=[SITE]).at(SITE).values
    latents = sae.encode(resid).dense()
    change = difference(sae, edit, resid) if splice == "add" else sae.decode(edit.edit(latents)) - resid
    rows = {problem.id: i for i, problem in enumerate(problems)}

    def hook(x: Tensor, context: Any) -> Tensor:
        return x + change[[rows[name] for name in context.problem_ids]]

    with llama.hooks({SITE: hook}, propagate=propagate):
        answers = llama.answer(problems)
    intervened, clean = ([o.answer for o in result.outcomes[name]] for name in ("intervened", "clean"))
    assert intervened == [c.answer for c in answers]
    assert intervened != clean


@pytest.mark.parametrize(
    "site",
    [
        Site(1, 0),
        Site(3, 2),
        Site(2, 6),
        Site(0, 5, "resid_pre"),
        Site(2, 2, "resid_mid"),
        Site(1, 3, "attn_out"),
        Site(2, 4, "mlp_out"),
        Site(1, 5, "head:3"),
        Site(None, 2, "thought"),
        Site(None, 5, "final_norm"),
        Site(None, 0, "thought"),
    ],
    ids=str,
)
def test_every_component_can_be_a_site(
    model: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, site: Site
) -> None:
    sae, edit, some = sae_at(model, site), Halved(), problems[:10]
    result = FeatureInterventionEngine(model, {site: sae}).run(edit, some)
    with model.hooks({site: lambda x, _: x + difference(sae, edit, x)}):
        answers = model.answer(some)
    assert [outcome.answer for outcome in result.outcomes["intervened"]] == [c.answer for c in answers]
    assert result.effect.n_answer_changed


def test_the_naive_method_is_the_same_engine_and_agrees(
    model: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    sae = sae_at(model, SITE)
    fast = FeatureInterventionEngine(model, {SITE: sae}).run(Ablate(4), problems, controls=4)
    slow = FeatureInterventionEngine(model, {SITE: sae}, method="naive").run(Ablate(4), problems, controls=4)
    for arm in ("reconstructed", "intervened"):
        pairs = list(zip(fast.outcomes[arm], slow.outcomes[arm], strict=True))
        assert [a.answer for a, _ in pairs] == [b.answer for _, b in pairs]
        assert max(abs(a.answer_logprob - b.answer_logprob) for a, b in pairs) < 1e-4
        assert max(abs(a.answer_margin - b.answer_margin) for a, b in pairs) < 1e-3
    assert fast.controls["random_features"].estimates == slow.controls["random_features"].estimates
    assert fast.counts.rerun < fast.counts.suffix_rows / 10


def test_reconstruction_is_what_the_sae_alone_does(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    sae = sae_at(llama, SITE)
    result = FeatureInterventionEngine(llama, {SITE: sae}).run(Ablate(4), problems, controls=0)
    with llama.hooks({SITE: lambda x, _: sae(x)}):
        answers = llama.answer(problems)
    assert [outcome.answer for outcome in result.outcomes["reconstructed"]] == [c.answer for c in answers]


def test_codi_mini_agrees_with_a_hook_on_every_answer(
    mini: tuple[CodiModel, TopKSAE], problems: tuple[Problem, ...]
) -> None:
    model, sae = mini
    site, some = Site(14, 3), problems
    result = FeatureInterventionEngine(model, {site: sae}).run(Amplify(449, 5.0), some, controls=0)
    with model.hooks({site: lambda x, _: x + difference(sae, Amplify(449, 5.0), x)}):
        answers = model.answer(some)
    assert [outcome.answer for outcome in result.outcomes["intervened"]] == [c.answer for c in answers]


def test_rows_that_are_too_close_to_call_run_again(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions.engine import suffix

    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})
    fast = engine.run(Ablate(4), problems, controls=0)
    monkeypatch.setitem(suffix.MARGIN_TOLERANCE, torch.float32, 0.5)
    # what the first engine scored it remembers
    careful = FeatureInterventionEngine(llama, engine.saes).run(Ablate(4), problems, controls=0)
    assert careful.counts.rerun > fast.counts.rerun
    assert [o.answer for o in careful.outcomes["intervened"]] == [o.answer for o in fast.outcomes["intervened"]]


def half_right(model: CodiModel, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The same problems, with the model's own answer as the truth on two of three."""
    answers = model.answer(problems)
    return tuple(
        replace(problem, answer=c.answer) if c.answer is not None and i % 3 else problem
        for i, (problem, c) in enumerate(zip(problems, answers, strict=True))
    )


@pytest.fixture(scope="module")
def result(llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker) -> Result:
    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})
    return engine.run(Amplify(4, 6.0), half_right(llama, problems), seed=3, controls=5, data="some stories")


def test_untouched_problems_are_the_clean_ones_and_cost_nothing(result: Result) -> None:
    clean, after = result.outcomes["clean"], result.outcomes["intervened"]
    assert all(a == b for a, b in zip(clean, after, strict=True) if not b.touched)
    assert 0 < sum(b.touched for b in after) == result.effect.n_touched < len(after)
    assert result.counts.pairs == 7 * 24 == result.counts.skipped + result.counts.suffix_rows


def test_the_effect_is_that_of_the_outcomes(result: Result) -> None:
    clean, after = result.outcomes["clean"], result.outcomes["intervened"]
    broken = sum(a.correct and not b.correct for a, b in zip(clean, after, strict=True))
    assert result.effect.n_broken == broken > 0
    assert result.arms["clean"].n_correct == sum(a.correct for a in clean)
    expected = result.arms["intervened"].accuracy - result.arms["clean"].accuracy
    assert result.effect.estimate == pytest.approx(expected)
    changes = [b.answer_logprob - a.answer_logprob for a, b in zip(clean, after, strict=True)]
    assert result.effect.logprob is not None
    assert result.effect.logprob.estimate == pytest.approx(sum(changes) / len(changes), abs=1e-5)
    margins = [b.answer_margin - a.answer_margin for a, b in zip(clean, after, strict=True)]
    chances = [math.exp(b.answer_logprob) - math.exp(a.answer_logprob) for a, b in zip(clean, after, strict=True)]
    assert result.effect.margin.estimate == pytest.approx(sum(margins) / len(margins), abs=1e-3)
    assert result.effect.probability.estimate == pytest.approx(sum(chances) / len(chances), abs=1e-6)
    assert result.effect.probability.low < result.effect.probability.estimate < result.effect.probability.high


def test_random_directions_are_a_second_kind_of_control(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})
    found = engine.run(Halved(), problems, controls=Controls(3, directions=4))
    assert set(found.controls) == {"random_directions"}
    assert found.controls["random_directions"].draws == 4
    assert any("moved_to" in note for note in found.notes)
    both = engine.run(Ablate(4), problems, controls=Controls(3, directions=4)).controls
    assert [both[name].draws for name in ("random_features", "random_directions")] == [3, 4]


def test_operations_are_counted_by_the_written_steps(result: Result, problems: tuple[Problem, ...]) -> None:
    for row in result.by_operation:
        members = [any(step.operation == row.operation for step in problem.steps) for problem in problems]
        pairs = zip(members, result.outcomes["clean"], result.outcomes["intervened"], strict=True)
        flips = [b.correct - a.correct for member, a, b in pairs if member]
        assert (row.n, row.estimate) == (sum(members), pytest.approx(sum(flips) / len(flips)))
        assert row.p_adjusted is not None
        assert row.p_value is not None
        assert row.p_adjusted >= row.p_value


def test_json_has_the_contracts_fields(result: Result) -> None:
    document = json.loads(result.to_json())
    assert document["schema"] == "codi-int/result@2"
    assert (
        document["experiment"]
        | {
            "kind": "amplify",
            "features": [4],
            "site": {"layer": 2, "position": 3, "component": "resid_post"},
            "mode": None,
            "factor": 6.0,
            "splice": "add",
            "propagate": "both",
            "model": "random-llama",
            "sae": "random-llama/L2.P3",
            "data": "some stories",
            "n_problems": 24,
            "seed": 3,
        }
        == document["experiment"]
    )
    assert set(document["arms"]) == {"clean", "reconstructed", "intervened"}
    assert set(document["effect"]) == {
        "estimate",
        "low",
        "high",
        "condition",
        "confidence",
        "p_value",
        "method",
        "n",
        "n_touched",
        "n_broken",
        "n_fixed",
        "n_answer_changed",
        "logprob",
        "minimum_detectable",
        "verdict",
        "conclusion",
        "bound",
        "p_equivalence",
        "largest_possible",
        "largest_in_population",
        "probability",
        "margin",
        "n_effective",
        "share_of_largest",
        "n_clusters",
        "design_effect",
        "symmetry",
        "testable",
    }
    assert document["effect"]["conclusion"] in ("changed", "equivalent", "untested", "unresolved")
    assert document["effect"]["bound"] == 0.005
    mean = {"estimate", "low", "high", "p_value", "method"}
    assert all(set(document["effect"][name]) == mean for name in ("logprob", "margin", "probability"))
    assert set(document["by_operation"][0]["contrast"]) == {*mean, "p_adjusted"}
    assert sum(row["n"] for row in document["by_steps"]) == 24
    group = document["controls"]["random_features"]
    assert group["p_value"] in [i / 6 for i in range(1, 7)]
    assert group["difference"]["low"] <= group["difference"]["estimate"] <= group["difference"]["high"]
    assert set(group["matched"]) == {"touched", "touched_median", "edit_size", "edit_size_median"}
    assert len(document["controls"]["random_features"]["estimates"]) == 5
    assert len(document["environment"]["model_sha256"]) == 64
    assert "outcomes" not in document


def test_same_seed_same_result(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, result: Result
) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})
    some = half_right(llama, problems)
    again = [engine.run(Amplify(4, 6.0), some, seed=3, controls=5, data="some stories") for _ in range(2)][1]
    seconds = {"environment": replace(result.environment, seconds=0.0)}
    assert replace(again, **seconds) == replace(result, **seconds)


def test_the_clean_pass_runs_once(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})
    first = engine.run(Ablate(4), problems, controls=0)
    monkeypatch.setattr(llama, "prefill", lambda *_, **__: pytest.fail("the questions were read again"))
    monkeypatch.setattr("codi_int.interventions.engine.suffix.MARGIN_TOLERANCE", {torch.float32: 0.0})
    assert engine.run(Ablate(4), problems, controls=0).effect == first.effect


def test_engines_may_share_a_clean_pass(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, elsewhere = Site(1, 2), Site(1, 4)
    saes = {site: sae_at(llama, site) for site in (SITE, other, elsewhere)}
    want = FeatureInterventionEngine(llama, {other: saes[other]}).run(Ablate(4), problems, controls=2)
    passes = CleanPasses([other])
    first = FeatureInterventionEngine(llama, {SITE: saes[SITE]})
    first.share(passes)
    first.run(Ablate(4), problems, controls=0)
    read: list[int] = []
    plain = llama.prefill
    monkeypatch.setattr(llama, "prefill", lambda *given, **named: read.append(1) or plain(*given, **named))
    monkeypatch.setattr("codi_int.interventions.engine.suffix.MARGIN_TOLERANCE", {torch.float32: 0.0})
    second = FeatureInterventionEngine(llama, {other: saes[other]})
    second.share(passes)
    got = second.run(Ablate(4), problems, controls=2)
    assert (read, got.outcomes, got.effect) == ([], want.outcomes, want.effect)
    # a site that the pass did not capture needs a new one
    third = FeatureInterventionEngine(llama, {elsewhere: saes[elsewhere]})
    third.share(passes)
    third.run(Ablate(4), problems, controls=0)
    assert read


def test_a_reconstruction_is_remembered_by_what_it_does(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = sae_at(llama, SITE)
    engine = FeatureInterventionEngine(llama, {SITE: sae})
    first = engine.run(Ablate(4), problems, controls=0)
    scored: list[str] = []
    plain = FeatureInterventionEngine.score

    def counted(self: FeatureInterventionEngine, context: Any, plans: Any, progress: Any = None) -> Any:
        scored.extend(plan.label for plan in plans)
        return plain(self, context, plans, progress)

    monkeypatch.setattr(FeatureInterventionEngine, "score", counted)
    again = engine.run(Ablate(4), problems, controls=0)
    assert scored == []
    assert again.outcomes == first.outcomes
    sae.b_dec.data += 3.0
    changed = engine.run(Ablate(4), problems, controls=0)
    # the reconstruction is another one, and what the feature adds is not
    assert scored == ["reconstructed"]
    assert changed.outcomes["reconstructed"] != first.outcomes["reconstructed"]
    fresh = FeatureInterventionEngine(llama, {SITE: sae}).run(Ablate(4), problems, controls=0)
    assert changed.outcomes == fresh.outcomes


def test_without_memory_the_clean_pass_is_made_again_and_nothing_changes(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, result: Result
) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)}, memory_budget=0)
    frugal = engine.run(Amplify(4, 6.0), half_right(llama, problems), seed=3, controls=5)
    for name, outcomes in result.outcomes.items():
        again = frugal.outcomes[name]
        assert [(o.answer, o.correct, o.touched) for o in again] == [(o.answer, o.correct, o.touched) for o in outcomes]
        # batches that are not kept share no chunks, and another shape rounds in another way
        found = [o.answer_logprob for o in again]
        assert found == pytest.approx([o.answer_logprob for o in outcomes], abs=3e-5)


def test_a_dead_feature_is_an_answer(llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker) -> None:
    sae = sae_at(llama, SITE)
    fired = sae.encode(llama.think(problems, capture=[SITE]).at(SITE).values).dense().any(0)
    sae.W_enc.data[:, 5] = 0.0
    dead = 5 if fired.all() else int((~fired).nonzero()[0])
    result = FeatureInterventionEngine(llama, {SITE: sae}).run(Ablate(dead), problems)
    assert "dead here: nothing to ablate" in result.effect.verdict
    assert result.effect.p_value is None
    assert (result.effect.n_touched, result.effect.n_answer_changed) == (0, 0)
    assert result.arms["clean"] == result.arms["intervened"]
    assert json.loads(result.to_json())["effect"]["p_value"] is None


def other_sae(model: CodiModel, **known: Any) -> TopKSAE:
    sae = TopKSAE(SAEConfig(d_in=known.pop("d_in", model.d_model), d_sae=8, k=2))
    sae.annotate(**known)
    return sae


@pytest.mark.parametrize(
    ("start", "error", "says"),
    [
        (lambda m: {}, ConfigError, "no SAE"),
        (lambda m: {Site(4, 3): other_sae(m)}, SiteError, "Layer 4 does not exist"),
        (lambda m: {Site(2, 7): other_sae(m)}, SiteError, "Position 7 does not exist"),
        (lambda m: {SITE: other_sae(m, site=Site(1, 3))}, SAEError, "trained at L1.P3, not at L2.P3"),
        (lambda m: {SITE: other_sae(m, d_in=10)}, SAEError, "width 10"),
        (lambda m: {SITE: other_sae(m, model_sha256="0" * 64)}, SAEError, "belongs to model"),
        (lambda m: {Site(3, 6): other_sae(m)}, ConfigError, "cannot reach the answer"),
        (lambda m: {Site(None, 6, "thought"): other_sae(m)}, ConfigError, "cannot reach the answer"),
    ],
)
def test_an_engine_that_cannot_work_is_refused(
    llama: CodiModel, start: Callable[[CodiModel], dict[Site, TopKSAE]], error: type[CodiError], says: str
) -> None:
    with pytest.raises(error, match=says):
        FeatureInterventionEngine(llama, start(llama))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"splice": "overwrite"}, "add, replace"),
        ({"method": "magic"}, "suffix, naive"),
        ({"propagate": "none"}, "both, cache, recurrence"),
        ({"max_rows": 0}, "no room for a single row"),
    ],
)
def test_options_that_do_not_exist_are_refused(
    llama: CodiModel, sae_at: SaeMaker, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)}, **options)


@dataclass(frozen=True)
class Narrowed:
    label: str = "narrow"

    def edit(self, latents: Tensor) -> Tensor:
        return latents[:, :3]


@pytest.mark.parametrize(
    ("edit", "error", "says"),
    [
        (Ablate(32), FeatureError, "Feature 32 does not exist: this SAE has features 0 to 31"),
        (Amplify(4, 1e39), ConfigError, "overflows"),
        (Narrowed(), HookError, "returned \\(24, 3\\) instead of latents"),
        (object(), HookError, "has a label and a method"),
    ],
)
def test_edits_that_cannot_work_are_refused(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, edit: Any, error: type[CodiError], says: str
) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})
    with pytest.raises(error, match=says):
        engine.run(edit, problems)


def test_problem_lists_that_cannot_work_are_refused(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})
    with pytest.raises(DataError, match="no problems"):
        engine.run(Ablate(4), [])
    with pytest.raises(DataError, match="Two problems have the id"):
        engine.run(Ablate(4), [problems[0], problems[0]])


def test_a_replacing_run_says_what_its_effect_is_against(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    saes = {SITE: sae_at(llama, SITE)}
    notes = {
        splice: FeatureInterventionEngine(llama, saes, splice=splice).run(Ablate(4), problems, controls=None).notes
        for splice in ("add", "replace")
    }
    assert any(
        note.startswith("splice=replace: the effect is against the reconstructed arm") for note in notes["replace"]
    )
    assert not any("splice" in note for note in notes["add"])


def test_a_replacing_run_does_not_book_what_the_reconstruction_costs_to_the_feature(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker
) -> None:
    """It is measured against the reconstructed arm, and touched is what it changed; by hand from the outcomes."""
    engine = FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)}, splice="replace")
    result = engine.run(Ablate(4), problems, controls=2)
    clean, rebuilt, after = (result.outcomes[name] for name in ("clean", "reconstructed", "intervened"))
    touched = [o.touched for o in after]
    assert 0 < sum(touched) == result.effect.n_touched < len(problems)
    by_hand = [a.answer_logprob - b.answer_logprob for a, b, t in zip(after, rebuilt, touched, strict=True) if t]
    assert result.effect.logprob is not None
    assert result.effect.logprob.estimate == pytest.approx(sum(by_hand) / len(problems), abs=1e-9)
    cost = sum(b.answer_logprob - c.answer_logprob for b, c in zip(rebuilt, clean, strict=True)) / len(problems)
    assert abs(cost) > 1e-4  # there is something that could have been booked to it
    # a screen measures the same, and so does a control
    row = run_screen(engine, problems, features=[4], selection=SelectionPlan(confirm="none")).rows[0]
    assert (row.n_touched, row.estimate) == (result.effect.n_touched, result.effect.estimate)
    assert row.logprob == pytest.approx(result.effect.logprob.estimate, abs=1e-6)
    control = result.controls["random_features"]
    lone = engine.run(Ablate(int(control.labels[0].split()[-1])), problems, controls=None).effect
    assert lone.logprob is not None
    assert control.logprob_estimates[0] == pytest.approx(lone.logprob.estimate, abs=1e-6)


def test_effect_minus_controls_is_the_difference_of_their_means(result: Result) -> None:
    group = result.controls["random_features"]
    assert group.difference is not None
    mean = sum(group.estimates) / group.draws
    assert group.difference.value == pytest.approx(result.effect.estimate - mean)
    as_strong = sum(abs(one) >= abs(result.effect.estimate) - 1e-12 for one in group.estimates)
    assert group.p_value == pytest.approx((1 + as_strong) / (1 + group.draws))
    assert group.matched is not None
    assert group.matched.touched == result.effect.n_touched
    n = result.effect.n
    assert group.matched.touched_median == pytest.approx(float(np.median(group.firing_rates)) * n, abs=1e-4)
    assert group.matched.edit_size_median == pytest.approx(float(np.median(group.edit_sizes)))
