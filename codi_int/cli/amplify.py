"""`codi-int amplify`: multiply features and see what becomes of the answers."""

from dataclasses import dataclass
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class AmplifyOptions(o.InterventionOptions):
    """What to multiply with what."""

    features: Annotated[
        tuple[int, ...],
        typer.Option("--feature", help="Feature to multiply; repeat it for several together."),
        o.parse_features,
    ]
    factors: Annotated[
        tuple[float, ...],
        typer.Option(
            "--factor", metavar="X", help="What to multiply with; -1 turns the sign. Repeat it to compare several."
        ),
        o.parse_factors,
    ]


@with_options
def amplify(options: AmplifyOptions) -> None:
    """Multiply features of a thought and see what becomes of the answers.

    Example: codi-int amplify --feature 449 --layer 14 --factor 2 --factor 5 --factor 10
    """
    from codi_int.cli._intervene import intervene_many
    from codi_int.interventions.edits.basic import Amplify

    intervene_many({f"x{value:g}": Amplify(options.features, value) for value in options.factors}, options)
