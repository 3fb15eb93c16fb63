"""`codi-int eval`: how well a model answers."""

from typing import Annotated

import typer

from codi_int.cli import _options as o


def evaluate(
    model: o.Model = "codi-mini",
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    replace: Annotated[
        bool, typer.Option("--replace-thoughts", help="Also measure how much of the accuracy needs the thoughts.")
    ] = False,
    written: Annotated[bool, typer.Option("--written-chain", help="Also measure the written chain.")] = False,
    device: o.Device = "cpu",
    as_json: o.Json = False,
) -> None:
    """Accuracy through thoughts with 95% intervals, by number of steps and by operation."""
    from codi_int.cli._console import print_json, progress, stdout
    from codi_int.cli._tables import evaluation_page
    from codi_int.data.problems import load_problems
    from codi_int.interventions.evaluation import evaluate as evaluate_model
    from codi_int.model.loading import load_model

    with progress() as report:
        problems = load_problems(data, limit)
        found = evaluate_model(load_model(model, device=device), problems, data, replace, written, report)
    if as_json:
        print_json(found.to_dict())
    else:
        stdout().print(evaluation_page(found))
