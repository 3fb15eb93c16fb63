"""`codi-int ablate`: ablate features and see what becomes of the answers."""

from dataclasses import dataclass
from typing import Annotated

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AblateOptions(o.InterventionOptions):
    """What to ablate."""

    features: Annotated[
        tuple[int, ...],
        o.what(
            "--feature",
            metavar="N",
            help="Features to ablate together: 449, or 3-6,9.",
            autocompletion=_complete.features,
        ),
        o.parse_features,
    ]
    mode: Annotated[c.Mode, o.what(help="What replaces it.")] = "zero"
    value: Annotated[
        float | None,
        o.what(parser=o.number("--value"), metavar="X", help="The constant that --mode set replaces it with."),
    ] = None


@with_options
def ablate(options: AblateOptions) -> None:
    """Ablate features of a thought and see what becomes of the answers.

    Example: codi-int ablate --feature 449 --layer 14
    """
    # `set` with a value left out would silently be 0, that is `zero`; a value without `set` would be ignored
    if (options.mode == "set") != (options.value is not None):
        raise ConfigError("--value belongs to --mode set, which needs it.", "Write --mode set --value 2, for example.")
    # imported after the check: torch takes seconds to load, and a slip should not cost them
    from codi_int.cli._intervene import intervene
    from codi_int.interventions.edits.basic import Ablate

    intervene(Ablate(options.features, mode=options.mode, value=options.value or 0.0, seed=options.seed), options)
