"""`codi-int eval`: how well a model answers."""

from dataclasses import dataclass
from typing import Annotated

from codi_int.cli import _choices as c
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._job import keep_as, run_folder, run_job
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(o.KeptOptions):
    """What else to measure, and by which rules."""

    reinitialize: o.Reinitialize = None
    replace: Annotated[
        bool, o.evidence("--replace-thoughts", help="Also measure how much of the accuracy needs the thoughts.")
    ] = False
    written: Annotated[bool, o.evidence("--written-chain", help="Also measure the written chain.")] = False
    padding: Annotated[
        c.Padding,
        o.what(help="official: padding leaks as in the published evaluation."),
    ] = "masked"
    rule: Annotated[c.AnswerRule | None, o.what(help="last is the published rule.  [default: the model's]")] = None
    batch_size: Annotated[
        int | None,
        o.where(
            parser=o.whole("--batch-size", least=1),
            metavar="N",
            help="Problems at once.  [default: what fits into memory]",
        ),
    ] = None


@with_options
def evaluate(options: EvaluateOptions) -> None:
    """Accuracy through thoughts with 95% intervals, by number of steps and by operation."""
    from codi_int.cli._tables import evaluation_page
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.interventions.evaluation import Evaluation, EvaluationSettings
    from codi_int.interventions.evaluation import evaluate as evaluate_model
    from codi_int.model.loading import load_model

    folder = run_folder(options)

    def work(report: Report) -> Evaluation:
        problems = load_problems(options.data, options.limit)
        # before the model is loaded, which takes longest
        settings = EvaluationSettings(
            replace=options.replace,
            written=options.written,
            padding=options.padding,
            rule=options.rule,
            batch_size=options.batch_size,
        )
        model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
        folder.claim(model=model.sha256, data=problems_sha256(problems))
        return evaluate_model(
            model,
            problems,
            settings,
            data=options.data,
            progress=report,
        )

    run_job(
        work,
        document=Evaluation.to_dict,
        page=evaluation_page,
        as_json=options.as_json,
        out=folder,
        keep=keep_as("evaluation.json", Evaluation.to_dict),
    )
