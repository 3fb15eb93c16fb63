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
from codi_int.cli._job import Kept, run_folder, run_job, units_of
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, p_text, percentage, points
from codi_int.cli._selection_pages import conclusion_words
from codi_int.cli._signature import with_options
from codi_int.cli._tables import note_lines
from codi_int.errors import ConfigError
from codi_int.interventions.engine.documents import save_document
from codi_int.run_folder import UNITS_NOTE, RunFolder

CONFIDENCE = 0.95

if TYPE_CHECKING:
    from codi_int.data.problems import Problems
    from codi_int.interventions.kept_scores import ResumingEngine
    from codi_int.interventions.screens.curves import AblationCurve, CurvePoint


@dataclass(frozen=True, kw_only=True)
class CurveOptions(o.SelectionOptions, o.SiteOptions, o.RunOptions):
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
    plan: o.Plan = False


@with_options
def curve(options: CurveOptions) -> None:
    """Ablate the top n features of a site together, for growing n, against random sets that take out as much.

    Features are ranked on --data and the sets measured where --confirm says: a ranking flatters its own problems.

    Example: codi-int curve --layer 14 --n 1,8,64 --limit 300
    """
    from codi_int.interventions.engine.controls import check_draws
    from codi_int.interventions.screens.curves import AblationCurve

    if options.sizes and min(options.sizes) < 1:
        raise ConfigError(f"--n starts at 1, got {min(options.sizes)}.", "Write --n 1,8, for example.")
    check_draws(options.draws)
    o.selection_plan(options)
    if options.plan:
        _show_plan(options)
        return
    folder = run_folder(options, own=(UNITS_NOTE,))
    run_job(
        lambda report: _run(options, folder, report),
        document=AblationCurve.to_dict,
        page=curve_page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _show_plan(options: CurveOptions) -> None:
    from codi_int.cli._plan import show_plan
    from codi_int.cli._workers import no_folder
    from codi_int.runs.plan import RunPlan
    from codi_int.runs.plan_maps import plan_curve

    def make(report: Report) -> RunPlan:
        engine, problems, _ = _load(options, no_folder())
        return plan_curve(
            engine,
            problems,
            options.order,
            selection=o.selection_plan(options),
            sizes=options.sizes or None,
            draws=options.draws,
            seed=options.seed,
        )

    gradients = " Memory is without the gradients of whole batches." if options.order == "attribution" else ""
    show_plan(options, make, f"Rows are without those of the ranking.{gradients}", own=(UNITS_NOTE,))


def _run(options: CurveOptions, folder: RunFolder, report: Report) -> "AblationCurve":
    from codi_int.cli._sites import begin_warm
    from codi_int.interventions.screens.ranked_curves import run_ranked_curve

    engine, problems, name = _load(options, folder)
    begin_warm(engine, len(problems))
    return run_ranked_curve(
        engine,
        problems,
        options.order,
        selection=o.selection_plan(options),
        sizes=options.sizes or None,
        draws=options.draws,
        seed=options.seed,
        sae_name=name,
        progress=report,
    )


def _load(options: CurveOptions, folder: RunFolder) -> "tuple[ResumingEngine, Problems, str]":
    """What the options name, with the name of the SAE; claims the folder."""
    from codi_int.cli._sites import open_model, saes_for
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.interventions.kept_scores import ResumingEngine
    from codi_int.sae.store import load_sae

    site, problems = options.site, load_problems(options.data, options.limit)
    model = open_model(options.model, options.device)
    model.check_site(site)
    # one site was asked for, so there is one name; none is an error that `saes_for` raises
    (name,) = saes_for(options.model, options.sae, [site]).values()
    sae = load_sae(name, device=options.device)
    confirmation = o.confirmation_hash(options, problems)
    folder.claim(model=model.sha256, sae=sae.sha256, data=problems_sha256(problems), **confirmation)
    engine = ResumingEngine(model, {site: sae}, memory_budget=options.memory_budget)
    engine.files = units_of(folder)
    return engine, problems, name


def _keep(found: "AblationCurve", out: Path) -> Kept:
    from codi_int.interventions.kept import table_of

    document = found.to_dict()
    return Kept(save_document(out, "curve", document, {"curve": table_of(found)}), [(document, out)])


def curve_page(found: "AblationCurve") -> Page:
    """The top features beside the random sets, for every n; the second fold below the first."""
    parts: list[RenderableType] = []
    for one in (found, found.exchanged):
        if one is not None:
            parts += [*([""] if parts else []), *_curve_parts(one)]
    c, env = found.counts, found.environment
    seconds = env.seconds + (found.exchanged.environment.seconds if found.exchanged else 0.0)
    rows = c.suffix_rows + (found.exchanged.counts.suffix_rows if found.exchanged else 0)
    work = f"{counted(rows, 'row')} run from the site on"
    footer = Text(f"{work} · {fixed(seconds, 1)} s on {counted(env.threads, 'thread')}", style="dim")
    return Page(*parts, *note_lines(found.notes), "", footer)


def _curve_parts(found: "AblationCurve") -> list[RenderableType]:
    alive = counted(found.n_living, "alive feature")
    head = Text(f"ablate the top n of {alive} by {found.order} at {found.site}", style="bold")
    right = f"{counted(found.n_problems, 'problem')} of {found.data}, {found.n_correct:,} right"
    head.append(f"\n{found.model} · SAE {found.sae} · {right} · seed {found.seed}", style="not bold")
    if found.ranked_on is not None:
        same = found.ranked_on == found.data
        ranked = "ranked on these very problems, which flatters the first" if same else f"ranked on {found.ranked_on}"
        head.append(f"\n{ranked}", style="not bold")
    parts: list[RenderableType] = [head, "", _table(found)]
    if found.comparisons:
        parts += ["", _comparisons(found)]
    parts += ["", Text(_verdict(found), style="bold")]
    if found.selection is not None:
        parts.append(Text(conclusion_words(found.top, found.selection), style="bold"))
    return parts


def _table(found: "AblationCurve") -> FittedTable:
    draws = counted(len(found.random), "random set")
    out = table(
        "n",
        Column("accuracy", rank=4),
        "change",
        Column("95% interval", rank=2, name="95% interval of accuracy"),
        "p (family)",
        Column(draws, rank=1, name=f"accuracy of {draws}"),
        Column("nats", rank=1),
        Column("95% interval", rank=3, name="95% interval of nats"),
        Column(draws, rank=3, name=f"nats of {draws}"),
        Column("conclusion", rank=2, text=True),
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
            interval_text(point.low, point.high, points),
            p_text(point.p_adjusted),
            " to ".join(accuracies),
            fixed(point.logprob, 3, "+"),
            interval_text(point.logprob_low, point.logprob_high, _nats),
            " to ".join(logprobs),
            point.conclusion or "-",
        )
    return out


def _nats(value: float) -> str:
    return fixed(value, 3, "+")


def _comparisons(found: "AblationCurve") -> FittedTable:
    """The top sets minus the random ones, and how alike what they take out is."""
    top = {point.n: point for point in found.top}
    out = table(
        "n",
        "top - random",
        Column("95% interval", name="95% interval of the difference"),
        Column("p (Holm)", rank=1),
        Column("near", rank=2, name="sets within a factor of 1.5"),
        Column("latents", rank=3, name="latents taken out"),
        Column("random", rank=3, name="latents that random sets take out"),
        Column("norm", rank=3, name="norm taken out"),
        Column("random", rank=3, name="norm that random sets take out"),
    )
    for one in found.comparisons:
        point, difference = top[one.n], one.difference
        out.add_row(
            f"{one.n:,}",
            points(difference.value),
            interval_text(difference.low, difference.high, points),
            p_text(difference.p_adjusted),
            f"{one.n_near} of {len(found.random)}",
            "-" if point.latents is None else fixed(point.latents, 2),
            fixed(one.latents_median, 2),
            "-" if point.norm is None else fixed(point.norm, 2),
            fixed(one.norm_median, 2),
        )
    return out


def _ends(points_: "list[CurvePoint]", name: str) -> "list[CurvePoint]":
    """The smallest and the largest by one measure."""
    ordered = sorted(points_, key=lambda point: float(getattr(point, name)))
    return [ordered[0], ordered[-1]] if ordered else []


def _verdict(found: "AblationCurve") -> str:
    """How the top features compare with random sets that take out as much."""
    if not found.comparisons:
        return "Without random sets nothing says whether these features do more than others."
    level = 1.0 - CONFIDENCE
    beyond = [
        one.n
        for one in found.comparisons
        if one.difference.p_adjusted is not None
        and one.difference.p_adjusted < level
        # magnitudes: a set may raise accuracy, and that too is more than nothing
        and one.difference.value * next(p.estimate for p in found.top if p.n == one.n) > 0
    ]
    far = [str(one.n) for one in found.comparisons if one.n_near < len(found.random)]
    unlike = f" For n = {', '.join(far)} not all random sets take out as much." if far else ""
    return (
        f"The top n change accuracy by more than random sets that take out as many latents and as much norm for n = "
        f"{', '.join(map(str, beyond)) or 'none'} (paired by problem, Holm over the sizes).{unlike}"
    )
