"""What ablate, amplify and swap share: set up, run, keep, print. Commands load it when they run, for it is heavy."""

import sys
from collections.abc import Mapping

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._options import InterventionOptions
from codi_int.cli._paths import print_split
from codi_int.cli._sites import prepare
from codi_int.cli._tables import family_page, result_page
from codi_int.interventions.edits.basic import Edit
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.engine.store import prepare_folder, save_family, save_result
from codi_int.interventions.engine.summary import family_of
from codi_int.types import Result


def intervene(edit: Edit, options: InterventionOptions) -> None:
    """Run one edit as the options say, keep it where they ask for it, and print it."""
    if options.propagate == "split":
        print_split(edit, options)
        return
    if options.out is not None:
        prepare_folder(options.out)
    with progress() as report:
        result = run_edit(edit, options, report)
    if options.out is not None:
        folder = save_result(result, options.out, ["codi-int", *sys.argv[1:]])
        print(f"Kept in {folder}: result.json, outcomes.parquet, manifest.json", file=sys.stderr)
    if options.as_json:
        print_json(result.to_dict())
    else:
        stdout().print(result_page(result))


def intervene_many(edits: Mapping[str, Edit], options: InterventionOptions) -> None:
    """Run several edits on one clean pass as a family of tests; each is kept in a folder of the name given to it."""
    if len(edits) == 1:
        intervene(next(iter(edits.values())), options)
        return
    if options.out is not None:
        for name in edits:
            prepare_folder(options.out / name)
    with progress() as report:
        engine, problems, sae_name = prepare(options, report)
        family = family_of(
            engine.run_many(
                list(edits.values()),
                problems,
                seed=options.seed,
                controls=_controls(options),
                data=options.data,
                sae_name=sae_name,
                progress=report,
            )
        )
    if options.out is not None:
        from codi_int.cli._figures import keep_figures

        save_family(family, list(edits), options.out, ["codi-int", *sys.argv[1:]])
        print(f"Kept in {options.out}: results.json, and a folder each: {', '.join(edits)}", file=sys.stderr)
        keep_figures(family.to_dict(), options.out)
    if options.as_json:
        print_json(family.to_dict())
    else:
        stdout().print(family_page(family))


def run_edit(edit: Edit, options: InterventionOptions, report: Report) -> Result:
    """Load what the options name and run the edit."""
    engine, problems, sae_name = prepare(options, report)
    return engine.run(
        edit,
        problems,
        options.seed,
        _controls(options),
        data=options.data,
        sae_name=sae_name,
        progress=report,
    )


def _controls(options: InterventionOptions) -> Controls:
    return Controls(
        features=options.controls,
        directions=options.directions,
        neurons=options.neurons,
        mean_difference=options.neurons > 0,
    )
