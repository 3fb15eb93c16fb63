"""`codi-int sae eval`: every measure of some SAEs."""

from dataclasses import dataclass
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli import _sae_options as s
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class EvalOptions(o.ModelOptions):
    """Which SAEs, and on what they are measured."""

    saes: Annotated[
        list[str], typer.Argument(metavar="SAE...", help="Shipped SAEs, folders in SAELens' format, folders of sweeps.")
    ]
    layer: Annotated[
        int | None, typer.Option(parser=o.whole("--layer"), metavar="N", help="For SAEs that do not know theirs.")
    ] = None
    position: Annotated[int | None, typer.Option(parser=o.whole("--position"), metavar="N", help="The same.")] = None
    splice: Annotated[
        bool, typer.Option("--splice/--no-splice", help="Run the model with every SAE in place, too.")
    ] = True
    train_data: Annotated[
        str,
        typer.Option(help="For the dead share on training rows; none leaves it out."),
    ] = "stories:sae"
    captures: s.Captures = None
    out: o.Out = None


@with_options
def evaluate(options: EvalOptions) -> None:
    """Reconstruction, sparsity, dead features, decoder structure, cost to the model, and stability under another seed.

    Two or more SAEs that differ in their seed alone are matched feature by feature.
    Example: codi-int sae eval codi-mini/L14.P3 runs/sweep
    """
    from codi_int.cli._sae_eval import evaluate_and_print

    evaluate_and_print(options)
