"""The engine's results for edits of the residual and of several sites: arms, controls, records, and what it refuses."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from codi_int.errors import CodiError, ConfigError, FeatureError, HookError, SAEError, SiteError
from codi_int.interventions.edits.basic import Ablate, Amplify, Swap
from codi_int.interventions.edits.combined import AtSites, Together
from codi_int.interventions.edits.residual import InterchangeResidual, ReplaceByMean, SteerAlong
from codi_int.interventions.edits.values import Clamp, Interchange, Steer
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.suffix import SuffixRunner
from codi_int.interventions.engine.summary import ResultFamily, family_of, family_verdict
from codi_int.interventions.evidence.compare import compare_paired
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.verdicts import verdict_of
from codi_int.model.hooked import CodiModel
from codi_int.sae import TopKSAE
from codi_int.types import Problem, Result, Site

EARLY, LATE, THOUGHT = Site(1, 2), Site(2, 4), Site(None, 3, "thought")
SaeMaker = Callable[[CodiModel, Site], TopKSAE]
BOTH = AtSites({LATE: (Amplify(4, 3.0), Steer(6, 2.0)), EARLY: Ablate((4, 9))})
AWAY = tuple((i + 5) % 24 for i in range(24))


@pytest.fixture(scope="module")
def engine(llama: CodiModel, sae_at: SaeMaker) -> FeatureInterventionEngine:
    return FeatureInterventionEngine(llama, {LATE: sae_at(llama, LATE), THOUGHT: None, EARLY: sae_at(llama, EARLY)})


@pytest.fixture(scope="module")
def several(engine: FeatureInterventionEngine, problems: tuple[Problem, ...]) -> Result:
    return engine.run(BOTH, problems, seed=3, controls=Controls(4, directions=3))


def test_several_sites_are_one_experiment(several: Result) -> None:
    experiment = several.experiment
    assert (experiment.site, experiment.sites) == (EARLY, (EARLY, LATE))
    assert (experiment.kind, experiment.features) == ("several", (4, 9, 4, 6))
    assert (experiment.mode, experiment.factor) == (None, None)
    assert experiment.label == "ablate 4, 9 at L1.P2; amplify 4 x 3 and steer 6 by 2 at L2.P4"
    assert experiment.sae == "random-llama/L1.P2 + random-llama/L2.P4"
    assert [len(part) for part in several.environment.sae_sha256.split(",")] == [64, 64]
    document = json.loads(several.to_json())
    assert [site["position"] for site in document["experiment"]["sites"]] == [2, 4]
    assert any("Several sites" in note for note in several.notes)


def test_the_reconstructed_arm_passes_every_sites_sae(
    engine: FeatureInterventionEngine, several: Result, problems: tuple[Problem, ...]
) -> None:
    with engine.model.hooks({site: lambda x, c: engine.saes[c.site](x) for site in (EARLY, LATE)}):
        answers = engine.model.answer(problems)
    assert [outcome.answer for outcome in several.outcomes["reconstructed"]] == [c.answer for c in answers]


def test_controls_of_several_sites_move_the_edit_of_each(
    engine: FeatureInterventionEngine, several: Result, problems: tuple[Problem, ...]
) -> None:
    features, directions = several.controls["random_features"], several.controls["random_directions"]
    assert directions.draws == 3
    few = f"Only {features.draws} of 4 controls: the SAE has too few other features that are alive."
    assert (few in several.notes) == (features.draws < 4)
    assert all("L1.P2" in label and "L2.P4" in label for label in features.labels)
    assert "4, 9" not in " ".join(features.labels)
    context = engine.site_context(problems, EARLY)
    plan = engine.plan(context, BOTH)
    sizes = torch.cat([plan.delta, plan.changes[1].delta], 1).norm(dim=1)
    assert plan.edit_size == pytest.approx(float(sizes.mean()), rel=1e-5)
    assert directions.edit_sizes == pytest.approx([plan.edit_size] * 3, rel=1e-4)


def test_one_site_in_a_table_is_the_plain_edit(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    plain, table = (engine.run(e, problems, controls=2, site=LATE) for e in (Ablate(4), AtSites({LATE: Ablate(4)})))
    assert plain.outcomes == table.outcomes
    assert plain.controls == table.controls
    assert plain.experiment == table.experiment


def test_a_whole_thought_can_come_from_another_problem(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    result = engine.run(InterchangeResidual(AWAY), problems, controls=Controls(5, directions=2), site=THOUGHT)
    assert result.arms["reconstructed"] == result.arms["clean"]
    assert result.effect.n_answer_changed
    assert set(result.controls) == {"random_directions"}
    assert (result.experiment.kind, result.experiment.sae) == ("interchange_residual", "none")
    assert result.environment.sae_sha256 == ""
    assert json.loads(result.to_json())["experiment"]["site"]["layer"] is None
    said = " ".join(result.notes)
    assert "No SAE at P3.thought" in said
    assert "No random-feature controls" in said


def test_edits_with_parts_share_their_settings(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    result = engine.run(AtSites({EARLY: Ablate(4, "mean"), LATE: Ablate(9, "mean")}), problems, controls=0)
    assert (result.experiment.kind, result.experiment.mode) == ("ablate", "mean")
    # the random SAEs of both sites explain little, which is said of each, once
    assert [note.split(" explains")[0] for note in result.notes] == [
        "The SAE at L1.P2",
        "The SAE at L2.P4",
        "Several sites: at each, the edit gets what arrives there under the edits before it.",
    ]


def test_an_edit_that_changes_nothing_says_so_without_calling_the_feature_dead(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    result = engine.run(Clamp(4, low=-1e6), problems, controls=2, site=LATE)
    assert result.effect.verdict.startswith("The edit changes nothing here.")
    assert result.effect.p_value is None


def test_many_edits_are_single_runs_on_one_clean_pass(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = [Amplify(4, factor) for factor in (2.0, 5.0, -8.0)]
    alone = [engine.run(edit, problems, seed=1, controls=2, site=LATE) for edit in edits]
    monkeypatch.setattr("codi_int.interventions.engine.clean.run_clean", lambda *_: pytest.fail("a second clean pass"))
    results = engine.run_many(edits, problems, seed=1, controls=2, site=LATE)
    assert [r.outcomes for r in results] == [r.outcomes for r in alone]
    assert [r.effect for r in results] == [r.effect for r in alone]
    family = family_of(results)
    # each concludes as one of three: by its corrected p-value, and what it can detect is the family's
    for one, own, p in zip(family.results, alone, family.p_adjusted, strict=True):
        assert (one.effect.conclusion == "changed") == (p is not None and p < 0.05)
        few, many = own.effect.minimum_detectable, one.effect.minimum_detectable
        assert many is None or (few is not None and many >= few)
        assert replace(one.effect, conclusion=None, verdict="", minimum_detectable=None) == replace(
            own.effect, conclusion=None, verdict="", minimum_detectable=None
        )
    assert list(family.p_adjusted) == adjust([r.effect.p_value for r in alone])
    document = family.to_dict()
    assert document["schema"] == "codi-int/results@1"
    assert [r["experiment"]["factor"] for r in document["results"]] == [2.0, 5.0, -8.0]
    assert "of 3 edits" in family_verdict(family)


def test_a_step_aside_from_memory_changes_nothing(
    llama: CodiModel, sae_at: SaeMaker, problems: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that holds three rows gives what a large one gives; one that holds none says so."""

    def run() -> Result:
        # an engine for each, for one remembers what it has scored
        engine = FeatureInterventionEngine(llama, {LATE: sae_at(llama, LATE)}, max_rows=16)
        return engine.run(Amplify(4, 5.0), problems, controls=2)

    whole = run()
    room, sizes, verify = 3, [], SuffixRunner._verify

    def cramped(self: SuffixRunner, rollout: Any, state: Any, rows: torch.Tensor, *rest: Any) -> Any:
        if len(rows) > room:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")
        sizes.append(len(rows))
        return verify(self, rollout, state, rows, *rest)

    monkeypatch.setattr(SuffixRunner, "_verify", cramped)
    halved = run()
    assert max(sizes) <= room, "16, 8, 4, 2"
    assert [o.answer for o in halved.outcomes["intervened"]] == [o.answer for o in whole.outcomes["intervened"]]
    assert halved.effect.n_broken == whole.effect.n_broken
    room = 0
    with pytest.raises(ConfigError, match="does not hold a single row"):
        run()


