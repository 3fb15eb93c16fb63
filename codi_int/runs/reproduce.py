"""A published experiment run again: the kind of its config says which file of this package does it."""

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from codi_int.errors import ConfigError
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress
from codi_int.runs.reproduction import Reproduction, ReproductionPlan


def reproduce(model: CodiModel, plan: ReproductionPlan, progress: Progress | None = None) -> Reproduction:
    """Run a published experiment on a model.

    Args:
        model: which; the published ones are LLaMA-3.2-1B.
        plan: the experiment and its problems.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: an experiment of a kind that nothing here runs.
        SiteError: a model without the experiment's layers.
    """
    # here and not above: either kind loads what the other does without
    if plan.experiment.kind == "dictionaries":
        from codi_int.runs.reproduce_dictionaries import run_dictionaries as run
    elif plan.experiment.kind == "ablations":
        from codi_int.runs.reproduce_ablations import run_ablations as run
    else:
        raise ConfigError(
            f"{plan.experiment.name} is of kind {plan.experiment.kind!r}, which is not known here.",
            "It is dictionaries or ablations.",
        )
    started = time.perf_counter()
    place: AbstractContextManager[str | Path] = TemporaryDirectory() if plan.out is None else nullcontext(plan.out)
    with place as folder:
        settings, lines = run(model, plan, Path(folder), progress)
    return Reproduction(
        experiment=plan.experiment.name,
        question=plan.experiment.question,
        report=plan.experiment.report,
        model=model.name,
        data=plan.data,
        n_problems=len(plan.problems),
        settings=settings,
        lines=lines,
        seconds=time.perf_counter() - started,
    )
