"""`codi-int swap`: exchange two features and see what becomes of the answers."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
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
    ] = ()
    right: Annotated[
        tuple[int, ...],
        o.what("--with", metavar="N", help="The other side, as many.", autocompletion=_complete.features),
        partial(o.parse_features, option="--with"),
    ] = ()
    predict: Annotated[
        str | None, o.what(help="What should happen: addition:subtraction, or value:12:50.", metavar="CLAIM")
    ] = None
    pairs: Annotated[
        Path | None,
        o.what(
            metavar="FOLDER", help="What features pairs --out kept, in the place of --feature, --with and --predict."
        ),
    ] = None
    pair: Annotated[
        int, o.what("--pair", parser=o.whole("--pair", least=1), metavar="N", help="Which of --pairs, 1 for the best.")
    ] = 1
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
    if options.pairs is not None:
        options = _with_pair(options, options.pairs)
    elif not options.left or not options.right:
        raise ConfigError("A swap needs two sides.", "Give --feature and --with, or --pairs.")
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


def _with_pair(options: SwapOptions, pairs: Path) -> SwapOptions:
    """The options with features and claim of a kept pair."""
    from codi_int.features.pairs import read_swap_pairs

    if options.left or options.right or options.predict is not None:
        raise ConfigError(
            "--pairs names features and claim.", "Leave out --feature, --with and --predict, or leave out --pairs."
        )
    found, site = read_swap_pairs(pairs), options.site
    if found.site != site:
        raise ConfigError(f"--pairs {pairs} is of {found.site}, not of {site}.", "Give its --layer and --position.")
    if options.pair > len(found.rows):
        raise ConfigError(
            f"--pair {options.pair}: {pairs} has {len(found.rows)} pairs.", "Give one from 1, or another --pairs."
        )
    row = found.rows[options.pair - 1]
    return replace(options, left=(row.feature,), right=(row.other,), predict=row.claim)
