"""What a run will take, before it runs: rows, memory and seconds, from a few of its problems.

A few problems spread evenly over all of them go through the clean pass and through some of the arms, with a clock
beside them. Rows that an arm touches there are scaled to all problems; no arm can have more rows than there are
problems, so pairs of arms and problems bound them.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from itertools import chain
from typing import Any

import torch

from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.edits.combined import as_table
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.screen_groups import GroupTask, group_runner
from codi_int.interventions.screens.sides import SelectionPlan
from codi_int.model.memory import bytes_per_slot
from codi_int.progress import Progress, count_up
from codi_int.types import Problem, Site

SCHEMA = "codi-int/plan@1"
PROBED = 64
"""problems that are run for an estimate; where there are no more, rows are counted and not estimated"""
TIMED = 64
"""features of a site whose arms are run for the clock"""
WARMING = 4
"""problems that are run before the clock starts: the first products of a process take longer"""


@dataclass(frozen=True)
class RunPlan:
    """What a run will take, by one process on this machine, without loading model and SAEs."""

    n_problems: int
    """all problems of the run"""
    n_probed: int
    """of these, how many were run for the estimate"""
    arms: int
    """edits, controls and reconstructions"""
    rows: int
    """(arm, problem) rows that run from the edited site onwards, as `suffix_rows` counts them; an estimate"""
    most_rows: int
    """no run has more: every arm on every problem"""
    memory: int
    """bytes that the process takes at its peak, program and weights included; on a GPU, of its memory; an estimate"""
    seconds: float
    """`clean_seconds`, `row_seconds` and `other_seconds` together"""
    clean_seconds: float
    """of the clean pass"""
    row_seconds: float
    """of the rows"""
    other_seconds: float
    """of plans, rankings and statistics"""
    probe_seconds: float
    """what the estimate itself took"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": SCHEMA, **asdict(self)}


