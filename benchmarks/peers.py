"""One ablation done with nnsight, pyvene, TransformerLens' bridge and a plain torch hook, beside ours.

    pip install --no-deps --target build/peers nnsight pyvene greenlet websocket-client zstandard
    python benchmarks/peers.py --peers-from build/peers

Feature 449 at L14.P3 of codi-mini, taken out of the residual additively. None of the peers knows a continuous chain of
thought, so each gets the loop around it (`Loop`, about 30 lines that its user would write) and makes the edit with its
own means at one step; the other steps run without its machinery where it allows that. All see the same batches of
equally long questions. A peer that is not installed is reported as such. Answers are compared with the engine's.
"""

import argparse
import importlib.metadata
import importlib.util
import inspect
import json
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import _common as common
import torch
from torch import Tensor

import codi_int as ci
from codi_int.data.answers import extract_answer
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.model.hooked import CodiModel
from codi_int.model.rollout import QuestionBatch
from codi_int.types import Number, Problem, Site

SITE, FEATURE = Site(14, 3), 449
Answers = list[Number | None]


class Loop(ABC):
    """A CODI model driven from outside: read, six thoughts, write; a peer says how one step is run."""

    def __init__(self, model: CodiModel, sae: Any) -> None:
        self.model, self.sae = model, sae

    @abstractmethod
    def step(self, inputs: dict[str, Tensor], cache: Any, edited: bool) -> tuple[Tensor, Any]:
        """Feed `input_ids` or `inputs_embeds`; the last token's post-final-norm state and the cache."""

    def ablated(self, resid: Tensor) -> Tensor:
        """The residual [batch, t, d_model] without the feature's share at the last token."""
        latents = self.sae.encode(resid[:, -1]).dense()
        change = latents[:, FEATURE, None] * self.sae.W_dec[FEATURE]
        return torch.cat([resid[:, :-1], (resid[:, -1] - change)[:, None]], 1)

    @torch.no_grad()
    def think(self, batch: QuestionBatch) -> tuple[Tensor, Any]:
        """The thoughts [batch, n_thoughts, d_model] with the edit made, and the cache behind them."""
        thoughts = []
        hidden, cache = self.step({"input_ids": batch.ids}, None, False)
        for position in range(1, self.model.config.n_thoughts + 1):
            thoughts.append(self.model.projection(hidden))
            hidden, cache = self.step({"inputs_embeds": thoughts[-1][:, None]}, cache, position == SITE.position)
        return torch.stack(thoughts, 1), cache

    @torch.no_grad()
    def answer(self, batch: QuestionBatch) -> Answers:
        """The numbers that a batch answers."""
        config = self.model.config
        _, cache = self.think(batch)
        ids = torch.full((len(batch.ids), 1), config.eot_id)
        written: list[Tensor] = []
        ended = torch.zeros(len(ids), dtype=torch.bool)
        for _ in range(config.max_new_tokens):
            hidden, cache = self.step({"input_ids": ids}, cache, False)
            ids = self.model.hf.lm_head(hidden).argmax(-1, keepdim=True)
            ids[ended] = config.eos_id or config.pad_id
            ended |= ids[:, 0] == config.eos_id
            written.append(ids)
            if bool(ended.all()):
                break
        texts = self.model.tokenizer.batch_decode(torch.cat(written, 1), skip_special_tokens=True)
        return [extract_answer(text, config.answer_rule) for text in texts]


class PlainHook(Loop):
    """Hugging Face's model with a torch forward hook."""

    def step(self, inputs: dict[str, Tensor], cache: Any, edited: bool) -> tuple[Tensor, Any]:
        handle = None
        if edited:
            block = self.model.hf.model.layers[SITE.layer]
            handle = block.register_forward_hook(lambda _module, _inputs, out: self.ablated(out))
        try:
            out = self.model.hf.model(**inputs, past_key_values=cache, use_cache=True)
        finally:
            if handle is not None:
                handle.remove()
        return out.last_hidden_state[:, -1], out.past_key_values


class NNsight(PlainHook):
    """nnsight: a trace around the edited step."""

    def __init__(self, model: CodiModel, sae: Any) -> None:
        import nnsight

        super().__init__(model, sae)
        self.wrapped = nnsight.NNsight(model.hf)

    def step(self, inputs: dict[str, Tensor], cache: Any, edited: bool) -> tuple[Tensor, Any]:
        if not edited:
            return super().step(inputs, cache, False)
        with self.wrapped.trace(**inputs, past_key_values=cache, use_cache=True):
            block = self.wrapped.model.layers[SITE.layer]
            block.output = self.ablated(block.output)
            hidden = self.wrapped.model.norm.output.save()
        return hidden[:, -1], cache


