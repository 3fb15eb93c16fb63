"""What ablate, amplify and swap share: the engine that the options name, and their edits run on it.

Commands load it when they run, for it is heavy.
"""

from collections.abc import Mapping
from pathlib import Path

from codi_int.cli._console import Report
from codi_int.cli._job import Kept, command_line, run_folder, run_job
from codi_int.cli._options import InterventionOptions
from codi_int.cli._paths import print_split
from codi_int.cli._sites import prepare
from codi_int.cli._tables import family_page, result_page
from codi_int.interventions.edits.basic import Edit
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.engine.store import save_family, save_result
from codi_int.interventions.engine.summary import ResultFamily, family_of
from codi_int.run_folder import RunFolder
from codi_int.types import Result

RESULT_FILES = ("result.json", "outcomes.parquet", "manifest.json")


def intervene(edit: Edit, options: InterventionOptions) -> None:
    """Run one edit as the options say, keep it where they ask for it, and print it."""
    # A split is a document of its own kind: three runs and their interaction, without controls beside them.
    if options.propagate == "split":
        print_split(edit, options)
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
        return family_of(results)

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


def run_edit(edit: Edit, options: InterventionOptions, folder: RunFolder, report: Report) -> Result:
    """Load what the options name and run the edit."""
    engine, problems, sae_name = prepare(options, folder, report)
    return engine.run(
        edit,
        problems,
        options.seed,
        _controls(options),
        data=options.data,
        sae_name=sae_name,
        progress=report,
        bound=options.bound,
    )


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
