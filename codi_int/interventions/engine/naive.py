"""The reference: a hook at the site and the whole model run again, question and all.

Slow and plain: tests and benchmarks compare the fast path with it (`method="naive"`). It runs the very batches of the
clean pass, because rounding may depend on a batch's shape.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass
from codi_int.interventions.engine.pairs import changes_of
from codi_int.interventions.engine.side_effects import compare_thoughts, next_thought
from codi_int.model.hooked import CodiModel
from codi_int.model.hooks import HookContext, HookFunction, HookPoint
from codi_int.model.resume import SiteChange
from codi_int.model.rollout import Rollout
from codi_int.model.scoring import Verified, read_answers, verify
from codi_int.types import Number, Propagate, Site


def rerun_plan(
    model: CodiModel,
    clean: CleanPass,
    plan: ArmPlan,
    propagate: Propagate = "both",
) -> ArmScores:
    """Scores of a plan's rows by running the whole model with hooks.

    Args:
        model: the model.
        clean: its clean pass, for the batches and the clean answers.
        plan: what is done to which problems.
        propagate: by which paths the change may go on.
    """
    logprobs, margins = torch.zeros(2, len(plan.rows))
    changed = torch.zeros(len(plan.rows), dtype=torch.bool)
    answers: list[Number | None] = [None] * len(plan.rows)
    following = next_thought(plan.site, model.n_thoughts)
    thoughts = None if following is None else torch.zeros(len(plan.rows), 2)
    capture = () if following is None else (following,)
    # places: (row of the batch, row of the plan) for the rows that the two share
    for index, edited, places in _iterate_rollouts(model, clean, plan, propagate, capture):
        found = _compare(model, clean.rollouts.at(index), edited)
        numbers = read_answers(model, edited.decoded)
        for row, i in places:
            logprobs[i], margins[i] = found.logprobs[row], found.margins[row]
            changed[i], answers[i] = found.changed[row], numbers[row]
        if thoughts is not None and following is not None:
            rows, own = torch.tensor(places).T
            before = clean.rollouts.at(index).thoughts[:, following.position]
            thoughts[own] = compare_thoughts(edited.captured[following], before).cpu()[rows]
    # `rerun` everywhere: these rows did run with the whole model
    rerun = torch.ones(len(plan.rows), dtype=torch.bool)
    return ArmScores(logprobs, tuple(answers), changed=changed, rerun=rerun, margins=margins, thoughts=thoughts)


def recapture(
    model: CodiModel, clean: CleanPass, plan: ArmPlan, later: Site, propagate: Propagate = "both"
) -> Float[Tensor, "m d_model"]:
    """What arrives at a later site under a plan, for the plan's rows, by running the whole model with hooks."""
    out = torch.empty(plan.delta.shape, dtype=model.dtype, device=model.device)
    for _, edited, places in _iterate_rollouts(model, clean, plan, propagate, [later]):
        for row, i in places:
            out[i] = edited.captured[later][row]
    return out


def _iterate_rollouts(
    model: CodiModel,
    clean: CleanPass,
    plan: ArmPlan,
    propagate: Propagate,
    capture: Sequence[Site] = (),
) -> Iterator[tuple[int, Rollout, list[tuple[int, int]]]]:
    """(index of a batch, what it does with the changes, pairs of its rows and the plan's) where the plan has rows."""
    # problem -> its row in the plan; the plan's rows are ascending, a batch's are not
    place = {problem: i for i, problem in enumerate(plan.rows.tolist())}
    # `changes_of` and not `plan.changes`: it says at which site a value is added instead of put, and the reference must
    # do the same arithmetic as the fast path.
    table: dict[Site | HookPoint | str, HookFunction] = {
        change.site: _make_hook(clean, change, place) for change in changes_of([plan]).sites
    }
    # Whole batches, in the clean pass's own shapes: rounding depends on the shape, and only in the same shape does an
    # unedited row come out bit for bit.
    for index in sorted(set(clean.batch_of[plan.rows].tolist())):
        batch = clean.batches[index]
        with torch.no_grad(), model.hooks(table, propagate=propagate):
            edited = model.rollout(batch, capture)
        yield index, edited, [(row, place[problem]) for row, problem in enumerate(batch.rows) if problem in place]


def _make_hook(clean: CleanPass, change: SiteChange, place: dict[int, int]) -> HookFunction:
    """A hook that makes a plan's change in the problems that have one."""
    index = {problem.id: i for i, problem in enumerate(clean.problems)}

    def make(resid: Tensor, context: HookContext) -> Tensor:
        # a batch of the clean pass holds problems that the plan leaves alone, -1 here, and its own in another order
        places = torch.tensor([place.get(index[name], -1) for name in context.problem_ids])
        rows, out = (places >= 0).nonzero()[:, 0], resid.clone()
        out[rows] = change.of(places[rows].to(change.delta.device)).made(resid[rows])
        return out

    return make


def _compare(model: CodiModel, clean: Rollout, edited: Rollout) -> Verified:
    with torch.no_grad():
        # the clean answer's tokens but the last one, which predicts nothing that is scored
        logits = model.teacher_force(edited.state_at(model.n_thoughts), clean.decoded.ids[:, :-1])
    # tolerance 0: this run is the reference, and nothing is left that could decide a close row better
    return verify(logits, clean.decoded, torch.arange(logits.shape[0], device=logits.device), 0.0)
