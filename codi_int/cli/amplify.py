"""`codi-int amplify`: multiply features, or make them fire everywhere, and see what becomes of the answers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError

if TYPE_CHECKING:
    from codi_int.interventions.edits.basic import MovableEdit


@dataclass(frozen=True, kw_only=True)
class AmplifyOptions(o.InterventionOptions):
    """What to multiply with what, or to set to what."""

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
        o.what(
            "--factor",
            metavar="X",
            help="What to multiply with: 5, or 2,5,10 to compare; -1 turns the sign.  [default: none, with --clamp]",
        ),
        o.parse_factors,
    ] = ()
    clamp: Annotated[
        str | None,
        o.what(
            parser=o.parse_clamp,
            metavar="X",
            help="Instead of a factor: set to X on all problems, silent ones too; p90 is the feature's own 90th "
            "percentile where it fires.  [default: not set]",
        ),
    ] = None
    predict: Annotated[
        str | None,
        o.what(
            metavar="CLAIM",
            help="What answers are pulled towards: multiplication, addition:multiplication, value:12, or value:50:12.",
        ),
    ] = None
    underpowered: Annotated[
        bool, o.evidence("--underpowered", help="With --predict: run even with too few problems.")
    ] = False


@with_options
def amplify(options: AmplifyOptions) -> None:
    """Multiply features of a thought, or make them fire everywhere, and see what becomes of the answers.

    Where a feature is silent a factor does nothing; --clamp sets it on all problems. With --predict the steps of every
    problem are executed again as the feature would have them, and the answers are held against those that come out.

    Example: codi-int amplify --feature 449 --layer 14 --factor 2 --factor 5 --factor 10
    """
    _check(options)
    from codi_int.cli._intervene import intervene_as_predicted, intervene_many

    edits = _edits(options)
    if options.predict is None:
        intervene_many(edits, options)
        return
    from codi_int.interventions.patching.predictions import parse_pull

    (edit,) = edits.values()
    intervene_as_predicted(edit, options, parse_pull(options.predict), options.underpowered)


def _check(options: AmplifyOptions) -> None:
    """Slips that need no model to see."""
    if bool(options.factors) == (options.clamp is not None):
        got = "neither --factor nor --clamp" if options.clamp is None else "both --factor and --clamp"
        raise ConfigError(
            f"amplify multiplies or sets a feature, and was given {got}.", "Write --factor 5, or --clamp p90."
        )
    if options.underpowered and options.predict is None:
        raise ConfigError("--underpowered goes with --predict.", "Leave it out, or say what should happen.")
    if options.predict is not None and len(options.factors) > 1:
        raise ConfigError(
            f"--predict is of one edit, and --factor names {len(options.factors)}.", "Predict for one factor at a time."
        )
    if options.predict is not None and options.propagate == "split":
        raise ConfigError(
            "--predict and --propagate split are two experiments.", "Predict by one path: both, cache or recurrence."
        )


def _edits(options: AmplifyOptions) -> "dict[str, MovableEdit]":
    """The edits by the names of their folders."""
    from codi_int.interventions.edits.basic import Amplify
    from codi_int.interventions.edits.values import Clamp, ClampAtPercentile

    if options.clamp is None:
        return {f"x{value:g}": Amplify(options.features, value) for value in options.factors}
    if options.clamp.startswith("p"):
        return {options.clamp: ClampAtPercentile(options.features, float(options.clamp[1:]))}
    value = float(options.clamp)
    return {f"at{value:g}": Clamp(options.features, value, value)}