class Pyvene(PlainHook):
    """pyvene: an IntervenableModel with a function of our own at the block's output."""

    def __init__(self, model: CodiModel, sae: Any) -> None:
        import pyvene

        super().__init__(model, sae)
        self.kept: list[Tensor] = []

        def edit(base: Tensor, source: Any) -> Tensor:
            return self.ablated(base)

        def keep(base: Tensor, source: Any) -> Tensor:
            self.kept.append(base)
            return base

        places = {f"model.layers[{SITE.layer}].output": edit, "model.norm.output": keep}
        self.wrapped = pyvene.IntervenableModel(
            [{"component": name, "intervention": function} for name, function in places.items()], model=model.hf
        )

    def step(self, inputs: dict[str, Tensor], cache: Any, edited: bool) -> tuple[Tensor, Any]:
        if not edited:
            return super().step(inputs, cache, False)
        self.kept.clear()
        self.wrapped({**inputs, "past_key_values": cache, "use_cache": True}, output_original_output=False)
        return self.kept[-1][:, -1], cache


class Bridge(Loop):
    """TransformerLens: hooks on its bridge, through which every step runs."""

    def __init__(self, model: CodiModel, sae: Any) -> None:
        super().__init__(model, sae)
        self.wrapped = model.to_transformer_lens()

    def step(self, inputs: dict[str, Tensor], cache: Any, edited: bool) -> tuple[Tensor, Any]:
        kept: list[Tensor] = []
        hooks = [("ln_final.hook_out", lambda tensor, hook: kept.append(tensor))]
        if edited:
            hooks.append((f"blocks.{SITE.layer}.hook_out", lambda tensor, hook: self.ablated(tensor)))
        (given,) = inputs.values()
        options = {} if cache is None else {"past_key_values": cache}
        with self.wrapped.hooks(fwd_hooks=hooks):
            _, cache = self.wrapped(given, use_cache=True, return_type="logits_and_cache", **options)
        return kept[0][:, -1], cache


LOOPS: dict[str, tuple[type[Loop], str | None]] = {
    "torch hook on Hugging Face": (PlainHook, None),
    "nnsight": (NNsight, "nnsight"),
    "pyvene": (Pyvene, "pyvene"),
    "TransformerLens bridge": (Bridge, "transformer_lens"),
}
"""name -> the loop, and the package that it needs"""
OURS = ("codi-int, hook and whole model", "codi-int, engine, one feature", "codi-int, engine, each further feature")


def timed(call: Callable[[], Answers], repeats: int) -> tuple[float, Answers]:
    """Median seconds of a call after one to warm up, and what it returned."""
    answers = call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        answers = call()
        times.append(time.perf_counter() - started)
    return statistics.median(times), answers


def in_order(model: CodiModel, problems: Sequence[Problem], answer: Callable[[QuestionBatch], Answers]) -> Answers:
    """Answers of all batches, in the order of the problems."""
    out: Answers = [None] * len(problems)
    for batch in model.batches(problems):
        for row, number in zip(batch.rows, answer(batch), strict=True):
            out[row] = number
    return out


def engine_answers(engine: FeatureInterventionEngine, problems: Sequence[Problem], feature: int = FEATURE) -> Answers:
    """The engine's answers; only the arm asked for, without controls and statistics, as the peers do it."""
    context = engine.site_context(problems)
    plan = engine.plan(context, ci.Ablate(feature))
    answers = [outcome.answer for outcome in context.clean.outcomes]
    for row, answer in zip(plan.rows.tolist(), engine.score(context, [plan])[0].answers, strict=True):
        answers[row] = answer
    return answers


def thought_differences(loop: Loop, problems: Sequence[Problem]) -> dict[str, float]:
    """How far the loop's edited thoughts lie from our hooked ones, and those from the clean ones, at most.

    Few answers change, so equal answers alone would not show that a peer's edit was made at all.
    """
    model = loop.model
    batch = max(model.batches(problems), key=lambda batch: len(batch.rows))
    some = [problems[row] for row in batch.rows]
    clean = model.think(some).thoughts
    with model.hooks({SITE: lambda resid, context: loop.ablated(resid[:, None])[:, 0]}):
        hooked = model.think(some).thoughts
    found = {"to_our_thoughts": loop.think(batch)[0] - hooked, "ours_to_clean": hooked - clean}
    return {name: float(change.abs().max()) for name, change in found.items()}


