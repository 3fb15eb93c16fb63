"""`codi-int curve`: how accuracy falls when more and more features are ablated together."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import RenderableType

from codi_int.cli import _choices as c
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, percentage, points
from codi_int.cli._signature import with_options
from codi_int.cli._tables import note_lines
from codi_int.errors import ConfigError
from codi_int.interventions.engine.documents import save_document
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.interventions.screens.curves import AblationCurve, CurvePoint


@dataclass(frozen=True, kw_only=True)
class CurveOptions(o.SiteOptions, o.RunOptions):
    """Which features go, and how many."""

    order: Annotated[
        c.CurveOrder, o.what(metavar="ORDER", help="By attribution, screen (takes a whole one) or frequency.")
    ] = "attribution"
    sizes: Annotated[
        tuple[int, ...],
        o.what("--n", metavar="N", help="How many to ablate: 1,8,64.  [default: 1, 2, 4, ..., all]"),
        partial(o.whole_numbers, option="--n"),
    ] = ()
    draws: Annotated[
        int, o.evidence(parser=o.whole("--draws", least=0), metavar="N", help="Random sets for each n.")
    ] = 10


@with_options
def curve(options: CurveOptions) -> None:
    """Ablate the top n features of a site together, for growing n, against random sets of as many alive features.

    Example: codi-int curve --layer 14 --n 1,8,64 --limit 300
    """
    from codi_int.interventions.engine.controls import check_draws
    from codi_int.interventions.screens.curves import AblationCurve

    if options.sizes and min(options.sizes) < 1:
        raise ConfigError(f"--n starts at 1, got {min(options.sizes)}.", "Write --n 1,8, for example.")
    check_draws(options.draws)
    folder = run_folder(options)
    run_job(
        lambda report: _run(options, folder, report),
        document=AblationCurve.to_dict,
        page=curve_page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _run(options: CurveOptions, folder: RunFolder, report: Report) -> "AblationCurve":
    from codi_int.cli._sites import saes_for
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.interventions.engine.engine import FeatureInterventionEngine
    from codi_int.interventions.screens.curves import run_curve
    from codi_int.interventions.screens.rankings import rank_features
    from codi_int.model.loading import load_model
    from codi_int.sae.store import load_sae
    from codi_int.types import Site

    site, problems = Site(options.layer, options.position), load_problems(options.data, options.limit)
    model = load_model(options.model, device=options.device)
    model.check_site(site)
    # one site was asked for, so there is one name; none is an error that `saes_for` raises
    (name,) = saes_for(options.model, options.sae, [site]).values()
    sae = load_sae(name, device=options.device)
    folder.claim(model=model.sha256, sae=sae.sha256, data=problems_sha256(problems))
    engine = FeatureInterventionEngine(model, {site: sae})
    ranking = rank_features(engine, problems, options.order, options.seed, progress=report)
    return run_curve(
        engine,
        problems,
        ranking,
        order=options.order,
        sizes=options.sizes or None,
        draws=options.draws,
        seed=options.seed,
        data=options.data,
        sae_name=name,
        progress=report,
    )


def _keep(found: "AblationCurve", out: Path) -> Kept:
    from codi_int.interventions.kept import table_of

    document = found.to_dict()
    return Kept(save_document(out, "curve", document, {"curve": table_of(found)}), [(document, out)])


def curve_page(found: "AblationCurve") -> Page:
    """The top features beside the random sets, for every n."""
    alive = counted(found.n_living, "alive feature")
    head = Text(f"ablate the top n of {alive} by {found.order} at {found.site}", style="bold")
    right = f"{counted(found.n_problems, 'problem')} of {found.data}, {found.n_correct:,} right"
    head.append(f"\n{found.model} · SAE {found.sae} · {right} · seed {found.seed}", style="not bold")
    c, env = found.counts, found.environment
    work = f"{c.pairs:,} pairs: {c.skipped:,} proved unchanged, {c.suffix_rows:,} run from the site on"
    spent = f"{fixed(env.seconds, 1)} s on {counted(env.threads, 'thread')}"
    footer = Text(f"{work}, {c.rerun:,} twice · {spent}", style="dim")
    parts: list[RenderableType] = [head, "", _table(found)]
    if found.random:
        parts += ["", Text(_verdict(found), style="bold")]
    return Page(*parts, *note_lines(found.notes), "", footer)


def _table(found: "AblationCurve") -> FittedTable:
    draws = counted(len(found.random), "random set")
    out = table(
        "n",
        Column("accuracy", rank=4),
        "change",
        Column("95% interval", rank=2, name="95% interval of accuracy"),
        Column(draws, rank=1, name=f"accuracy of {draws}"),
        "nats",
        Column("95% interval", rank=3, name="95% interval of nats"),
        Column(draws, rank=1, name=f"nats of {draws}"),
    )
    for i, point in enumerate(found.top):
        # Least and largest, not an interval: ten draws give no quantile worth the name.
        others = [line[i] for line in found.random]
        accuracies = [points(end.estimate) for end in _ends(others, "estimate")]
        logprobs = [fixed(end.logprob, 3, "+") for end in _ends(others, "logprob")]
        out.add_row(
            f"{point.n:,}",
            f"{percentage(point.accuracy)} %",
            points(point.estimate),
            f"{points(point.low)} to {points(point.high)}",
            " to ".join(accuracies),
            fixed(point.logprob, 3, "+"),
            f"{fixed(point.logprob_low, 3, '+')} to {fixed(point.logprob_high, 3, '+')}",
            " to ".join(logprobs),
        )
    return out


def _ends(points_: "list[CurvePoint]", name: str) -> "list[CurvePoint]":
    """The smallest and the largest by one measure."""
    ordered = sorted(points_, key=lambda point: float(getattr(point, name)))
    return [ordered[0], ordered[-1]] if ordered else []


def _verdict(found: "AblationCurve") -> str:
    """How the top features compare with the random sets, where these are other sets."""
    # At n = all of them every random set is the same set, so a comparison there would be of a thing with itself.
    # Magnitudes: an ablation may raise the log-probability, and that too is a strong effect.
    beyond = [
        point.n
        for i, point in enumerate(found.top)
        if point.n < found.n_living and all(abs(point.logprob) > abs(line[i].logprob) for line in found.random)
    ]
    named = ", ".join(map(str, beyond)) or "none"
    draws = counted(len(found.random), "random set")
    return (
        f"The top n move the clean answer's log-probability further than each of {draws} of n for n = {named}. "
        f"Nothing finer than 1 in {len(found.random) + 1} can be said."
    )
