"""The engine and the trainers on tensors that say `cuda:0`: no mixture of devices, and counted launches and syncs.

Results are compared with the same program's on the CPU; budgets are those of a GPU, where a launch takes 5 microseconds
and a sync more, so that a chunk of thousands of them would wait for the host.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from benchmark_scripts import benchmark_script
from pretended_cuda import Ledger, Pretended, back, move, pretend, pretended_cuda

import codi_int as ci
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.chunks import MOST_PROBLEMS_GPU, Chunk, cut_chunks
from codi_int.interventions.engine.clean import BATCH_SIZE_GPU
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.suffix import MAX_ROWS_GPU, SuffixRunner
from codi_int.interventions.patching.pairs import Pairing
from codi_int.interventions.patching.patch import participants, run_patch
from codi_int.interventions.screens.groups import ROWS_PER_GROUP_GPU
from codi_int.interventions.screens.screen import run_screen
from codi_int.model.hooked import CodiModel
from codi_int.model.lens import lens_frequencies
from codi_int.model.rollout import Grouping, group_by_length
from codi_int.sae import SAETrainingConfig, Sparsity, TopKSAE, train_sae
from codi_int.sae.many import SAEJob, train_many
from codi_int.types import Problem, Site
from tests.interventions.conftest import make_model, make_sae

SITE, LATER, EARLY = Site(2, 3), Site(1, 4), Site(1, 2)
LENGTHS = Path(__file__).parents[2] / "benchmarks" / "gsm8k_lengths.json"
MOST_LAUNCHES, MOST_SYNCS, ENOUGH_ROWS = 1000, 4, 512


@pytest.fixture(scope="module")
def gpu() -> Iterator[Ledger]:
    with pretended_cuda() as ledger:
        yield ledger


@pytest.fixture(scope="module")
def few(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return problems[:6]


@pytest.fixture(scope="module")
def engines(problems: tuple[Problem, ...], gpu: Ledger) -> Callable[..., list[FeatureInterventionEngine]]:
    """Makes the same engine twice: on the CPU, and on the pretended device."""
    models = [make_model("llama"), make_model("llama")]
    saes = [{site: make_sae(models[0], site, problems) for site in (SITE, LATER, EARLY)} for _ in range(2)]
    move(models[1].hf)
    move(models[1].projection)
    for sae in saes[1].values():
        move(sae)

    def make(*sites: Site, **settings: Any) -> list[FeatureInterventionEngine]:
        return [
            FeatureInterventionEngine(model, {site: own[site] for site in sites}, **settings)
            for model, own in zip(models, saes, strict=True)
        ]

    return make


def test_tensors_of_two_devices_are_refused_and_everything_is_counted(gpu: Ledger) -> None:
    x, y = pretend(torch.randn(4, 5)), torch.randn(4, 5)
    for mixture in (
        lambda: x + y,
        lambda: torch.cat([x, y]),
        lambda: y[x.long()],
        lambda: torch.nn.functional.linear(x, y),
        lambda: y.add_(x),
    ):
        with pytest.raises(RuntimeError):
            mixture()
    with pytest.raises(TypeError, match="numpy"):
        x.numpy()
    with gpu.counted() as done:
        total = (x[1:].T * 2).sum()  # views are no launches
        assert isinstance(total, Pretended)
    assert (done.launches, done.syncs) == (2, 0)
    with gpu.counted() as done:
        float(total), bool(total > 0), x.tolist(), x.cpu(), x[x > 0], torch.tensor([1], device="cuda"), y.to("cuda")
    assert done.syncs == 7
    assert torch.equal(x.cpu(), back(x))


EDITS: dict[str, tuple[Any, tuple[Site, ...], dict[str, Any]]] = {
    "all controls": (ci.Ablate(4), (SITE,), {}),
    "replace": (ci.Amplify(4, 3.0), (SITE,), {"splice": "replace", "propagate": "recurrence"}),
    "swap": (ci.Swap(4, 17), (SITE,), {"propagate": "cache"}),
    "held": (ci.ReplaceByMean(), (SITE,), {"later": "mean"}),
    "sites": (AtSites(((EARLY, ci.Ablate(4)), (SITE, ci.Ablate(17)), (LATER, ci.Ablate(4)))), (EARLY, SITE, LATER), {}),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_finds_on_the_device_what_it_finds_on_the_cpu(
    name: str, engines: Callable[..., list[FeatureInterventionEngine]], few: tuple[Problem, ...]
) -> None:
    edit, sites, settings = EDITS[name]
    controls = Controls(features=1)
    if name == "all controls":
        controls = Controls(
            features=2, directions=1, neurons=1, covariance=1, dimensions=1, components=1, mean_difference=True
        )
    expected, found = (
        engine.run(edit, few, controls=controls, site=None if name == "sites" else sites[0])
        for engine in engines(*sites, **settings)
    )
    for arm, outcomes in expected.outcomes.items():
        assert [one.answer for one in found.outcomes[arm]] == [one.answer for one in outcomes]
        logprobs = [one.answer_logprob for one in outcomes]
        assert [one.answer_logprob for one in found.outcomes[arm]] == pytest.approx(logprobs, abs=1e-4)
    for name in ("n_touched", "n_broken", "n_fixed", "estimate", "low", "high", "p_value"):
        assert getattr(found.effect, name) == getattr(expected.effect, name), name
    assert found.controls.keys() == expected.controls.keys()


def test_a_patch(engines: Callable[..., list[FeatureInterventionEngine]], few: tuple[Problem, ...]) -> None:
    members = participants(few, Pairing(tuple((i + 1) % 6 for i in range(6)), "in a ring", {}))
    expected, found = (run_patch(engine, members, [SITE]) for engine in engines(SITE))
    answers = [[one.answer for one in run.outcomes["intervened"]] for run in (expected, found)]
    assert answers[0] == answers[1]


def test_a_screen_with_its_confirmation(
    engines: Callable[..., list[FeatureInterventionEngine]], problems: tuple[Problem, ...]
) -> None:
    expected, found = (run_screen(engine, problems[:12], features=[4, 17]) for engine in engines(SITE))
    for ours, theirs in zip(found.rows, expected.rows, strict=True):
        assert (ours.n_touched, ours.n_broken, ours.n_fixed) == (theirs.n_touched, theirs.n_broken, theirs.n_fixed)
        assert ours.conclusion == theirs.conclusion


def test_capture_and_lens(engines: Callable[..., list[FeatureInterventionEngine]], few: tuple[Problem, ...]) -> None:
    expected, found = (engine.model for engine in engines(SITE))
    sites = [Site(0, 1), Site(3, 6, "attn_out"), Site(2, 2, "head:1")]
    for site in sites:
        values = found.think(few, capture=sites).at(site).values
        torch.testing.assert_close(back(values), expected.think(few, capture=sites).at(site).values, **CLOSE)
    assert lens_frequencies(found, few) == lens_frequencies(expected, few)


CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("rates", [(1e-3, 1e-3), (1e-3, 3e-3)])
def test_stacks_are_trained_without_waiting(rates: tuple[float, float], gpu: Ledger) -> None:
    data = [torch.randn(96, 24, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    there = [pretend(x) for x in data]
    recipes = [
        SAETrainingConfig(d_sae=32, k=k, epochs=2, batch_size=16, learning_rate=rate)
        for k, rate in zip((3, 6), rates, strict=True)
    ]
    with gpu.counted() as done:
        found = train_many([SAEJob(x, recipe) for x in there for recipe in recipes])
    alone = train_many([SAEJob(x, recipe) for x in data for recipe in recipes])
    for ours, theirs in zip(found, alone, strict=True):
        torch.testing.assert_close(back(ours.sae.W_dec), theirs.sae.W_dec, rtol=1e-3, atol=1e-4)
    with gpu.counted() as longer:
        train_many([SAEJob(x, replace(recipe, batch_size=8)) for x in there for recipe in recipes])
    # twice as many steps in as many epochs: what is added is the steps'
    assert longer.syncs == done.syncs
    assert (longer.launches - done.launches) / 12 < 80


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "jumprelu"])
def test_one_sae_is_trained_without_waiting(architecture: str, gpu: Ledger) -> None:
    x = torch.randn(64, 24, generator=torch.Generator().manual_seed(0))
    there = pretend(x)
    jump = architecture == "jumprelu"
    recipe = SAETrainingConfig(
        d_sae=32,
        k=None if jump else 4,
        epochs=2,
        batch_size=16,
        architecture=architecture,
        sparsity=Sparsity() if jump else None,
    )
    with gpu.counted() as done:
        found = train_sae(there, recipe)
    torch.testing.assert_close(back(found.sae.W_dec), train_sae(x, recipe).sae.W_dec, rtol=1e-3, atol=1e-4)
    with gpu.counted() as longer:
        train_sae(there, replace(recipe, batch_size=8))
    assert longer.syncs == done.syncs


@pytest.fixture(scope="module")
def cell(gpu: Ledger) -> Iterator[tuple[Any, CodiModel, tuple[Problem, ...]]]:
    """A model of 16 layers and questions of GSM8K's lengths."""
    with benchmark_script("_gpu_screen") as script:
        shape = replace(script.SHAPES["tiny"], problems=40)
        model = script.build_model(shape, "cpu", torch.float32)
        move(model.stack.hf)
        move(model.projection)
        yield script, model, script.build_problems(shape, gsm8k=True)


