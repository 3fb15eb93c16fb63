"""A cell of the map in other contexts than the free model: given that later positions are silent, or alone kept.

The edit is always the same, the cell's residual replaced; what differs is what the other positions of its layer do in
both arms. So each condition is a difference of two arms of one layer, in which some positions have been replaced:

- `mean`: the cell and all later positions replaced, against the later ones alone;
- `clean`: the cell replaced and later ones held at their clean values, against the clean run;
- `only`: all positions replaced, against all but the cell, which keeps its clean value. What is lost is what the place
  brings by itself: its sufficiency.

Neighbours share arms, so a layer takes two more for each of its positions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from codi_int.data.answers import is_right
from codi_int.errors import ConfigError
from codi_int.interventions.edits.combined import reach_order
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.suffix import LOGPROB_TOLERANCE
from codi_int.interventions.engine.summary import probability_change
from codi_int.interventions.screens.changes import NO_WORK, ArmChange, add_counts, n_correct
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import SiteChange, make_resume_point
from codi_int.types import Number, Problem, RunCounts, Site


@dataclass(frozen=True)
class LineArm:
    """Which positions of a layer hold something else than what arrives."""

    replaced: tuple[Site, ...]
    """these hold the same for every problem"""
    kept: tuple[Site, ...] = ()
    """these hold their clean values"""

    @property
    def sites(self) -> tuple[Site, ...]:
        """All of them, in the order in which the model reaches them."""
        return tuple(sorted((*self.replaced, *self.kept), key=reach_order))


@dataclass(frozen=True)
class ContextChange:
    """What replacing a cell did in one condition."""

    change: ArmChange
    """problem by problem, against the arm in which the cell is not replaced"""
    n_correct: int
    """right answers of that arm"""


def line_of(model: CodiModel, cell: Site) -> tuple[Site, ...]:
    """All positions of a cell's layer from which something reaches the answer."""
    line = (replace(cell, position=p) for p in range(model.n_thoughts + 1))
    return tuple(site for site in line if _has_path(model, site))


def arms_of(cell: Site, line: Sequence[Site], later: str) -> tuple[LineArm, LineArm | None]:
    """The arm in which a cell is replaced, and the one that it is measured against; None for the clean run."""
    behind = tuple(site for site in line if site.position > cell.position)
    others = tuple(site for site in line if site != cell)
    if later == "mean":
        return LineArm((cell, *behind)), LineArm(behind) if behind else None
    if later == "clean":
        return LineArm((cell,), behind), None
    return LineArm(tuple(line)), LineArm(others, (cell,))


def arms_of_all(model: CodiModel, cells: Sequence[Site], laters: Sequence[str]) -> tuple[LineArm, ...]:
    """The arms that these cells need in these conditions, each once."""
    pairs = (arms_of(cell, line_of(model, cell), later) for later in laters for cell in cells)
    return tuple(dict.fromkeys(arm for pair in pairs for arm in pair if arm is not None))


def last_position_note(model: CodiModel, cells: Sequence[Site], laters: Sequence[str]) -> tuple[str, ...]:
    """For cells behind which nothing of their layer is read: a condition on later positions is none there."""
    asked = [later for later in ("mean", "clean") if later in laters]
    last = [cell for cell in cells if (line := line_of(model, cell)) and cell == line[-1]]
    if not asked or not last:
        return ()
    shown = ", ".join(map(str, last[:3])) + (f" and {len(last) - 3} more" if len(last) > 3 else "")
    has = "has" if len(last) == 1 else "have"
    held = {"mean": "silent", "clean": "clean"}[asked[0]]
    return (
        f"Nothing later of the layer is read behind {shown}: what {has} no later position is the same alone and with "
        f"later ones {held}.",
    )


@dataclass(frozen=True)
class _Answered:
    """What an arm answered on every problem."""

    correct: NDArray[np.float64]
    logprob: NDArray[np.float64]
    margin: NDArray[np.float64]
    answers: tuple[Number | None, ...]


