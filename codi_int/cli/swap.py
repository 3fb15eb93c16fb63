"""`codi-int swap`: exchange two features and see what becomes of the answers."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SwapOptions(o.InterventionOptions):
    """What to exchange with what, and what should happen."""

    left: Annotated[
        tuple[int, ...],
        o.what("--feature", metavar="N", help="One side: 449, or 3-6 for a set.", autocompletion=_complete.features),
        o.parse_features,
    ]
    right: Annotated[
        tuple[int, ...],
        o.what("--with", metavar="N", help="The other side, as many.", autocompletion=_complete.features),
        partial(o.parse_features, option="--with"),
    ]
    predict: Annotated[
        str | None, o.what(help="What should happen: addition:subtraction, or value:12:50.", metavar="CLAIM")
    ] = None
    underpowered: Annotated[
        bool, o.evidence("--underpowered", help="With --predict: run even with too few problems.")
    ] = False
    neurons: int = field(default=0, init=False)
    """always none: to put a neuron to its mean is no exchange"""


@with_options
def swap(options: SwapOptions) -> None:
    """Exchange the values of two features, or of two sets, and see what becomes of the answers.

    With --predict the steps of every problem are executed again with operations or values exchanged, and the answers
    are held against those that come out.

    Example: codi-int swap --feature 162 --with 165 --layer 14
    """
    if options.underpowered and options.predict is None:
        raise ConfigError("--underpowered goes with --predict.", "Leave it out, or say what should happen.")
    if len(options.left) != len(options.right):
        raise ConfigError(
            f"--feature names {len(options.left)} and --with {len(options.right)}; a swap needs two sets of one size.",
            "Give as many features to --with as to --feature.",
        )
    from codi_int.interventions.edits.basic import Swap

    edit = Swap(options.left, options.right)
    if options.predict is None:
        from codi_int.cli._intervene import intervene

        intervene(edit, options)
    else:
        from codi_int.cli._intervene import intervene_as_predicted
        from codi_int.interventions.patching.predictions import parse_claim

        # parsed first: a slip in it needs no model to see
        intervene_as_predicted(edit, options, parse_claim(options.predict), options.underpowered)
