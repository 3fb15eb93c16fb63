"""`codi-int sae eval`: every measure of some SAEs."""

from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli import _sae_options as s


def evaluate(
    saes: Annotated[
        list[str], typer.Argument(metavar="SAE...", help="Shipped SAEs, folders in SAELens' format, folders of sweeps.")
    ],
    layer: Annotated[
        int | None, typer.Option(parser=o.whole("--layer"), metavar="N", help="For SAEs that do not know theirs.")
    ] = None,
    position: Annotated[int | None, typer.Option(parser=o.whole("--position"), metavar="N", help="The same.")] = None,
    splice: Annotated[
        bool, typer.Option("--splice/--no-splice", help="Run the model with every SAE in place, too.")
    ] = True,
    train_data: Annotated[
        str, typer.Option(help="For the dead share on training rows; none leaves it out.")
    ] = "stories:sae",
    captures: s.Captures = None,
    model: o.Model = "codi-mini",
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Reconstruction, sparsity, dead features, decoder structure, cost to the model, and stability under another seed.

    Two or more SAEs that differ in their seed alone are matched feature by feature.
    Example: codi-int sae eval codi-mini/L14.P3 runs/sweep
    """
    from codi_int.cli._sae_eval import EvalSetting, evaluate_and_print

    evaluate_and_print(
        EvalSetting(
            tuple(saes), layer, position, splice, train_data, captures, model, data, limit, device, as_json, out
        )
    )
