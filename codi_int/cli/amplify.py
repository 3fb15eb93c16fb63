"""`codi-int amplify`: multiply features and see what becomes of the answers."""

from dataclasses import dataclass
from typing import Annotated

from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class AmplifyOptions(o.InterventionOptions):
    """What to multiply with what."""

    features: Annotated[
        tuple[int, ...],
        o.what(
            "--feature",
            metavar="N",
            help="Features to multiply together: 449, or 3-6,9.",
            autocompletion=_complete.features,
        ),
        o.parse_features,
    ]
    factors: Annotated[
        tuple[float, ...],
        o.what("--factor", metavar="X", help="What to multiply with: 5, or 2,5,10 to compare; -1 turns the sign."),
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
