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
    padding: Annotated[
        str, typer.Option(help="masked, or official: padding leaks as in the published evaluation.")
    ] = "masked",
    rule: Annotated[
        str | None, typer.Option(help="after-phrase, or last: the published rule.  [default: the model's]")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(parser=o.whole("--batch-size"), metavar="N", help="[default: what fits into memory]"),
    ] = None,
    device: o.Device = "cpu",
    as_json: o.Json = False,
) -> None:
    """Accuracy through thoughts with 95% intervals, by number of steps and by operation."""
    from codi_int.cli._console import print_json, progress, stdout
    from codi_int.cli._tables import evaluation_page
    from codi_int.data.problems import load_problems
    from codi_int.interventions.evaluation import check_settings
    from codi_int.interventions.evaluation import evaluate as evaluate_model
    from codi_int.model.loading import load_model

    with progress() as report:
        problems = load_problems(data, limit)
        check_settings(padding, rule, batch_size, replace)
        loaded = load_model(model, device=device)
        found = evaluate_model(loaded, problems, data, replace, written, report, padding, rule, batch_size)
    if as_json:
        print_json(found.to_dict())
    else:
        stdout().print(evaluation_page(found))