def counted_chunks(runner: type[SuffixRunner], gpu: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Chunk, Any]]:
    found: list[tuple[Chunk, Any]] = []
    each = runner._each_chunk

    def watched(self: SuffixRunner, problems: torch.Tensor, work: Callable[[Chunk], None]) -> Iterator[int]:
        def counted(chunk: Chunk) -> None:
            with gpu.counted() as done:
                work(chunk)
            found.append((chunk, done))

        yield from each(self, problems, counted)

    monkeypatch.setattr(runner, "_each_chunk", watched)
    return found


def test_a_chunk_keeps_to_its_budget(
    cell: tuple[Any, CodiModel, tuple[Problem, ...]], gpu: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, model, problems = cell
    shape = replace(script.SHAPES["tiny"], k=32)
    sae: TopKSAE = script.build_sae(shape, "cpu", torch.float32, 1e-3)
    move(sae)
    engine = FeatureInterventionEngine(model, {script.SITE: sae})
    context = engine.site_context(problems)
    plans = engine.plan_all(context, [ci.Ablate(feature) for feature in range(32)])
    chunks = counted_chunks(SuffixRunner, gpu, monkeypatch)
    with gpu.counted() as all_of_it:
        scores = engine.score(context, plans)
    assert max(len(chunk.parts) for chunk, _ in chunks) >= 5  # questions of many lengths run together
    for chunk, done in chunks:
        assert done.syncs <= MOST_SYNCS, done.places
        assert done.launches <= MOST_LAUNCHES, (len(chunk.parts), done.kinds.most_common(30))
    # no answer changes and none is close: behind the chunks nothing is launched
    assert not any(bool(found.changed.any() or found.rerun.any()) for found in scores)
    assert all_of_it.launches - sum(done.launches for _, done in chunks) <= 2 * len(plans) + 4


def test_rows_that_change_are_the_only_ones_written_again(
    engines: Callable[..., list[FeatureInterventionEngine]],
    few: tuple[Problem, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, engine = engines(SITE)
    plans = engine.plan_all(engine.site_context(few), [ci.Amplify(4, 8.0), ci.Ablate(17)])
    again: list[int] = []
    write = SuffixRunner._write_again

    def watched(self: SuffixRunner, changes: Any, pairs: torch.Tensor, *rest: Any) -> None:
        again.extend(pairs.tolist())
        write(self, changes, pairs, *rest)

    monkeypatch.setattr(SuffixRunner, "_write_again", watched)
    scores = engine.score(engine.site_context(few), plans)
    flagged = torch.cat([found.changed | found.rerun for found in scores]).nonzero()[:, 0].tolist()
    assert 0 < len(again) < sum(len(plan.rows) for plan in plans)
    assert set(flagged) <= set(again)
    assert len(set(again)) == len(again)


def test_chunks_are_large_where_questions_have_gsm8ks_lengths() -> None:
    """A group of a screen of K = 100 of 512, as a GPU cuts it."""
    lengths = json.loads(LENGTHS.read_text())["lengths"]
    encoded = [(0,) * (length + 2) for length in lengths]
    grouping = Grouping(BATCH_SIZE_GPU, 0, torch.device("cpu"))
    batches = group_by_length(encoded, [str(i) for i in range(len(encoded))], grouping)
    batch_of, row_of = torch.empty(2, len(lengths), dtype=torch.long)
    for index, batch in enumerate(batches):
        batch_of[list(batch.rows)], row_of[list(batch.rows)] = index, torch.arange(len(batch.rows))
    generator = torch.Generator().manual_seed(0)
    n_features = ROWS_PER_GROUP_GPU * 512 // (100 * len(lengths))
    # features that fire on none to 39% of the problems, 19.5% in the mean
    rates = torch.rand(n_features, 1, generator=generator) * 200 / 512
    _, problem = (torch.rand(n_features, len(lengths), generator=generator) < rates).nonzero().T
    pairs = torch.arange(len(problem))
    chunks = cut_chunks(pairs, batch_of[problem], row_of[problem], MAX_ROWS_GPU, MOST_PROBLEMS_GPU)
    sizes = torch.tensor([len(chunk.pairs) for chunk in chunks])
    assert int(sizes.sum()) == len(pairs)
    assert float(sizes.double().mean()) >= 2 * ENOUGH_ROWS
    assert int(sizes[sizes >= ENOUGH_ROWS].sum()) >= 0.94 * len(pairs)
