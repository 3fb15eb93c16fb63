"""Is a loaded model run rightly? The same comparison for any checkpoint: ours against a plain Hugging Face loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.model.hooked import CodiModel
from codi_int.types import Problem, ThoughtBatch

TOLERANCE = 1e-5
"""largest difference in float32, relative to the length of a state"""


@dataclass(frozen=True)
class Parity:
    """How far our run is from the plain loop."""

    n_problems: int
    """how many problems were compared"""
    worst_by_layer: tuple[float, ...]
    """largest difference per layer over problems and positions, relative to the length of the state"""
    worst_by_position: tuple[float, ...]
    """the same per position, 0 for <bot>"""
    n_answers_equal: int
    """problems whose greedy ids agree"""

    @property
    def agrees(self) -> bool:
        """Whether every state is within `TOLERANCE` and every answer is the same."""
        return max(self.worst_by_layer) < TOLERANCE and self.n_answers_equal == self.n_problems


@dataclass(frozen=True)
class PlainRun:
    """One problem run by Hugging Face's forward alone."""

    states: Float[Tensor, "positions layers d_model"]
    """hidden states at <bot> and the thoughts, after each block; the last block's after the final norm"""
    ids: tuple[int, ...]
    """greedy ids up to and without the end token"""


def check_parity(model: CodiModel, problems: Sequence[Problem], batch_size: int = 32) -> Parity:
    """Compare every layer at <bot> and at every thought, and the answers, on some problems.

    Ours runs in batches as always; the plain loop takes one problem at a time, with `DynamicCache` and
    `inputs_embeds`, and shares nothing with our block stack but the weights.
    """
    ours = model.think(problems, capture="all", answers=True, batch_size=batch_size)
    plain = [plain_run(model, problem) for problem in problems]
    error = torch.stack([_relative_error(model, ours, i, run.states) for i, run in enumerate(plain)])
    equal = sum(run.ids == done.ids for run, done in zip(plain, ours.completions, strict=True))
    by_layer, by_position = error.amax((0, 1)), error.amax((0, 2))
    return Parity(len(problems), tuple(by_layer.tolist()), tuple(by_position.tolist()), equal)


@torch.no_grad()
def plain_run(model: CodiModel, problem: Problem) -> PlainRun:
    """CODI step by step for one problem: question, thoughts, greedy answer."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.hf.config)

    def forward(**inputs: Tensor) -> Any:
        return model.hf(**inputs, past_key_values=cache, use_cache=True, output_hidden_states=True)

    out = forward(input_ids=_row(model, model.encode_question(problem)))
    states = [out.hidden_states]
    for _ in range(model.n_thoughts):
        out = forward(inputs_embeds=model.projection(out.hidden_states[-1][:, -1:]))
        states.append(out.hidden_states)
    stacked = torch.stack([torch.stack([h[0, -1] for h in hidden[1:]]) for hidden in states])
    return PlainRun(stacked, _written(model, forward, cache))


def _written(model: CodiModel, forward: Any, cache: Any) -> tuple[int, ...]:
    config, ids = model.config, []
    tokens = (config.eot_id,) if config.remove_eos else (config.eot_id, config.eos_id)
    for _ in range(config.max_new_tokens):
        if cache.get_seq_length() + len(tokens) > model.stack.max_positions:
            break
        logits = forward(input_ids=_row(model, tokens)).logits[0, -1]
        choice = int((logits[:-1] if config.suppress_last_id else logits).argmax())
        if choice == config.eos_id:
            break
        ids.append(choice)
        tokens = (choice,)
    return tuple(ids)


def _row(model: CodiModel, ids: Sequence[int | None]) -> Tensor:
    return torch.tensor([ids], device=model.device)


def _relative_error(model: CodiModel, ours: ThoughtBatch, row: int, theirs: Tensor) -> Tensor:
    """[positions, layers]: distance between the two, relative to the length of the plain state."""
    assert ours.residuals is not None
    states = ours.residuals[row].transpose(0, 1)
    last = model.stack.final_norm(states[:, -1:])
    states = torch.cat([states[:, :-1], last], 1)
    norm = torch.linalg.vector_norm
    error: Tensor = norm((states - theirs).float(), dim=-1) / norm(theirs.float(), dim=-1)
    return error
