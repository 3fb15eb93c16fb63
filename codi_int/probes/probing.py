"""The entry point: one target, site by site, with control task, baselines, confirmation and the causal check."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from codi_int.catalog import LONG_STORIES, STORIES
from codi_int.data.problems import ProblemsLike, as_problems, name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.engine.environment import describe_environment
from codi_int.model.hooked import CodiModel
from codi_int.model.vocabulary import vocabulary_notes
from codi_int.notes import give
from codi_int.probes.activations import Source, at_random_positions, check_source, rows_at, sites_of, words_of
from codi_int.probes.beyond import go_beyond
from codi_int.probes.records import Baseline, ProbeMap, ProbeRow
from codi_int.probes.ridge import Array
from codi_int.probes.scores import Scored
from codi_int.probes.targets import label_problems, parse_target, question_note
from codi_int.probes.task import ProbeSettings, ProbeTask, prepare_task
from codi_int.probes.wrong import collect_errors, fresh_stories
from codi_int.progress import Progress, count_up
from codi_int.records import Estimate
from codi_int.sae.base import SAE
from codi_int.sites import SitesLike, as_sites
from codi_int.types import Problem, Site, ThoughtBatch


@dataclass(frozen=True)
class ProbeCheckpoint:
    """What an interrupted run has left, and where finished rows go."""

    rows: tuple[ProbeRow, ...] = ()
    """finished ones, which are not made again"""
    keep: Callable[[Sequence[ProbeRow]], None] | None = None
    """called with all finished rows after every site"""


@dataclass(frozen=True)
class _Reading:
    """What is read, and the words of the question beside it."""

    task: ProbeTask
    batch: ThoughtBatch
    words: Scored
    saes: Mapping[Site, SAE]

    def sae_at(self, site: Site) -> SAE | None:
        """The SAE whose latents are read there; None where activations are."""
        return self.saes.get(site) if self.task.settings.source == "latents" else None

    def at(self, site: Site) -> Array:
        """What the probe of a site reads. [n, d]"""
        return rows_at(self.batch, site, self.task.labels.rows, self.sae_at(site))


def probe(
    model: CodiModel,
    problems: ProblemsLike,
    target: str = "operation:1",
    sites: SitesLike | None = None,
    saes: Mapping[Site, SAE] | None = None,
    settings: ProbeSettings | None = None,
    checkpoint: ProbeCheckpoint | None = None,
    progress: Progress | None = None,
) -> ProbeMap:
    """Fit linear probes for one target at many sites, and hold them against what says nothing of the sites.

    No calculation is both fitted to and tested on. The penalty is chosen inside each fold. The most selective probe is
    tested on problems that selected nothing, and there its directions are removed.

    Args:
        model: the model.
        problems: the problems; for `correct` on stories, fresh ones are drawn instead.
        target: `operation:N`, `result:N`, `left:N`, `right:N` (of step N), `n_steps`, `answer` or `correct`.
        sites: where; default every layer and position, or every thought that is fed.
        saes: for the source `latents`: the SAE of each site.
        settings: how, and what beside it; default residuals by ridge.
        checkpoint: rows that are finished, and who keeps new ones.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: for a target or setting that does not exist, problems without the target, or a class with too few
            of them.
        SiteError: for a site that the model does not have.
    """
    started = time.perf_counter()
    settings, checkpoint, saes = settings or ProbeSettings(), checkpoint or ProbeCheckpoint(), saes or {}
    wanted, problems = parse_target(target), as_problems(problems)
    source = cast("Source", settings.source)
    places = sites_of(model, source) if sites is None else tuple(model.check_site(site) for site in as_sites(sites))
    check_source(source, places, saes)
    if settings.method == "logistic" and wanted.kind == "numbers":
        raise ConfigError(f"target {target} is a number, which a logistic probe cannot read.", "Use the method ridge.")
    problems, correct = _answered(model, problems, wanted.name, settings, progress)
    labels = label_problems(wanted, problems, correct, settings.folds)
    notes = (*vocabulary_notes(model, problems), *question_note(labels))
    give(notes)
    batch = model.think(problems, capture=places, progress=progress)
    task = prepare_task(labels, problems, settings)
    words, _ = task.score(words_of(model, [problems[i] for i in labels.rows]))
    rows = list(_rows(_Reading(task, batch, words, saes), places, checkpoint, progress))
    best = max((row for row in rows if row.k is None), key=lambda row: row.selectivity)
    beyond = go_beyond(model, problems, task, batch=batch, best=best, saes=saes, progress=progress)
    give(beyond.notes)
    return ProbeMap(
        model=model.name,
        data=name_of_problems(problems, None),
        target=str(wanted),
        kind=wanted.kind,
        measure="balanced accuracy" if labels.classes else "R²",
        method=settings.method,
        source=source,
        classes=labels.classes,
        class_counts=tuple(np.bincount(labels.values.astype(int)).tolist()) if labels.classes else (),
        n=labels.rows.size,
        n_problems=len(problems),
        n_clusters=int(np.unique(task.clusters).size),
        folds=settings.folds,
        control_draws=settings.control_draws,
        control_types=wanted.types,
        in_question=labels.in_question,
        seed=settings.seed,
        baselines=tuple(_baselines(_Reading(task, batch, words, saes), places)),
        rows=tuple(rows),
        confirmed=beyond.confirmed,
        causal=beyond.causal,
        environment=describe_environment(model, list(saes.values()), problems, time.perf_counter() - started),
        notes=(*notes, *beyond.notes),
    )


def _answered(
    model: CodiModel, problems: Sequence[Problem], target: str, settings: ProbeSettings, progress: Progress | None
) -> tuple[Sequence[Problem], tuple[bool, ...] | None]:
    """For the target `correct` problems with wrong and right answers, and which; others as they are."""
    if target != "correct":
        return problems, None
    kind = name_of_problems(problems, None).partition(":")[0]
    stories = kind in (STORIES, LONG_STORIES)
    sets = fresh_stories(kind=kind) if stories else iter([problems])
    # of other data all that there are
    wanted = settings.wrong if stories else min(settings.wrong, 2 * settings.folds)
    return collect_errors(model, sets, wanted, settings.seed, progress)


def _rows(
    reading: _Reading, places: Sequence[Site], checkpoint: ProbeCheckpoint, progress: Progress | None
) -> Iterator[ProbeRow]:
    """A row for each site and k, those that are finished as they are."""
    ks: tuple[int | None, ...] = (None, *reading.task.settings.ks)
    known = {(row.site, row.k): row for row in checkpoint.rows}
    done: list[ProbeRow] = []
    add = count_up(progress, f"probes of {reading.task.labels.target}", len(places))
    for site in places:
        if missing := [k for k in ks if (site, k) not in known]:
            x = reading.at(site)
            known.update({(site, k): _row(reading, site, x, k) for k in missing})
        found = [known[site, k] for k in ks]
        done += found
        if checkpoint.keep is not None:
            checkpoint.keep(done)
        add(1)
        yield from found


def _row(reading: _Reading, site: Site, x: Array, k: int | None) -> ProbeRow:
    score, penalty = reading.task.score(x, k)
    control, sae = reading.task.score_controls(x, k), reading.sae_at(site)
    return ProbeRow(
        site=site,
        sae=None if sae is None else sae.name,
        k=k,
        n_dimensions=x.shape[1],
        found=score.estimate,
        control=control.value,
        difference=score.minus(control).estimate,
        beyond=score.minus(reading.words).estimate,
        penalty=penalty,
    )


def _baselines(reading: _Reading, places: Sequence[Site]) -> Iterator[Baseline]:
    """What can be had without the site: by guessing, from the words, from whatever position."""
    n_classes, settings = len(reading.task.labels.classes), reading.task.settings
    chance = 1 / n_classes if n_classes else 0.0
    yield Baseline("majority", Estimate(chance, chance, chance, method="by definition"))
    yield Baseline("words of the question", reading.words.estimate)
    layers: dict[int | None, list[Site]] = {}
    for site in places:
        layers.setdefault(site.layer, []).append(site)
    for layer, sites in layers.items():
        if len(sites) < 2 or settings.source == "latents":
            continue
        x = at_random_positions(reading.batch, sites, reading.task.labels.rows, settings.seed)
        score, _ = reading.task.score(x)
        where = "thoughts" if layer is None else f"layer {layer}"
        yield Baseline(f"shuffled positions, {where}", score.estimate)
