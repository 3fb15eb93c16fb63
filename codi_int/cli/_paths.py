"""What `--propagate split` does: one edit by both paths and by each alone. Loaded when it runs, for it is heavy."""

import sys
from dataclasses import replace
from typing import Any

from rich.console import Group
from rich.text import Text

from codi_int.cli._console import print_json, progress, stdout
from codi_int.cli._options import InterventionOptions
from codi_int.cli._sites import prepare
from codi_int.cli._tables import nats, p_text, points, table
from codi_int.interventions.edits.basic import Edit
from codi_int.interventions.engine.files import save_document
from codi_int.interventions.engine.store import prepare_folder
from codi_int.interventions.screens.paths import PATHS, EffectByPath, split_effect

NAMES = {"both": "by both roads", "cache": "by the cache alone", "recurrence": "by the recurrence alone"}


def print_split(edit: Edit, options: InterventionOptions) -> None:
    """Run an edit by every path, keep what comes out where that is asked for, and print it."""
    if options.out is not None:
        prepare_folder(options.out)
    with progress() as report:
        engine, problems, sae = prepare(replace(options, propagate="both"), report)
        found = split_effect(engine, edit, problems, options.seed, progress=report)
    about = {"model": engine.model.name, "sae": sae, "data": options.data, "n_problems": len(problems)}
    document = {**found.to_dict(), **about, "seed": options.seed}
    if options.out is not None:
        names = save_document(options.out, "roads", document, {})
        print(f"Kept in {options.out}: {', '.join(names)}", file=sys.stderr)
    if options.as_json:
        print_json(document)
    else:
        stdout().print(paths_page(found, document))


def paths_page(found: EffectByPath, document: dict[str, Any]) -> Group:
    """A row for each path, and what they do not add up to."""
    head = Text(f"{found.label} at {found.site} of {document['model']}", style="bold")
    where = f"\n{document['n_problems']:,} problems of {document['data']} · SAE {document['sae']}"
    head.append(f"{where} · seed {document['seed']}", style="not bold")
    accuracy = table("accuracy, points", "change", "interval", "broken", "fixed", "p")
    logprob = table("log-probability of the clean answer, nats", "change", "interval", "p")
    for path in PATHS:
        effect = getattr(found, path)
        low, high = points(effect.low), points(effect.high)
        flips = (str(effect.n_broken), str(effect.n_fixed))
        accuracy.add_row(NAMES[path], points(effect.estimate), f"{low} to {high}", *flips, p_text(effect.p_value))
        log = effect.logprob
        logprob.add_row(NAMES[path], nats(log.estimate), f"{nats(log.low)} to {nats(log.high)}", p_text(log.p_value))
    rest, nats_left = found.rest, found.rest_logprob
    interval = f"{points(rest.low)} to {points(rest.high)}"
    accuracy.add_row("both - (cache + recurrence)", points(rest.estimate), interval, "", "", p_text(rest.p_value))
    interval = f"{nats(nats_left.low)} to {nats(nats_left.high)}"
    logprob.add_row("both - (cache + recurrence)", nats(nats_left.estimate), interval, p_text(nats_left.p_value))
    return Group(head, "", accuracy, "", logprob)
