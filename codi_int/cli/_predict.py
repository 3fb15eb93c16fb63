"""What an intervention with `--predict` does: as any other, and its answers are held against those predicted."""

from pathlib import Path

from codi_int.cli._console import Report
from codi_int.cli._job import Kept, command_line, run_folder, run_job
from codi_int.cli._options import InterventionOptions
from codi_int.cli._prediction_pages import predicted_page
from codi_int.cli._sites import prepare
from codi_int.interventions.edits.basic import MovableEdit
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.interventions.patching.predicted_run import run_predicted
from codi_int.interventions.patching.predicted_store import save_predicted
from codi_int.interventions.patching.predictions import parse_claim, predict_answers

PREDICTED_FILES = ("result.json", "outcomes.parquet", "predictions.parquet", "manifest.json")


def intervene_predicted(edit: MovableEdit, options: InterventionOptions, claim: str, underpowered: bool) -> None:
    """Run one edit as the options say, with what it should do, keep it where they ask for it, and print it."""
    parsed = parse_claim(claim)  # a slip in it needs no model to see

    folder = run_folder(options)

    def work(report: Report) -> PredictedResult:
        engine, problems, sae_name = prepare(options, folder, report)
        return run_predicted(
            engine,
            edit,
            problems,
            predict_answers(parsed, problems),
            seed=options.seed,
            controls=Controls(features=options.controls, directions=options.directions),
            data=options.data,
            sae_name=sae_name,
            progress=report,
            underpowered=underpowered,
        )

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