def ours(name: str, model: CodiModel, sae: Any, problems: Sequence[Problem]) -> Callable[[], Answers]:
    """One of our three ways to do it."""
    warm = FeatureInterventionEngine(model, {SITE: sae})
    loop = PlainHook(model, sae)

    def hooked() -> Answers:
        with model.hooks({SITE: lambda resid, context: loop.ablated(resid[:, None])[:, 0]}):
            return [completion.answer for completion in model.answer(problems)]

    return {
        OURS[0]: hooked,
        OURS[1]: lambda: engine_answers(FeatureInterventionEngine(model, {SITE: sae}), problems),
        OURS[2]: lambda: engine_answers(warm, problems),
    }[name]


def one_part(name: str, n: int, repeats: int) -> dict[str, Any]:
    """One way to do it, in this process alone."""
    model, sae = ci.load_model("codi-mini"), ci.load_sae("codi-mini/L14.P3")
    problems = ci.load_problems("stories:validation", limit=n)
    truth = engine_answers(FeatureInterventionEngine(model, {SITE: sae}), problems)
    clean = [completion.answer for completion in model.answer(problems)]
    if name in OURS:
        seconds, answers = timed(ours(name, model, sae, problems), repeats)
        found: dict[str, Any] = {"version": ci.__version__, "lines": None}
    else:
        kind, package = LOOPS[name]
        loop = kind(model, sae)
        seconds, answers = timed(lambda: in_order(model, problems, loop.answer), repeats)
        version = importlib.metadata.version((package or "transformers").replace("_", "-"))
        found = {"version": version, "lines": len(inspect.getsource(kind).splitlines())}
        found |= thought_differences(loop, problems)
    equal = sum(a == t for a, t in zip(answers, truth, strict=True))
    changed = sum(a != c for a, c in zip(truth, clean, strict=True))
    return {**found, "seconds": seconds, "n": n, "equal": equal, "answers_that_the_ablation_changes": changed}


def row_of(name: str, options: Sequence[object]) -> dict[str, Any]:
    """A row of the table; a peer that is missing or fails says so."""
    package = LOOPS[name][1] if name in LOOPS else None
    if package and importlib.util.find_spec(package) is None:
        return {"how": name, "note": "not installed"}
    try:
        return {"how": name, **common.part(__file__, name, *options)}
    except RuntimeError as error:
        return {"how": name, "note": f"fails: {str(error).strip().splitlines()[-1]}"}


def main() -> None:
    """Every peer in a process of its own."""
    parser = common.arguments(__doc__)
    parser.add_argument("--peers-from", help="folder that holds nnsight and pyvene, where they are not installed")
    parser.add_argument("--n", type=int, default=128, help="problems (default 128)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    n, repeats = (32, 1) if given.quick else (given.n, given.repeats)
    if given.peers_from:
        sys.path.append(given.peers_from)
    if given.part:
        print(json.dumps(one_part(given.part, n, repeats)))
        return
    options = ["--n", n, "--repeats", repeats, *(["--peers-from", given.peers_from] if given.peers_from else [])]
    rows = [row_of(name, options) for name in (*LOOPS, *OURS)]
    for row in rows:
        row["answers"] = f"{row['equal']} of {row['n']} equal" if "equal" in row else row["note"]
        for key in ("to_our_thoughts", "lines"):
            row[key] = "" if row["how"] in OURS else row.get(key)
    columns = {
        "how": f"feature {FEATURE} at {SITE}, {n} problems",
        "version": "version",
        "seconds": "seconds",
        "answers": "answers",
        "to_our_thoughts": "thoughts differ by",
        "lines": "lines besides the loop",
    }
    common.show(rows, columns)
    if "ours_to_clean" in rows[0]:
        print(f"\nlargest change of a thought by the edit: {rows[0]['ours_to_clean']:.3g}")
    common.write(
        "peers", {"site": str(SITE), "feature": FEATURE, "n": n, "repeats": repeats, "rows": rows}, given.quick
    )


if __name__ == "__main__":
    main()
