"""What ablate, amplify and swap share: the engine that the options name, and their edits run on it.

Commands load it when they run, for it is heavy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import RenderableType

from codi_int.catalog import sae_of_model, sites_with_sae
from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, Page, table
from codi_int.cli._job import Kept, command_line, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, interval_text, nats, p_text, percentage, points
from codi_int.cli._options import InterventionOptions
from codi_int.cli._sites import prepare
from codi_int.cli._tables import family_page, note_lines, result_page
from codi_int.cli._workers import no_folder
from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Edit, MovableEdit
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.engine.documents import save_document
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.store import save_family, save_result
from codi_int.interventions.engine.summary import ResultFamily, family_of
from codi_int.interventions.screens.paths import PATHS, EffectByPath, split_effect
from codi_int.run_folder import RunFolder
from codi_int.types import Problem, Result, SiteLike

if TYPE_CHECKING:
    from codi_int.interventions.patching.predictions import Claim

PATH_NAMES = {"both": "by both paths", "cache": "by the cache alone", "recurrence": "by the recurrence alone"}
AnyResult = TypeVar("AnyResult", bound=Result)
RESULT_FILES = ("result.json", "outcomes.parquet", "manifest.json")
PREDICTED_FILES = ("result.json", "outcomes.parquet", "predictions.parquet", "manifest.json")


def intervene(edit: Edit, options: InterventionOptions) -> None:
    """Run one edit as the options say, keep it where they ask for it, and print it."""
    if options.plan:
        _show_plan([edit], options)
        return
    # A split is a document of its own kind: three runs and their interaction, without controls beside them.
    if options.propagate == "split" and options.side_effects:
        raise ConfigError(
            "--side-effects looks at one run, and --propagate split makes three.", "Give one path, such as cache."
        )
    if options.propagate == "split":
        _print_split(edit, options)
        return

    folder = run_folder(options)

    def keep(result: Result, out: Path) -> Kept:
        save_result(result, out, command_line())
        return Kept(RESULT_FILES, [(result.to_dict(), out)])

    run_job(
        lambda report: run_edit(edit, options, folder, report),
        document=Result.to_dict,
        page=result_page,
        as_json=options.as_json,
        out=folder,
        keep=keep,
    )


def intervene_many(edits: Mapping[str, Edit], options: InterventionOptions) -> None:
    """Run several edits on one clean pass as a family of tests; each is kept in a folder of the name given to it."""
    # One edit is no family: it keeps the layout and the document of a single result, without Holm's adjustment.
    if len(edits) == 1:
        intervene(next(iter(edits.values())), options)
        return
    if options.plan:
        _show_plan(list(edits.values()), options)
        return

    folder = run_folder(options)

    def work(report: Report) -> ResultFamily:
        engine, problems, sae_name = prepare(options, folder, report)
        results = engine.run_many(
            list(edits.values()),
            problems,
            seed=options.seed,
            controls=_controls(options),
            data=options.data,
            sae_name=sae_name,
            progress=report,
            bound=options.bound,
        )
        looked = [
            look(engine, edit, problems, result, options) for edit, result in zip(edits.values(), results, strict=True)
        ]
        return family_of(looked)

    def keep(family: ResultFamily, out: Path) -> Kept:
        save_family(family, list(edits), out, command_line())
        names = f"results.json, and a folder each: {', '.join(edits)}"
        files = ["results.json", *(f"{name}/{file}" for name in edits for file in RESULT_FILES)]
        return Kept([names], [(family.to_dict(), out)], files)

    run_job(
        work,
        document=ResultFamily.to_dict,
        page=family_page,
        as_json=options.as_json,
        out=folder,
        keep=keep,
        # each edit is kept in a folder of its own; with these the one that they lie in, of `results.json`, is tried too
        inside=list(edits),
    )


def intervene_as_predicted(edit: MovableEdit, options: InterventionOptions, claim: "Claim", underpowered: bool) -> None:
    """Run an edit as any other, and hold its answers against those that a claim predicts."""
    from codi_int.cli._prediction_pages import predicted_page
    from codi_int.interventions.patching.predicted import PredictedResult
    from codi_int.interventions.patching.predicted_run import run_predicted
    from codi_int.interventions.patching.predicted_store import save_predicted
    from codi_int.interventions.patching.predictions import predict_answers

    if options.plan:
        raise ConfigError("--plan counts an edit without --predict.", "Leave out one of --plan and --predict.")
    folder = run_folder(options)

    def work(report: Report) -> PredictedResult:
        engine, problems, sae_name = prepare(options, folder, report)
        result = run_predicted(
            engine,
            edit,
            problems,
            predict_answers(claim, problems),
            seed=options.seed,
            controls=Controls(features=options.controls, directions=options.directions),
            data=options.data,
            bound=options.bound,
            sae_name=sae_name,
            progress=report,
            underpowered=underpowered,
        )
        return look(engine, edit, problems, result, options)

    def keep(result: PredictedResult, out: Path) -> Kept:
        save_predicted(result, out, command_line())
        return Kept(PREDICTED_FILES, [(result.to_dict(), out)])

    run_job(
        work,
        document=PredictedResult.to_dict,
        page=predicted_page,
        as_json=options.as_json,
        out=folder,
        keep=keep,
    )


def _show_plan(edits: Sequence[Edit], options: InterventionOptions) -> None:
    """What the edits and their controls will take; ConfigError where that is split by paths."""
    from codi_int.cli._plan import show_plan
    from codi_int.runs.plan import RunPlan, plan_edits

    if options.propagate == "split":
        raise ConfigError(
            "--plan counts one run, and --propagate split makes three.", "Give one path, such as --propagate both."
        )

    def make(report: Report) -> RunPlan:
        engine, problems, _ = prepare(options, no_folder(), report)
        return plan_edits(engine, edits, problems, _controls(options), options.seed)

    show_plan(options, make, "Without --side-effects." if options.side_effects else "")


def run_edit(edit: Edit, options: InterventionOptions, folder: RunFolder, report: Report) -> Result:
    """Load what the options name and run the edit."""
    engine, problems, sae_name = prepare(options, folder, report)
    result = engine.run(
        edit,
        problems,
        options.seed,
        _controls(options),
        data=options.data,
        sae_name=sae_name,
        progress=report,
        bound=options.bound,
    )
    return look(engine, edit, problems, result, options)


def look(
    engine: FeatureInterventionEngine,
    edit: Edit,
    problems: tuple[Problem, ...],
    result: AnyResult,
    options: InterventionOptions,
) -> AnyResult:
    """The result with what the edit changes at later thoughts, where that is asked for."""
    if not options.side_effects:
        return result
    from codi_int.interventions.engine.later_effects import look_later

    # the model's own, whatever SAE the edit is made with: a folder of --sae may hold that one alone
    names = sites_with_sae(options.model, None)
    saes: dict[SiteLike, str] = {name: sae_of_model(options.model, name) for name in names}
    return look_later(engine, edit, problems, result, saes)


def _controls(options: InterventionOptions) -> Controls:
    return Controls(
        features=options.controls,
        directions=options.directions,
        neurons=options.neurons,
        covariance=options.directions,
        dimensions=options.neurons,
        components=options.neurons,
        # one option for both: they answer the same question, whether the SAE is needed at all
        mean_difference=options.neurons > 0,
    )


def _print_split(edit: Edit, options: InterventionOptions) -> None:
    """Run an edit by every path, keep what comes out where that is asked for, and print it."""

    folder = run_folder(options)

    def work(report: Report) -> _Split:
        # The engine itself lets an edit pass on by both paths; `split_effect` cuts them one after the other.
        engine, problems, sae = prepare(replace(options, propagate="both"), folder, report)
        effects = split_effect(engine, edit, problems, options.seed, progress=report, bound=options.bound)
        about = {"model": engine.model.name, "sae": sae, "data": options.data, "n_problems": len(problems)}
        return _Split(effects, {**effects.to_dict(), **about, "seed": options.seed})

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
class _Split:
    """One edit by every path."""

    effects: EffectByPath
    """by both paths, by each alone, and the interaction"""
    document: dict[str, Any]
    """the same as plain JSON types, with model, SAE and data"""


def paths_page(found: EffectByPath, document: dict[str, Any]) -> Page:
    """A row for each path, and what they do not add up to."""
    head = Text(f"{found.label} at {found.site} of {document['model']}", style="bold")
    problems = counted(document["n_problems"], "problem")
    where = f"\n{problems} of {document['data']} · SAE {document['sae']}"
    head.append(f"{where} · seed {document['seed']}", style="not bold")
    flips = (Column("broken", rank=1), Column("fixed", rank=1))
    accuracy = table("accuracy, points", "change", "interval", *flips, "p", Column("", text=True))
    logprob = table("log-probability of the clean answer, nats", "change", "interval", "p")
    # the order of PATHS, both first: the two below it are read as its parts
    for path in PATHS:
        effect = getattr(found, path)
        interval = interval_text(effect.low, effect.high, points)
        counts = (f"{effect.n_broken:,}", f"{effect.n_fixed:,}", p_text(effect.p_value))
        accuracy.add_row(PATH_NAMES[path], points(effect.estimate), interval, *counts, effect.conclusion or "")
        log = effect.logprob
        logprob.add_row(
            PATH_NAMES[path], nats(log.estimate), interval_text(log.low, log.high, nats), p_text(log.p_value)
        )
    # The interaction: what both paths do beyond the sum of each alone, from the same problems and so with an interval
    # of its own. Flips do not add up, so those two cells stay empty. (`rest` is the document's older key for it.)
    interaction, nats_left = found.interaction, found.interaction_logprob
    interval = interval_text(interaction.low, interaction.high, points)
    p_value, word = p_text(interaction.p_value), found.additivity or ""
    accuracy.add_row("both - (cache + recurrence)", points(interaction.estimate), interval, "", "", p_value, word)
    interval = interval_text(nats_left.low, nats_left.high, nats)
    logprob.add_row("both - (cache + recurrence)", nats(nats_left.estimate), interval, p_text(nats_left.p_value))
    verdict: list[RenderableType] = [] if found.additivity is None else ["", Text(_additivity(found), style="bold")]
    return Page(head, "", accuracy, "", logprob, *verdict, *note_lines(found.notes))


def _additivity(found: EffectByPath) -> str:
    """Whether the paths add up, in one sentence; p-values as they are after Holm over the three paths and this."""
    interaction, bound = found.interaction, percentage(found.bound or 0.0, 2)
    change, p_value = points(interaction.estimate), p_text(interaction.p_adjusted)
    within = f"that they add up within {bound} points: p {p_text(interaction.p_equivalence_adjusted)}"
    family = "after Holm over 3 paths and their interaction"
    return {
        "changed": f"The paths do not add up: {change} points beyond their sum (p {p_value} {family}).",
        "equivalent": f"The paths add up within {bound} points ({within} {family}).",
        "untested": f"Untested whether the paths add up: too few problems are touched ({within}; {family}).",
        "unresolved": f"Unresolved whether the paths add up: {change} points (p {p_value}; {within}; {family}).",
    }[str(found.additivity)]