class Probe:
    """An engine with the clean pass of some of its problems, and what was seen there."""

    def __init__(
        self,
        problems: Sequence[Problem],
        sites: Sequence[Site],
        open_engine: Callable[[Sequence[Problem]], FeatureInterventionEngine],
    ) -> None:
        """
        Args:
            problems: all problems of the run.
            sites: whose activations it holds.
            open_engine: gives the engine once it has made the clean pass of these problems.
        """
        self.started = time.perf_counter()
        self.problems, self.sites = tuple(problems), tuple(sites)
        n = min(PROBED, len(self.problems))
        self.chosen = tuple(self.problems[i * len(self.problems) // n] for i in range(n))
        open_engine(self.chosen[:WARMING])
        before = time.perf_counter()
        self.engine = open_engine(self.chosen)
        self.clean = time.perf_counter() - before
        self.arms = self.rows = 0
        self.timed_rows, self.timed_seconds = 0, 0.0
        self.other = 0.0

    @property
    def share(self) -> float:
        """Problems of the run for each that was run here."""
        return len(self.problems) / len(self.chosen)

    def plan(self, more_memory: int = 0) -> RunPlan:
        """What was seen, scaled to all problems; `more_memory` is what the run holds besides, in bytes."""
        rows = round(self.rows * self.share)
        row = self.timed_seconds / self.timed_rows if self.timed_rows else 0.0
        parts = [round(seconds, 3) for seconds in (self.clean * self.share, row * rows, self.other)]
        return RunPlan(
            n_problems=len(self.problems),
            n_probed=len(self.chosen),
            arms=self.arms,
            rows=rows,
            most_rows=self.arms * len(self.problems),
            memory=peak_memory(self.engine.model.device) + self._more_memory(rows) + more_memory,
            seconds=round(sum(parts), 3),
            clean_seconds=parts[0],
            row_seconds=parts[1],
            other_seconds=parts[2],
            probe_seconds=round(time.perf_counter() - self.started, 3),
        )

    def _more_memory(self, rows: int) -> int:
        """Bytes that the whole run holds beyond what the probe has held: keys and values, activations, latents."""
        model, slot = self.engine.model, bytes_per_slot(self.engine.model)

        def kept(problems: Sequence[Problem]) -> int:
            tokens = sum(len(model.encode_question(problem)) + model.n_thoughts + 2 for problem in problems)
            latents = sum(4 * sae.d_sae for site in self.sites if (sae := self.engine.saes.get(site)) is not None)
            each = len(self.sites) * model.d_model * model.dtype.itemsize + latents
            return min(self.engine.memory_budget * 3 // 4, tokens * slot) + len(problems) * each

        a_row = slot * (model.n_thoughts + 3 + model.config.max_new_tokens)
        together, probed = (min(self.engine.max_rows, n) for n in (rows, self.timed_rows))
        return max(0, kept(self.problems) - kept(self.chosen) + (together - probed) * a_row)


@torch.no_grad()
def plan_edits(
    engine: FeatureInterventionEngine, edits: Sequence[Any], problems: Sequence[Problem], controls: Controls, seed: int
) -> RunPlan:
    """What `engine.run_many` will take.

    Args:
        engine: with one site.
        edits: all edits of the run.
        problems: all problems of the run.
        controls: of each edit.
        seed: of the controls.
    """
    with silently():
        probe = Probe(problems, engine.sites, clean_at(engine, engine.sites[0]))
        for edit in edits:
            table = as_table(edit, engine.sites[0])
            context = engine.site_context(probe.chosen)
            arm = engine.plan(context, table)
            sets = engine.control_arms(context, table, arm, controls, seed)
            plans = [arm, engine.reconstruction(context, table), *chain.from_iterable(sets.values())]
            # all that were asked for: an edit that touches nothing here may have its controls on all problems
            whole_run = len(probe.chosen) == len(probe.problems)
            probe.arms += len(plans) if whole_run else 2 + sum(map(int, astuple(controls)))
            probe.rows += (rows := sum(len(plan.rows) for plan in plans))
            seconds = seconds_of(lambda c=context, p=plans: engine.score(c, p))  # type: ignore[misc]
            whole = seconds_of(lambda e=edit: engine.run(e, probe.chosen, seed, controls))  # type: ignore[misc]
            probe.timed_rows, probe.timed_seconds = probe.timed_rows + rows, probe.timed_seconds + seconds
            probe.other += max(0.0, whole - seconds)
        return probe.plan()


@torch.no_grad()
def plan_screen(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    features: Mapping[Site, Sequence[int]],
    seed: int,
    progress: Progress | None = None,
) -> RunPlan:
    """What a screen that ablates these features will take, without the confirmation of what it finds.

    Args:
        engine: with an SAE at every site.
        problems: all problems of the run.
        features: of each site.
        seed: of the statistics.
        progress: called with (stage, done, total).
    """
    with silently():
        probe = Probe(problems, tuple(features), clean_at(engine, next(iter(features))))
        do = group_runner(engine, probe.chosen, seed, SelectionPlan(confirm="none"))
        advance = count_up(progress, "plan", sum(map(len, features.values())))
        for site, listed in features.items():
            context = engine.site_context(probe.chosen, site)
            before = time.perf_counter()
            plans = {feature: engine.plan(context, Ablate(feature)) for feature in listed}
            planning = time.perf_counter() - before
            touching = [feature for feature, plan in plans.items() if len(plan.rows)]
            timed = touching[:: max(1, len(touching) // TIMED)][:TIMED]
            probe.arms += len(plans)
            probe.rows += sum(len(plan.rows) for plan in plans.values())
            advance(len(listed))
            if not timed:
                probe.other += planning
                continue
            seconds = seconds_of(lambda c=context, t=timed, p=plans: engine.score(c, [p[f] for f in t]))  # type: ignore[misc]
            whole = seconds_of(lambda s=site, t=timed: do(GroupTask(s, tuple(t))))  # type: ignore[misc]
            probe.timed_rows += sum(len(plans[feature].rows) for feature in timed)
            probe.timed_seconds += seconds
            # statistics are of features that touch something; the others are known without
            probe.other += planning + max(0.0, whole - seconds) / len(timed) * len(touching)
        return probe.plan()


def peak_memory(device: torch.device) -> int:
    """Bytes that this process has held at once so far: of a GPU where it runs on one, else of main memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # not every system tells
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 2**10  # KiB but for macOS


def clean_at(engine: FeatureInterventionEngine, site: Site) -> Callable[[Sequence[Problem]], FeatureInterventionEngine]:
    """An `open_engine` of a probe: the clean pass as the site needs it."""

    def open_engine(problems: Sequence[Problem]) -> FeatureInterventionEngine:
        engine.site_context(problems, site)
        return engine

    return open_engine


def seconds_of(work: Callable[[], Any]) -> float:
    """What it takes on the clock."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


@contextmanager
def silently() -> Iterator[None]:
    """A few problems give rise to warnings that are none of the run's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
