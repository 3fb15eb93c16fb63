"""What `--propagate split` does: one edit by both paths and by each alone. Loaded when it runs, for it is heavy."""

from dataclasses import dataclass, replace
from typing import Any

from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, Page, table
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import interval_text, nats, p_text, points
from codi_int.cli._options import InterventionOptions
from codi_int.cli._sites import prepare
from codi_int.cli._tables import note_lines
from codi_int.interventions.edits.basic import Edit
from codi_int.interventions.engine.documents import save_document
from codi_int.interventions.screens.paths import PATHS, EffectByPath, split_effect

NAMES = {"both": "by both paths", "cache": "by the cache alone", "recurrence": "by the recurrence alone"}


def print_split(edit: Edit, options: InterventionOptions) -> None:
    """Run an edit by every path, keep what comes out where that is asked for, and print it."""

    folder = run_folder(options)

    def work(report: Report) -> _Found:
        # The engine itself lets an edit pass on by both paths; `split_effect` cuts them one after the other.
        engine, problems, sae = prepare(replace(options, propagate="both"), folder, report)
        effects = split_effect(engine, edit, problems, options.seed, progress=report, bound=options.bound)
        about = {"model": engine.model.name, "sae": sae, "data": options.data, "n_problems": len(problems)}
        return _Found(effects, {**effects.to_dict(), **about, "seed": options.seed})

    run_job(
        work,
        document=lambda found: found.document,
        page=lambda found: paths_page(found.effects, found.document),
        as_json=options.as_json,
        out=folder,
        # "roads" is what earlier releases called the paths; the file keeps its name
        keep=lambda found, out: Kept(save_document(out, "roads", found.document, {}), [(found.document, out)]),
    )


@dataclass(frozen=True)
class _Found:
    """One edit by every path."""

    effects: EffectByPath
    """by both paths, by each alone, and the interaction"""
    document: dict[str, Any]
    """the same as plain JSON types, with model, SAE and data"""


def paths_page(found: EffectByPath, document: dict[str, Any]) -> Page:
    """A row for each path, and what they do not add up to."""
    head = Text(f"{found.label} at {found.site} of {document['model']}", style="bold")
    where = f"\n{document['n_problems']:,} problems of {document['data']} · SAE {document['sae']}"
    head.append(f"{where} · seed {document['seed']}", style="not bold")
    flips = (Column("broken", rank=1), Column("fixed", rank=1))
    accuracy = table("accuracy, points", "change", "interval", *flips, "p")
    logprob = table("log-probability of the clean answer, nats", "change", "interval", "p")
    # the order of PATHS, both first: the two below it are read as its parts
    for path in PATHS:
        effect = getattr(found, path)
        low, high = points(effect.low), points(effect.high)
        counts = (f"{effect.n_broken:,}", f"{effect.n_fixed:,}")
        accuracy.add_row(NAMES[path], points(effect.estimate), f"{low} to {high}", *counts, p_text(effect.p_value))
        log = effect.logprob
        logprob.add_row(NAMES[path], nats(log.estimate), interval_text(log.low, log.high, nats), p_text(log.p_value))
    # The interaction: what both paths do beyond the sum of each alone, from the same problems and so with an interval
    # of its own. Flips do not add up, so those two cells stay empty. (`rest` is the document's older key for it.)
    interaction, nats_left = found.interaction, found.interaction_logprob
    interval = interval_text(interaction.low, interaction.high, points)
    accuracy.add_row(
        "both - (cache + recurrence)", points(interaction.estimate), interval, "", "", p_text(interaction.p_value)
    )
    interval = interval_text(nats_left.low, nats_left.high, nats)
    logprob.add_row("both - (cache + recurrence)", nats(nats_left.estimate), interval, p_text(nats_left.p_value))
    return Page(head, "", accuracy, "", logprob, *note_lines(found.notes))
