"""Training many TopK SAEs at once: a grid of SAEs on a leading axis, each with its own k, rate, seed and data.

SAEs of one shape form stacks as large as the memory budget allows. On a GPU a stack is one batched product
per step, so that hundreds of small SAEs cost as many launches as one; a CPU has nothing to gain from that and
takes them one by one, exploiting that only k of d_sae features touch a row. Within an epoch the host waits for
nothing. The result is that of `train_sae` with the same recipe, up to the order of floating-point sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.sae.adam import Adam
from codi_int.sae.base import SAE
from codi_int.sae.config import Provenance, check_positive
from codi_int.sae.gradients import SPARSE_FROM, StepGradients, Weights, dense, sparse
from codi_int.sae.metrics import check_activations
from codi_int.sae.objectives import Objective
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.training_start import EpochRecord, TrainedSAE, check_batch, initial, order_rows, prune

BYTES_PER_WEIGHT = 24
"""weight, gradient, two moments of Adam, and copies in the dtype of the products"""
OWN_NAMES = {"W_enc": "E", "W_dec": "D"}
"""matrices of a stack by the names that SAEs have for them"""


@dataclass(frozen=True)
class SAEJob:
    """One SAE of a grid."""

    activations: Tensor
    """[n, d_in] rows to train on; jobs may share one tensor"""
    config: SAETrainingConfig
    """its recipe; architecture `topk` without auxiliary loss"""
    provenance: Provenance = field(default_factory=Provenance)
    """what is known of model, site and data; seed and recipe are filled in"""


@dataclass(frozen=True)
class GridEpoch:
    """What a stack in training is at the end of an epoch."""

    jobs: tuple[int, ...]
    """numbers of the jobs in the stack, in the order they were given"""
    records: tuple[EpochRecord, ...]
    """one for each of them"""


def train_many(
    jobs: Sequence[SAEJob],
    memory_gib: float = 4.0,
    on_epoch: Callable[[GridEpoch], None] | None = None,
    on_trained: Callable[[int, TrainedSAE], None] | None = None,
) -> tuple[TrainedSAE, ...]:
    """Train every job; the order of the results is that of the jobs.

    Args:
        jobs: any mixture of shapes, k, rates, seeds and data on one device.
        memory_gib: bound on what one stack may hold on a GPU, besides the activations.
        on_epoch: called after every epoch of every stack.
        on_trained: called with the job's number as soon as it is done, so that it can be saved.

    Raises:
        ConfigError: a recipe that cannot be stacked, fewer rows than a batch, one SAE that exceeds the budget.
        DataError: NaN, inf or constant activations.
    """
    check_positive("memory_gib", memory_gib)
    checked: set[int] = set()
    for job in jobs:
        _check_job(job, memory_gib, checked)
    results: dict[int, TrainedSAE] = {}
    for numbers in _stacks(jobs, memory_gib):
        stack = _Stack([jobs[number] for number in numbers])
        curves = []
        for epoch in range(stack.config.n_epochs):
            curves.append(stack.epoch(epoch))
            if on_epoch is not None:
                on_epoch(GridEpoch(numbers, curves[-1]))
        for place, number in enumerate(numbers):
            results[number] = TrainedSAE(stack.trained(place), tuple(records[place] for records in curves))
            if on_trained is not None:
                on_trained(number, results[number])
    return tuple(results[number] for number in range(len(jobs)))


def bytes_needed(config: SAETrainingConfig, d_in: int) -> int:
    """Memory that one SAE of a stack takes while it is trained."""
    n_weights = 2 * config.d_sae * d_in
    # an allowance for what a step holds of each row: some tensors [n, d_sae] and some [n, d_in], of float32
    n_latents = config.batch_size * (4 * config.d_sae + 6 * d_in)
    return BYTES_PER_WEIGHT * n_weights + 4 * n_latents


def check_stackable(config: SAETrainingConfig, d_in: int, memory_gib: float) -> None:
    """ConfigError for a recipe that cannot be stacked, or that exceeds the budget by itself."""
    if not config.stackable:
        raise ConfigError(
            f"Only 'topk' without auxiliary loss can be stacked, not {config.architecture!r} with aux={config.aux}.",
            "Train it alone: train_sae, or codi-int sae train.",
        )
    need = bytes_needed(config, d_in) / 2**30
    if need > memory_gib:
        raise ConfigError(
            f"One SAE with d_sae={config.d_sae} needs {need:.1f} GiB; the budget is {memory_gib:.1f} GiB.",
            "Give a larger memory_gib (--memory-gib) or a smaller d_sae.",
        )


def _check_job(job: SAEJob, memory_gib: float, checked: set[int]) -> None:
    """ConfigError or DataError for a job that cannot run; each tensor is looked through once."""
    check_stackable(job.config, job.activations.shape[1], memory_gib)
    if id(job.activations) not in checked:
        check_activations(job.activations, least_rows=2)
        checked.add(id(job.activations))
    check_batch(job.activations.shape[0], job.config.batch_size)


def _stacks(jobs: Sequence[SAEJob], memory_gib: float) -> list[tuple[int, ...]]:
    """Numbers of the jobs that are trained together: same shapes and settings, within the budget."""
    groups: dict[object, list[int]] = {}
    for number, job in enumerate(jobs):
        # What may differ within a stack is set to one value: k is cut per SAE, rates are grouped by Adam, and the rest
        # only says how to start. Batch size, epochs and rule shape the step, so they have to agree.
        alike = replace(job.config, k=1, learning_rate=1.0, seed=0, anneal=None, bias_init="zero", tied_init=False)
        groups.setdefault((alike, job.activations.shape, job.activations.device), []).append(number)
    stacks = []
    for numbers in groups.values():
        first = jobs[numbers[0]]
        # a stack of one on a CPU: batching saves launches, which cost nothing there, and `sparse` takes one SAE
        fits = (
            max(1, int(memory_gib * 2**30 / bytes_needed(first.config, first.activations.shape[1])))
            if first.activations.is_cuda
            else 1
        )
        stacks += [tuple(numbers[start : start + fits]) for start in range(0, len(numbers), fits)]
    return stacks


class _Stack:
    """Some SAEs of one shape while they are trained."""

    def __init__(self, jobs: Sequence[SAEJob]) -> None:
        self.jobs = jobs
        self.config = jobs[0].config
        # A generator for each SAE, on the CPU whatever the device, drawn from as in `train_sae`: weights, then orders.
        # So these are bit for bit those of training alone, and do not depend on which SAEs share a stack.
        self.generators = [torch.Generator().manual_seed(job.config.seed) for job in jobs]
        self.objectives = [_initial(job, seed) for job, seed in zip(jobs, self.generators, strict=True)]
        # jobs of a grid share one tensor of rows: widened once, not once for each SAE
        shared = {id(job.activations): job.activations.detach().float() for job in jobs}
        # All data below each other, so that one gather serves a step; itself where all jobs have the same.
        places = {name: place for place, name in enumerate(shared)}
        n = jobs[0].activations.shape[0]
        self._below = torch.cat(list(shared.values())) if len(shared) > 1 else shared[id(jobs[0].activations)]
        starts = [n * places[id(job.activations)] for job in jobs]
        self.rows = [self._below[start : start + n] for start in starts]
        self._starts = torch.tensor(starts, device=self._below.device)[:, None]  # [stack, 1]
        self.weights = self._stacked()
        rates = [job.config.learning_rate for job in jobs]
        products: torch.dtype = getattr(torch, self.config.products)
        frozen = [OWN_NAMES.get(name, name) for name in self.config.frozen]
        self.adam = Adam(self.weights, rates, products, frozen, unit_rows=self.config.decoder_norm == "unit")

    def _stacked(self) -> Weights:
        """All weights on a leading axis."""
        saes = [objective.sae for objective in self.objectives]
        with torch.no_grad():
            # E is W_enc transposed, [stack, d_sae, d_in]: a feature's weights lie together, in E as in D, for `sparse`
            # and for Adam's pieces
            return Weights(
                torch.stack([sae.W_enc.T for sae in saes]).contiguous(),
                torch.stack([sae.get_parameter("b_enc") for sae in saes]),
                torch.stack([sae.W_dec for sae in saes]),
                torch.stack([sae.b_dec for sae in saes]),
            )

    def epoch(self, epoch: int) -> tuple[EpochRecord, ...]:
        """One pass over every SAE's rows in its own order; one host sync, at the end."""
        n, device = self.rows[0].shape[0], self.rows[0].device
        ks = [job.config.k_at(epoch) or 0 for job in self.jobs]
        # [stack, n]: every SAE sees its rows in its own order, and all take their batches in step
        orders = torch.stack([order_rows(n, generator) for generator in self.generators]).to(device)
        # summed on the device: asking for a number in a step would make the host wait for the GPU in every one
        total = torch.zeros(len(self.jobs), dtype=torch.float64, device=device)
        fired = torch.zeros(len(self.jobs), self.config.d_sae, dtype=torch.int64, device=device)
        cuts = self._cuts(ks)
        for rows in torch.split(orders, self.config.batch_size, dim=1):
            step = self.step(rows, max(ks), cuts)
            # the last batch may be smaller; weighted by rows the mean is that over the epoch
            total += step.mse.double() * rows.shape[1]
            fired += step.fired
        mse, l0 = (total / n).tolist(), (fired.sum(dim=1) / n).tolist()
        dead = (fired == 0).double().mean(dim=1).tolist()
        return tuple(
            EpochRecord(epoch=epoch + 1, k=ks[i], mse=mse[i], l0=l0[i], dead_share=dead[i]) for i in range(len(ks))
        )

    def _cuts(self, ks: list[int]) -> Tensor | None:
        """The k of each SAE [stack, 1, 1] where they differ, made once an epoch: a GPU has to be waited for."""
        return None if min(ks) == max(ks) else torch.tensor(ks, device=self.rows[0].device)[:, None, None]

    @torch.no_grad()
    def step(self, rows: Tensor, k: int, cuts: Tensor | None) -> StepGradients:
        """One step of Adam for the whole stack; `k` is the largest of it, see `_cuts`."""
        step = self._gradients(rows, k, cuts)
        self.adam.step(step.grad)
        return step

    def _gradients(self, rows: Tensor, k: int, cuts: Tensor | None) -> StepGradients:
        """Gradients of the stack: whole matrices, or the sparse way for a lone SAE on a CPU."""
        rule, subtract = self.config.rule, self.config.apply_b_dec_to_input
        if len(rows) > 1:
            # all select the largest k and then cut to their own
            x = self._taken(rows)
            return dense(
                self.weights,
                self.adam.narrow,
                x,
                k=k,
                ks=cuts,
                rule=rule,
                subtract=subtract,
            )
        # a lone SAE goes without the leading axis, as plain matrices; [0] is a view, so updates are seen
        alone = Weights(*(tensor[0] for tensor in self.weights))
        narrow = Weights(*(tensor[0] for tensor in self.adam.narrow))
        x = self.rows[0].index_select(0, rows[0])
        if self.config.d_sae >= k * SPARSE_FROM and not rows.is_cuda:
            step = sparse(alone, narrow, x, k=k, rule=rule, subtract=subtract)
        else:
            step = dense(
                alone,
                narrow,
                x,
                k=k,
                ks=None,
                rule=rule,
                subtract=subtract,
            )
        # Adam and the records know stacks only: the leading axis comes back
        return StepGradients(lambda name, some: step.grad(name, some)[None], step.mse[None], step.fired[None])

    def _taken(self, rows: Tensor) -> Tensor:
        """The rows [stack, n] of each SAE's own data: [stack, n, d_in]."""
        return self._below.index_select(0, (rows + self._starts).flatten()).view(*rows.shape, -1)

    def trained(self, place: int) -> SAE:
        """The SAE at this place of the stack, pruned where its recipe says so."""
        sae = self.objectives[place].sae
        with torch.no_grad():
            sae.W_enc.copy_(self.weights.E[place].T)
            sae.get_parameter("b_enc").copy_(self.weights.b_enc[place])
            sae.W_dec.copy_(self.weights.D[place])
            sae.b_dec.copy_(self.weights.b_dec[place])
        sae.requires_grad_(False)
        return prune(sae, self.rows[place]) if self.config.prune_dead else sae


def _initial(job: SAEJob, generator: torch.Generator) -> Objective:
    """The job's untrained SAE, the same that `train_sae` starts from."""
    known = replace(job.provenance, seed=job.config.seed, recipe=asdict(job.config))
    return initial(job.activations.detach().float(), job.config, known, generator)