def test_a_small_memory_budget_is_told(llama: CodiModel, sae_at: SaeMaker, problems: tuple[Problem, ...]) -> None:
    with pytest.raises(ConfigError, match="a single row of random-llama takes") as caught:
        FeatureInterventionEngine(llama, {LATE: sae_at(llama, LATE)}, memory_budget=1)
    needed = int(re.search(r"takes ([\d,]+)\.", str(caught.value)).group(1).replace(",", ""))
    # four shares; keys and values of so many layers, heads and numbers; four bytes; <bot>, thoughts, <eot>, answer
    assert needed == 4 * (2 * 4 * 2 * 6) * 4 * (6 + 3 + 6)
    assert len(str(caught.value).splitlines()) == 2
    engine = FeatureInterventionEngine(llama, {LATE: sae_at(llama, LATE)}, memory_budget=needed)
    assert engine.max_rows == 1
    result = engine.run(Ablate(4), problems, controls=0)
    assert any(f"keeps 0 of {len(llama.batches(problems))} batches" in note for note in result.notes)
    roomy = FeatureInterventionEngine(llama, {LATE: engine.saes[LATE]}).run(Ablate(4), problems, controls=0)
    assert not any("memory budget" in note for note in roomy.notes)
    for name, outcomes in roomy.outcomes.items():
        assert [o.answer for o in outcomes] == [o.answer for o in result.outcomes[name]]
        # a row at a time is another shape
        found = [o.answer_logprob for o in result.outcomes[name]]
        assert [o.answer_logprob for o in outcomes] == pytest.approx(found, abs=1e-4)


