"""Options that several commands take, each in one of the panels of a help page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codi_int.catalog import DEFAULT_MODEL
from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli._parsing import MOST_COUNT as MOST_COUNT
from codi_int.cli._parsing import MOST_SEED as MOST_SEED
from codi_int.cli._parsing import number as number
from codi_int.cli._parsing import parse_bound as parse_bound
from codi_int.cli._parsing import parse_clamp as parse_clamp
from codi_int.cli._parsing import parse_factors as parse_factors
from codi_int.cli._parsing import parse_features as parse_features
from codi_int.cli._parsing import whole as whole
from codi_int.cli._parsing import whole_numbers as whole_numbers

if TYPE_CHECKING:
    from codi_int.sites import Site


def what(*names: str, **settings: Any) -> Any:
    """An option that says what is done."""
    return typer.Option(*names, rich_help_panel="What", **settings)


def where(*names: str, **settings: Any) -> Any:
    """An option that says to what it is done: model, site, SAE, problems."""
    return typer.Option(*names, rich_help_panel="Where", **settings)


def evidence(*names: str, **settings: Any) -> Any:
    """An option that says what a result is compared with."""
    return typer.Option(*names, rich_help_panel="Evidence", **settings)


def output(*names: str, **settings: Any) -> Any:
    """An option that says what is shown and kept."""
    return typer.Option(*names, rich_help_panel="Output", **settings)


Layer = Annotated[
    int,
    where(parser=whole("--layer"), metavar="N", help="Block, counted from 0.", autocompletion=_complete.layers),
]
Position = Annotated[
    int,
    where(
        parser=whole("--position"),
        metavar="N",
        help="0 is the bot token, 1 to 6 are the thoughts.",
        autocompletion=_complete.positions,
    ),
]
Component = Annotated[
    str,
    where(
        "--component",
        metavar="NAME",
        help="Which tensor there: resid_pre, resid_mid, resid_post, attn_out, mlp_out or head:H.",
        autocompletion=_complete.components,
    ),
]
# of commands that take SAEs first of all, most of which say where they were trained
OwnLayer = Annotated[
    int | None,
    where(
        parser=whole("--layer"),
        metavar="N",
        help="Block, counted from 0.  [default: the SAE's own]",
        autocompletion=_complete.layers,
    ),
]
OwnPosition = Annotated[
    int | None,
    where(
        parser=whole("--position"),
        metavar="N",
        help="0 is the bot token, 1 to 6 are the thoughts.  [default: the SAE's own]",
        autocompletion=_complete.positions,
    ),
]
# These need a parser of the whole list, which Typer cannot do: `with_options` takes the third item of an Annotated.
Layers = Annotated[
    tuple[int, ...],
    where("--layer", metavar="N", help="Blocks: 14, 10-14 or 3,9,14.", autocompletion=_complete.layers),
    partial(whole_numbers, option="--layer"),
]
Positions = Annotated[
    tuple[int, ...],
    where(
        "--position",
        metavar="N",
        help="0 is the bot token, 1 to 6 are the thoughts: 3, 1-6 or 1,3.",
        autocompletion=_complete.positions,
    ),
    partial(whole_numbers, option="--position"),
]
AllLayers = Annotated[
    tuple[int, ...],
    where(
        "--layer",
        metavar="N",
        help="Only these blocks: 14, 10-14 or 3,9,14.  [default: all]",
        autocompletion=_complete.layers,
    ),
    partial(whole_numbers, option="--layer"),
]
AllPositions = Annotated[
    tuple[int, ...],
    where(
        "--position",
        metavar="N",
        help="Only these positions: 3, 1-6 or 1,3.  [default: all]",
        autocompletion=_complete.positions,
    ),
    partial(whole_numbers, option="--position"),
]
Model = Annotated[
    str, where(help="A shipped model, a folder, or a hub name.", autocompletion=_complete.models, metavar="NAME")
]
Sae = Annotated[
    str | None,
    where(
        help="A shipped SAE, a folder, or a folder with one for each site (L14.P3/).  "
        "[default: the model's own at that site]",
        autocompletion=_complete.saes,
        metavar="NAME",
    ),
]
Data = Annotated[
    str,
    where(
        help="stories:validation, gsm8k:test, or a .jsonl or .csv file.", autocompletion=_complete.data, metavar="NAME"
    ),
]
Reinitialize = Annotated[
    int | None,
    where(
        "--reinitialize",
        parser=whole("--reinitialize", least=0, most=MOST_SEED),
        metavar="SEED",
        help="Draw all weights of the model anew, for a control that learned nothing.  [default: as trained]",
    ),
]
Json = Annotated[bool, output("--json", help="Print one JSON document instead of a table.")]
Out = Annotated[
    Path | None,
    output(
        metavar="FOLDER", help="Keep result, outcomes, figures and manifest in this folder.  [default: nothing is kept]"
    ),
]
Force = Annotated[bool, output("--force", help="Replace another run that --out holds.")]
Plan = Annotated[
    bool, output("--plan", help="Print rows, memory and seconds that it will take, and run a few problems only.")
]
Later = Annotated[
    c.Later,
    what(help="Later positions of the layer: as they go, silent at their means (the baseline, too), or held clean."),
]
LIMIT_HELP = "Only the first so many problems.  [default: all]"


# kw_only throughout: a subclass may add an option without a default to a class whose options all have one
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """A model, problems for it, and how to print."""

    model: Model = DEFAULT_MODEL
    data: Data = "stories:validation"
    limit: Annotated[int | None, where(parser=whole("--limit", least=1), metavar="N", help=LIMIT_HELP)] = None
    device: Annotated[str, where(help="cpu, cuda, cuda:1, ...", metavar="NAME")] = "cpu"
    as_json: Json = False


@dataclass(frozen=True, kw_only=True)
class KeptOptions(ModelOptions):
    """A run that can be kept."""

    out: Out = None
    force: Force = False


Memory = Annotated[
    float | None,
    where(
        parser=number("--memory", least=0.0),
        metavar="GIB",
        help="Keys and values held at once; what does not fit is computed again, 0 keeps none.  "
        "[default: 2; half of a GPU's]",
    ),
]


@dataclass(frozen=True, kw_only=True)
class RunOptions(KeptOptions):
    """A run on a clean pass that draws at random, too."""

    seed: Annotated[
        int, evidence(parser=whole("--seed", least=0, most=MOST_SEED), metavar="N", help="Of everything random.")
    ] = 0
    memory: Memory = None

    @property
    def memory_budget(self) -> int | None:
        """The same in bytes, as an engine takes it."""
        return None if self.memory is None else int(self.memory * 2**30)


def sites_of(layers: Sequence[int], positions: Sequence[int], component: str) -> "tuple[Site, ...]":
    """Every combination, layer by layer; SiteError for a component that does not exist."""
    from codi_int.sites import Site

    return tuple(Site(layer, position, component) for layer in layers for position in positions)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """By whom the units of a run are done; changes nothing of what it finds."""

    engine: Annotated[c.Engine, where(metavar="NAME", help="Who works: local, processes of this machine, or ray.")] = (
        "local"
    )
    workers: Annotated[
        int | None,
        where(parser=whole("--workers", least=1), metavar="N", help="Of processes and ray.  [default: 2]"),
    ] = None
    address: Annotated[
        str | None,
        where(metavar="HOST:PORT", help="Of a Ray cluster, or auto.  [default: one of this machine alone]"),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        where(
            parser=number("--gpus-per-worker", least=0.0),
            metavar="N",
            help="1, or 0.5 for two workers on each.  [default: 1 with --device cuda, else 0]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """One site with its SAE."""

    layer: Layer
    position: Position = 3
    component: Component = "resid_post"
    sae: Sae = None

    @property
    def site(self) -> "Site":
        """The site itself; SiteError for a component that does not exist."""
        return sites_of((self.layer,), (self.position,), self.component)[0]


Bound = Annotated[
    float,
    evidence(
        parser=parse_bound,
        metavar="SHARE",
        help="The smallest change of accuracy that matters, declared beforehand; half a point is 0.005.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """How a page that looks at many things decides which of them are findings."""

    correction: Annotated[
        c.Correction,
        evidence(metavar="NAME", help="Of the family: discrete (false discovery rate), heyse, max-t, holm or bh."),
    ] = "discrete"
    confirm: Annotated[
        str,
        evidence(
            metavar="NAME",
            help="Where what is found is run again: default (stories:confirmation for stories, else folds), folds, "
            "none, or other problems.",
            autocompletion=_complete.data,
        ),
    ] = "default"
    bound: Bound = 0.005


def selection_plan(options: SelectionOptions) -> Any:
    """The options as the library takes them; ConfigError for a bound that is none."""
    from codi_int.interventions.screens.sides import SelectionPlan

    return SelectionPlan(correction=options.correction, confirm=options.confirm, bound=options.bound)


def confirmation_hash(options: SelectionOptions, problems: Any) -> dict[str, str]:
    """The hash of the set that confirms what these problems select, for a manifest; nothing where it is no set.

    Raises:
        CodiError: where that set does not exist, holds selecting problems, or is a single cluster.
    """
    from codi_int.interventions.screens.sides import take_sides

    confirming = take_sides(problems, selection_plan(options)).confirming
    return {} if confirming is None else {"confirmation": confirming.sha256}


@dataclass(frozen=True, kw_only=True)
class EditOptions(RunOptions):
    """How an edit reaches the model, and what stands beside it."""

    splice: Annotated[c.Splice, what(help="add keeps the SAE's error, replace drops it.")] = "add"
    propagate: Annotated[
        c.Propagate, what(metavar="PATH", help="both, cache or recurrence; split tells the two apart.")
    ] = "both"
    later: Later = "free"
    controls: Annotated[
        int,
        evidence(
            parser=whole("--controls", least=0), metavar="N", help="Matched random features that get the same edit."
        ),
    ] = 20
    directions: Annotated[
        int,
        evidence(
            parser=whole("--directions", least=0),
            metavar="N",
            help="Random directions that move as many as far: isotropic, and with the residual's covariance.",
        ),
    ] = 0
    neurons: Annotated[
        int,
        evidence(
            parser=whole("--neurons", least=0),
            metavar="N",
            help="Single neurons put to their mean and moved as far, principal components, the difference of means.",
        ),
    ] = 0
    bound: Bound = 0.005


@dataclass(frozen=True, kw_only=True)
class InterventionOptions(SiteOptions, EditOptions):
    """An edit of features at one site."""

    side_effects: Annotated[
        bool,
        evidence(
            "--side-effects",
            help="Also which features of the model's own SAEs the edit switches at later thoughts, and which results "
            "of the steps the lens reads there, before and after.",
        ),
    ] = False
    plan: Plan = False


Captures = Annotated[
    Path | None,
    where(
        metavar="FOLDER", help="Folder of captures `train` and `held-out`, made where missing.  [default: in memory]"
    ),
]
"""captures of a model's rows, of commands that train or measure SAEs"""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(ModelOptions):
    """By which recipe, and on what rows."""

    epochs: Annotated[
        int | None,
        what(
            parser=whole("--epochs", least=1),
            metavar="N",
            help="Passes over the rows.  [default: 25, or the recipe's]",
        ),
    ] = None
    products: Annotated[
        c.CaptureType | None,
        # the second is its older name; the recipe's field, which lies in the files of SAEs, still has it
        what("--matmul-dtype", "--products", help="Of matrix products.  [default: float32, or the recipe's]"),
    ] = None
    recipe: Annotated[
        Path | None,
        what(
            metavar="FILE", help="JSON file with further fields of SAETrainingConfig.  [default: the published recipe]"
        ),
    ] = None
    captures: Captures = None
    data: Annotated[str, where(metavar="NAME", help="Problems to train on.", autocompletion=_complete.data)] = (
        "stories:sae"
    )
    held_out: Annotated[
        str,
        where("--held-out", metavar="NAME", help="Problems to measure on.", autocompletion=_complete.data),
    ] = "stories:validation"
