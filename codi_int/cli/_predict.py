"""What an intervention with `--predict` does: as any other, and its answers are held against those predicted."""

import sys

from codi_int.cli._console import print_json, progress, stdout
from codi_int.cli._options import InterventionOptions
from codi_int.cli._prediction_pages import predicted_page
from codi_int.cli._sites import prepare
from codi_int.interventions.edits.basic import MovableEdit
from codi_int.interventions.engine.store import prepare_folder
from codi_int.interventions.patching.predicted_run import run_predicted
from codi_int.interventions.patching.predicted_store import save_predicted
from codi_int.interventions.patching.predictions import parse_claim, predict_answers


def intervene_predicted(edit: MovableEdit, options: InterventionOptions, claim: str, underpowered: bool) -> None:
    """Run one edit as the options say, with what it should do, keep it where they ask for it, and print it."""
    parsed = parse_claim(claim)
    if options.out is not None:
        prepare_folder(options.out)
    with progress() as report:
        engine, problems, sae_name = prepare(options, report)
        predictions = predict_answers(parsed, problems)
        result = run_predicted(
            engine,
            edit,
            problems,
            predictions,
            options.seed,
            options.controls,
            options.data,
            sae_name,
            report,
            options.directions,
            underpowered,
        )
    if options.out is not None:
        folder = save_predicted(result, options.out, ["codi-int", *sys.argv[1:]])
        print(f"Kept in {folder}: result.json, outcomes.parquet, predictions.parquet, manifest.json", file=sys.stderr)
    if options.as_json:
        print_json(result.to_dict())
    else:
        stdout().print(predicted_page(result))