class ContextRun:
    """Cells of one engine's problems in other contexts."""

    def __init__(
        self,
        engine: FeatureInterventionEngine,
        problems: Sequence[Problem],
        vectors: Mapping[Site, Float[Tensor, " d_model"]],
    ) -> None:
        """
        Args:
            engine: of all sites of the cells' layers, without SAEs.
            problems: on which problems.
            vectors: what replaces each of these sites.
        """
        self._engine, self._problems, self._vectors = engine, problems, vectors
        self._clean = engine.site_context(problems, next(iter(vectors))).clean
        self._done: dict[LineArm, _Answered] = {}
        self.counts: RunCounts = NO_WORK

    @property
    def n_correct(self) -> int:
        """Right answers of the undisturbed model."""
        return n_correct(self._clean)

    @torch.no_grad()
    def run(self, cells: Sequence[Site], later: str, advance: Callable[[int], None]) -> dict[Site, ContextChange]:
        """The cells in one condition; those of one layer share arms.

        Args:
            cells: the cells.
            later: the condition.
            advance: called with 1 after each cell.
        """
        out = {}
        for cell in cells:
            arm, against = arms_of(cell, line_of(self._engine.model, cell), later)
            out[cell] = self._compare(cell, arm, against)
            advance(1)
        return out

    def _answers(self, arm: LineArm) -> _Answered:
        if arm not in self._done:
            context, plan = self._engine.site_context(self._problems, arm.sites[0]), self._plan(arm)
            (scores,) = self._engine.score(context, [plan])
            self._done[arm] = _answered(self._clean, scores)
            self.counts = add_counts(self.counts, count_work(context, [plan], [scores]))
        return self._done[arm]

    def _plan(self, arm: LineArm) -> ArmPlan:
        """All problems, with what stands at each site; nothing has to be captured, for the values are known."""
        changes = []
        for site in arm.sites:
            x = self._clean.activations[site]
            value = x.float() if site in arm.kept else self._vectors[site].to(x.device).expand_as(x)
            # a run begins at the first site by adding; at the later ones, reached by arithmetic, the value is put
            changes.append(SiteChange(site, value - x.float(), value=value))
        n = len(self._clean.problems)
        return ArmPlan(_words(arm), torch.arange(n), tuple(changes), torch.ones(n, dtype=torch.bool))

    def _compare(self, cell: Site, arm: LineArm, against: LineArm | None) -> ContextChange:
        before = _undisturbed(self._clean) if against is None else self._answers(against)
        x = self._clean.activations[cell]
        # the cell holds the very value already: the two arms are one
        touched = (x != self._vectors[cell].to(x)).any(1).cpu().numpy()
        tolerance = LOGPROB_TOLERANCE[self._engine.model.dtype]
        change = _change(before, self._answers(arm), touched, tolerance)
        return ContextChange(replace(change, clusters=self._clean.clusters), int(before.correct.sum()))


def _change(before: _Answered, after: _Answered, touched: NDArray[np.bool_], tolerance: float) -> ArmChange:
    """One arm against another, problem by problem; exactly 0 where the cell was not touched."""
    moved = after.logprob - before.logprob
    # two arms run in different batches: what that makes of a row is no change
    logprob = np.where(touched & (np.abs(moved) > tolerance), moved, 0.0)
    other = np.array([a != b for a, b in zip(before.answers, after.answers, strict=True)], dtype=np.bool_)
    return ArmChange(
        accuracy=np.where(touched, after.correct - before.correct, 0.0),
        logprob=logprob,
        touched=touched,
        answer=touched & other,
        margin=np.where(touched, after.margin - before.margin, 0.0),
        probability=np.where(logprob != 0.0, probability_change(before.logprob, after.logprob), 0.0),
    )


def _answered(clean: CleanPass, scores: ArmScores) -> _Answered:
    pairs = zip(scores.answers, clean.problems, strict=True)
    return _Answered(
        correct=np.array([is_right(given, problem.answer) for given, problem in pairs], dtype=np.float64),
        logprob=scores.logprobs.double().numpy(),
        margin=scores.margins.double().numpy(),
        answers=scores.answers,
    )


def _undisturbed(clean: CleanPass) -> _Answered:
    return _Answered(
        correct=np.array([outcome.correct for outcome in clean.outcomes], dtype=np.float64),
        logprob=clean.logprobs.double().cpu().numpy(),
        margin=clean.margins.double().cpu().numpy(),
        answers=tuple(outcome.answer for outcome in clean.outcomes),
    )


def _words(arm: LineArm) -> str:
    kept = f", {', '.join(map(str, arm.kept))} kept" if arm.kept else ""
    return f"{', '.join(map(str, arm.replaced))} replaced{kept}"


def _has_path(model: CodiModel, site: Site) -> bool:
    try:
        make_resume_point(model, site)
    except ConfigError:
        return False
    return True
