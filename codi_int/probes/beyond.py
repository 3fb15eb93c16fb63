"""The most selective probe beyond the problems that selected it: tested on others, its directions removed there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from codi_int.data.chains import chain_of, cluster_problems
from codi_int.data.problems import name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.screens.sides import SelectionPlan, take_sides
from codi_int.model.hooked import CodiModel
from codi_int.probes.activations import rows_at
from codi_int.probes.causal import remove_directions
from codi_int.probes.fitting import Method, Outputs, fit_split, whole_split
from codi_int.probes.records import CausalCheck, ConfirmedProbe, ProbeRow
from codi_int.probes.ridge import Array, LinearProbe
from codi_int.probes.scores import Scored, Scorer, control_score
from codi_int.probes.targets import Labels, label_problems
from codi_int.probes.task import ProbeTask, given_labels
from codi_int.progress import Progress
from codi_int.sae.base import SAE
from codi_int.types import Problem, Site, ThoughtBatch


@dataclass(frozen=True)
class Beyond:
    """What became of the most selective probe."""

    confirmed: ConfirmedProbe | None
    """on other problems; None where there are none"""
    causal: CausalCheck | None
    """its directions removed; None where that was not asked for, or cannot be"""
    notes: tuple[str, ...]
    """why not, in words"""


def go_beyond(
    model: CodiModel,
    problems: Sequence[Problem],
    task: ProbeTask,
    batch: ThoughtBatch,
    best: ProbeRow,
    saes: Mapping[Site, SAE],
    progress: Progress | None = None,
) -> Beyond:
    """The most selective probe fitted to all problems, tested on others, and its directions removed there.

    Args:
        model: the model.
        problems: those that selected.
        task: labels and settings.
        batch: what was captured on these problems.
        best: the row that came out most selective.
        saes: of the sites whose latents are read.
        progress: called with (stage, done, total).
    """
    settings, sae = task.settings, saes.get(best.site) if task.settings.source == "latents" else None
    x = rows_at(batch, best.site, task.labels.rows, sae)
    confirming = _confirming(problems, task)
    confirmed = None if confirming is None else _confirm(model, confirming, task, best, x=x, sae=sae)
    notes = []
    if confirmed is None:
        notes.append("The most selective site is not tested on other problems: its score is that of the best of all.")
    if not settings.causal:
        return Beyond(confirmed, None, tuple(notes))
    if settings.source == "latents":
        notes.append("Directions are removed from residuals and thoughts, not from latents: ablate these.")
        return Beyond(confirmed, None, tuple(notes))
    if confirming is None:
        notes.append("The directions are removed on the problems that the probe was fitted to.")
    try:
        causal = remove_directions(
            model,
            problems if confirming is None else confirming,
            best.site,
            _fit_all(x, task.outputs, task),
            x,
            draws=settings.causal,
            seed=settings.seed,
            progress=progress,
        )
    except ConfigError as error:
        return Beyond(confirmed, None, (*notes, f"No directions are removed at {best.site}: {error.rule}"))
    return Beyond(confirmed, causal, tuple(notes))


def _fit_all(x: Array, outputs: Outputs, task: ProbeTask) -> LinearProbe:
    split = whole_split(outputs, task.clusters, task.settings.seed)
    return fit_split(x, outputs, split, cast("Method", task.settings.method))


def _confirming(problems: Sequence[Problem], task: ProbeTask) -> Sequence[Problem] | None:
    """Problems that selected nothing; None where there are none, or where wrong ones would have to be drawn again."""
    if task.labels.target.name == "correct":
        return None
    return take_sides(problems, SelectionPlan(confirm=task.settings.confirm)).confirming


def _confirm(
    model: CodiModel,
    confirming: Sequence[Problem],
    task: ProbeTask,
    best: ProbeRow,
    x: Array,
    sae: SAE | None,
) -> ConfirmedProbe | None:
    """Fitted to all problems that selected, tested on those of the others whose calculation and type is fit for it."""
    labels, settings = task.labels, task.settings
    other = label_problems(labels.target, confirming, None, settings.folds)
    kept = _fitting(other, labels, confirming, task.chains)
    if not kept:
        return None
    fresh = [confirming[other.rows[j]] for j in kept]
    values = other.values[kept]
    if labels.classes:
        places = [labels.classes.index(other.classes[int(value)]) for value in values]
        values = np.array(places, dtype=np.float64)
    new = rows_at(model.think(fresh, capture=[best.site]), best.site, np.arange(len(fresh)), sae)
    scorer = Scorer(cluster_problems(fresh), settings.seed)

    def tested(fit: Outputs, true: Array) -> Scored:
        return scorer.score(Outputs(true, fit.n_classes), fit.read(_fit_all(x, fit, task).outputs(new)))

    score = tested(task.outputs, values)
    kinds = [other.types[j] for j in kept]
    assigned = [labels.control(draw, settings.seed) for draw in range(len(task.controls))]
    pairs = zip(task.controls, assigned, strict=True)
    drawn = [tested(fit, given_labels(given, kinds)) for fit, given in pairs]
    control = control_score(drawn, not task.outputs.n_classes)
    return ConfirmedProbe(
        site=best.site,
        k=best.k,
        data=name_of_problems(confirming, None),
        n=len(fresh),
        found=score.estimate,
        control=control.value,
        difference=score.minus(control).estimate,
    )


def _fitting(other: Labels, labels: Labels, problems: Sequence[Problem], known: frozenset[str]) -> list[int]:
    """Places of labels whose calculation is new, and whose class and type are not."""
    types = set(labels.types)
    return [
        j
        for j, i in enumerate(other.rows.tolist())
        if chain_of(problems[i]) not in known
        and other.types[j] in types
        and (not other.classes or other.classes[int(other.values[j])] in labels.classes)
    ]