def test_an_interrupted_run_leaves_model_and_engine_as_they_were(
    engine: FeatureInterventionEngine, several: Result, problems: tuple[Problem, ...]
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "edited passes":
            raise KeyboardInterrupt

    engine = FeatureInterventionEngine(engine.model, engine.saes)  # the other one remembers what it has scored
    with pytest.raises(KeyboardInterrupt):
        engine.run(BOTH, problems, seed=3, controls=Controls(4, directions=3), progress=stop)
    assert engine.model.n_hooks == 0
    again = engine.run(BOTH, problems, seed=3, controls=Controls(4, directions=3))
    assert again.effect == several.effect
    assert again.outcomes == several.outcomes


def test_overflow_inside_the_model_is_reported(sae_at: SaeMaker, problems: tuple[Problem, ...]) -> None:
    """In half precision a finite edit can still be more than the model can hold."""
    model = half_precision()
    edit = SteerAlong(torch.ones(model.d_model), 6e4)
    engine = FeatureInterventionEngine(model, {Site(None, 2, "final_norm"): None})
    with pytest.raises(ConfigError, match="overflows inside the model: on 12 of 12 problems") as caught:
        engine.run(edit, problems[:12], controls=0)
    assert len(str(caught.value).splitlines()) == 2


def half_precision() -> CodiModel:
    """A random model in float16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from codi_int.data.story_tokenizer import build_tokenizer
    from codi_int.model.codi import CodiConfig, Projection

    tokenizer = build_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    hf = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
        )
    )
    config = CodiConfig(
        pad_id=ids("<pad>"),
        bot_id=ids("<bot>"),
        eot_id=ids("<eot>"),
        eos_id=ids("<eos>"),
        prj_dim=32,
        max_new_tokens=4,
        answer_rule="last",
        name="random-half",
    )
    return CodiModel(hf.half().eval().requires_grad_(False), Projection(24, 32).half(), config, tokenizer)


@pytest.mark.parametrize(
    ("edit", "options", "error", "says"),
    [
        (Ablate(4), {"site": THOUGHT}, SAEError, "no SAE at P3.thought, and 'ablate 4' edits latents"),
        (AtSites({EARLY: Ablate(4), THOUGHT: Swap(4, 5)}), {}, SAEError, "no SAE at P3.thought"),
        (AtSites({EARLY: Ablate(4), Site(3, 3): Ablate(4)}), {}, SiteError, "L1.P2, and it knows nothing of L3.P3"),
        (AtSites({EARLY: Ablate(4), LATE: Ablate(32)}), {}, FeatureError, "features 0 to 31"),
        (BOTH, {"site": LATE}, SiteError, "names its own sites and does not begin at L2.P4"),
        (Interchange(4, (1, 0)), {"site": LATE}, ConfigError, "got 2 for 24 problems"),
        (Interchange(4, (24,) * 24), {"site": LATE}, ConfigError, "Source 24 does not exist"),
        (InterchangeResidual((1, 0)), {"site": THOUGHT}, ConfigError, "got 2 for 24 problems"),
        (SteerAlong(torch.ones(7)), {"site": THOUGHT}, ConfigError, "width 7, the residual 24"),
        (SteerAlong(torch.ones(24), 1e25), {"site": THOUGHT}, ConfigError, "overflows"),
        (Amplify(4, 1e22), {"site": LATE}, ConfigError, "overflows"),
        (ReplaceByMean(), {}, SiteError, "none was named"),
        (Together((Ablate(4), Ablate(40))), {"site": LATE}, FeatureError, "Feature 40 does not exist"),
        (object(), {"site": THOUGHT}, HookError, "is no edit"),
    ],
)
def test_edits_that_cannot_work_here_are_refused(
    engine: FeatureInterventionEngine,
    problems: tuple[Problem, ...],
    edit: Any,
    options: dict[str, Any],
    error: type[CodiError],
    says: str,
) -> None:
    with pytest.raises(error, match=says) as caught:
        engine.run(edit, problems, **options)
    assert len(str(caught.value).splitlines()) <= 2


def test_nothing_runs_where_one_of_many_edits_cannot(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    with pytest.raises(FeatureError, match="Feature 99"):
        engine.run_many([Ablate(4), Ablate(99)], problems, site=LATE, progress=lambda *_: pytest.fail("it ran"))
    with pytest.raises(ConfigError, match="no edit to run"):
        engine.run_many([], problems)


def test_arms_of_different_sites_share_a_run(engine: FeatureInterventionEngine, problems: tuple[Problem, ...]) -> None:
    """One call may score arms that go on at other sites, or at none; each gets what it gets alone."""
    context = engine.site_context(problems, EARLY)
    edits = [
        AtSites({EARLY: Amplify(4, 3.0)}),
        AtSites({EARLY: Amplify(4, 3.0), LATE: Amplify(5, 4.0)}),
        AtSites({EARLY: Ablate((9, 10)), THOUGHT: InterchangeResidual(AWAY)}),
    ]
    plans = [engine.plan(context, edit) for edit in edits]
    assert [[c.site for c in plan.changes] for plan in plans] == [[EARLY], [EARLY, LATE], [EARLY, THOUGHT]]
    together, alone = engine.score(context, plans), [engine.score(context, [plan])[0] for plan in plans]
    for one, other in zip(together, alone, strict=True):
        assert one.answers == other.answers
        torch.testing.assert_close(one.logprobs, other.logprobs, rtol=1e-4, atol=1e-4)
    assert len({tuple(scores.logprobs.tolist()) for scores in alone}) == 3


def test_a_family_corrects_what_it_says_of_likelihood_and_of_equivalence(several: Result) -> None:
    """0.03 alone is 0.09 by Holm among p = 0.03, 0.04 and 0.5, so nothing is said to become less likely."""
    right = np.ones(900, dtype=bool)
    base = compare_paired(right, right, logprob_change=np.linspace(-1.0, 0.5, 900))
    assert base.logprob is not None
    effects = [replace(base, logprob=replace(base.logprob, p_value=p)) for p in (0.03, 0.04, 0.5)]
    found = family_of([replace(several, effect=effect) for effect in effects]).results
    assert "less likely" in verdict_of(effects[0])
    for one, p in zip(found, ("p = 0.09", "p = 0.09", "p = 0.5"), strict=True):
        assert "No shift of the clean answer's log-probability shown" in one.effect.verdict
        assert f"{p} after Holm over 3 edits" in one.effect.verdict
        # an edit that cannot change accuracy is tested for equivalence all the same: three tests
        assert "ruled out (p = 0.048 after Holm over 3 edits" in one.effect.verdict


def test_what_a_family_could_have_found_is_what_its_bluntest_edit_could(several: Result) -> None:
    right = np.ones(300, dtype=bool)
    one, other = (
        replace(compare_paired(right, right), minimum_detectable=smallest, conclusion="unresolved")
        for smallest in (0.012, 0.034)
    )
    none = replace(one, minimum_detectable=None)
    verdicts = [
        family_verdict(ResultFamily(tuple(replace(several, effect=effect) for effect in effects), (1.0, 1.0)))
        for effects in ((one, other), (other, one), (one, none))
    ]
    assert verdicts[0] == verdicts[1]
    assert "A true change of 3.4 points or more by any of them would be found" in verdicts[0]
    assert "would be found" not in verdicts[2]


def test_what_can_never_be_significant_does_not_make_a_family_pay(several: Result) -> None:
    right = np.ones(300, dtype=bool)
    base = compare_paired(right, right)
    effects = [replace(base, p_value=p, testable=t) for p, t in ((0.02, True), (0.3, True), (1.0, False))]
    family = family_of([replace(several, effect=effect) for effect in effects])
    # Holm over two and not three
    assert family.p_adjusted == (pytest.approx(0.04), pytest.approx(0.3), None)
    assert [result.effect.conclusion for result in family.results] == ["changed", "unresolved", "untested"]
    assert "after Holm over 2 edits" in family.results[0].effect.verdict


def test_problems_of_a_single_calculation_are_refused_before_the_work(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FeatureInterventionEngine(llama, {LATE: sae_at(llama, LATE)})
    monkeypatch.setattr(llama, "prefill", lambda *_, **__: pytest.fail("the model ran"))
    alike = [replace(problem, steps=problems[0].steps) for problem in problems[:5]]
    with pytest.raises(ConfigError, match="All 5 problems have one and the same chain") as caught:
        engine.run(Ablate(4), alike)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("bound", [0.0, 0.51, float("nan")])
def test_a_bound_outside_its_range_is_refused(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: SaeMaker, bound: float
) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most") as caught:
        FeatureInterventionEngine(llama, {LATE: sae_at(llama, LATE)}).run(Ablate(4), problems, bound=bound)
    assert len(str(caught.value).splitlines()) == 2
