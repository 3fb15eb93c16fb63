"""Adam over the weights of a stack of SAEs, on a CPU in pieces that are updated while they lie in the cache.

Gradients are written and widened, weights and moments updated, weights narrowed for the next products: done piece by
piece, only weights and moments travel through memory. It pays where they do not fit into the cache anyway
(benchmarks/sae_step_cpu.py). The arithmetic is that of `torch.optim.Adam(fused=True)`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from codi_int.sae.gradients import Weights

PIECE_BYTES = 4 * 2**20
"""size of a piece on a CPU: large enough for two cores, small enough for their caches (benchmarks/sae_step_cpu.py)"""

EVERYTHING = slice(None)

_Part = tuple[str, slice]
"""name of the weights, which features"""


class Adam:
    """Holds the weights of a stack, float32, and updates them.

    Args:
        weights: with a leading axis for the SAEs of the stack; changed in place by every step.
        rates: learning rate of each SAE.
        products: dtype that matrices are multiplied in.
        frozen: names of weights that are not trained.
        unit_rows: whether the rows of D are brought back to norm 1 after each step.
        whole: whether everything is updated in one go; None: on a GPU, whose memory is fast and whose launches cost.
    """

    def __init__(
        self,
        weights: Weights,
        rates: Sequence[float],
        products: torch.dtype = torch.float32,
        frozen: Sequence[str] = (),
        unit_rows: bool = False,
        whole: bool | None = None,
    ) -> None:
        self.weights = weights
        self.narrow = weights._replace(E=weights.E.to(products), D=weights.D.to(products))
        self._unit_rows = unit_rows
        # `weights` stay float32: bfloat16 has 8 bits of precision, and small updates would be rounded away
        trained = [name for name in Weights._fields if name not in frozen]
        whole = weights.E.is_cuda if whole is None else whole
        # no piece at all where nothing is trained
        pieces = [[(name, EVERYTHING) for name in trained]] if whole or not trained else _divide(weights, trained)
        pieces = [parts for parts in pieces if parts]
        # Fused Adam takes one rate for a list of tensors. Undivided and at one rate, a stack is one tensor for each
        # name; else each SAE is a tensor of its own, grouped by rate.
        together = whole and len(set(rates)) == 1
        self._pieces = [(parts, _updates(weights, parts, rates, together)) for parts in pieces]

    @torch.no_grad()
    def step(self, grad: Callable[[str, slice], Tensor]) -> None:
        """Update the weights and their narrow copies; `grad` is that of `StepGradients`."""
        for parts, updates in self._pieces:
            # made here and dropped after the piece: the gradients of all weights are never held at once on a CPU
            grads = [grad(name, some).float() for name, some in parts]
            for update in updates:
                update(grads)
            for name, some in parts:
                self._follow(getattr(self.weights, name)[:, some], getattr(self.narrow, name)[:, some], name)

    def _follow(self, values: Tensor, narrow: Tensor, name: str) -> None:
        """What else changes with some updated weights."""
        # before narrowing, so that the next product already sees rows of norm 1
        if name == "D" and self._unit_rows:
            values.div_(values.norm(dim=-1, keepdim=True).clamp(min=1e-8))
        # `to` of the same dtype gives the tensor itself: then `narrow` is `weights`, and there is nothing to copy
        if narrow.dtype != values.dtype:
            narrow.copy_(values)


def _divide(weights: Weights, names: Sequence[str]) -> list[list[_Part]]:
    """Pieces of some rows of one matrix, the last one with all that is small."""
    # whole rows, as a row's norm is taken within its piece; 4 bytes for each float32
    step = max(1, PIECE_BYTES // (4 * weights.E.shape[-1]))
    rows = [slice(start, start + step) for start in range(0, weights.E.shape[1], step)]
    pieces = [[(name, some)] for name in ("E", "D") if name in names for some in rows]
    small = [(name, EVERYTHING) for name in names if name not in ("E", "D")]
    # with the last matrix, or alone where both are frozen
    return [*pieces[:-1], [*pieces[-1], *small]] if pieces else [small]


def _updates(
    weights: Weights, parts: Sequence[_Part], rates: Sequence[float], together: bool
) -> list[Callable[[list[Tensor]], None]]:
    """One update for each learning rate; SAEs that are not updated together are apart in it, each in one stretch."""
    stacks: dict[float, list[slice]] = {rates[0]: [EVERYTHING]} if together else {}
    for place, rate in enumerate(() if together else rates):
        stacks.setdefault(rate, []).append(slice(place, place + 1))
    # views: what Adam writes into them is written into the weights
    wholes = [getattr(weights, name)[:, some] for name, some in parts]
    return [_update(wholes, saes, rate) for rate, saes in stacks.items()]


def _update(wholes: list[Tensor], saes: list[slice], rate: float) -> Callable[[list[Tensor]], None]:
    """The update of some weights of some SAEs, given the gradients of all."""
    values = [whole[some] for whole in wholes for some in saes]
    means, squares = ([torch.zeros_like(value) for value in values] for _ in range(2))
    # The t of the bias corrections 1 - beta^t, one for each tensor, as torch's functional Adam raises them itself.
    # Every piece is updated in every step, so all are equal. They lie on the weights' device, as fused Adam asks.
    steps = [torch.zeros((), device=value.device) for value in values]

    def update(grads: list[Tensor]) -> None:
        # The function behind torch.optim.Adam, called directly, because an optimizer wants all gradients at once in
        # `.grad`. Fused: one pass over weight, gradient and both moments instead of one for each operation.
        adam(
            params=values,
            grads=[grad[some] for grad in grads for some in saes],
            exp_avgs=means,
            exp_avg_sqs=squares,
            max_exp_avg_sqs=[],
            state_steps=steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    return update
