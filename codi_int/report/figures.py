"""The entry point of all figures: a document, or a folder that a command has kept, in; PNG and SVG out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codi_int.errors import ConfigError, DataError
from codi_int.files import read_json
from codi_int.report.causal_figures import curve_figure, curve_figures, is_single, map_figure, map_figures
from codi_int.report.dictionary_figures import against_figure, seeds_figure
from codi_int.report.documents import ACCURACY, LOGPROB, MEASURES
from codi_int.report.effect_figures import (
    comparison_figure,
    dose_figure,
    dose_figures,
    result_figure,
    result_figures,
)
from codi_int.report.eval_figures import efficiency_figure
from codi_int.report.feature_figures import feature_figures, firing_rate_figure, firing_sites_figure, shown_figures
from codi_int.report.growth import growth_figure
from codi_int.report.left_out import left_out
from codi_int.report.lens_figures import lens_figure, lens_grid_figure
from codi_int.report.literal import literal_document
from codi_int.report.model_figures import accuracy_figure, doctor_figures, thoughts_figure
from codi_int.report.pair_figures import pair_figure
from codi_int.report.path_figures import path_figure
from codi_int.report.prediction_figures import prediction_figure
from codi_int.report.probe_figures import probe_figure
from codi_int.report.reproduction_figures import drawn_lines, reproduction_figure
from codi_int.report.screen_figures import (
    firing_figure,
    forest_figure,
    rank_figure,
    screen_figures,
    volcano_figure,
)
from codi_int.report.specialization_figures import (
    landscape_figure,
    landscape_figures,
    rules_figure,
    specialization_figures,
)
from codi_int.report.stop_figures import stop_figure, stop_figures, stop_logprob_figure
from codi_int.report.style import write_figure
from codi_int.report.swap_pair_figures import swap_power_figure, swap_power_figures
from codi_int.report.sweep_figures import sweep_figures

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["draw_kept", "figure_of", "growth_figure", "kept_documents", "left_out", "save_figures", "sweep_figures"]


def _alone(
    name: str, draw: Callable[[Mapping[str, Any]], "matplotlib.figure.Figure"]
) -> Callable[[Mapping[str, Any], Path], list[Path]]:
    """What draws the only figure of a document, which is called `name`."""
    return lambda document, out: write_figure(draw(document), out, name)


def _reproduction_figures(document: Mapping[str, Any], out: Path) -> list[Path]:
    """None where no line is a share."""
    return write_figure(reproduction_figure(document), out, "reproduction") if drawn_lines(document) else []


def _seeds_figures(document: Mapping[str, Any], out: Path) -> list[Path]:
    """None where no feature fires."""
    return write_figure(seeds_figure(document), out, "seeds") if document["rows"] else []


FIGURES: dict[str, dict[str, Callable[[Mapping[str, Any]], "matplotlib.figure.Figure"]]] = {
    "codi-int/screen@1": {
        "volcano": volcano_figure,
        "effects": forest_figure,
        "firing": firing_figure,
        "ranks": rank_figure,
        "pairs": pair_figure,
        # of several sites, where a measure has a figure of its own
        **{f"volcano-{one.name}": partial(volcano_figure, measures=(one,)) for one in MEASURES},
        **{f"firing-{one.name}": partial(firing_figure, measures=(one,)) for one in MEASURES},
    },
    "codi-int/map@1": {
        # of several panels for each measure a figure for each, as the files are
        "map": lambda document: map_figure(document, MEASURES if is_single(document) else (ACCURACY,)),
        "map-accuracy": lambda document: map_figure(document, (ACCURACY,)),
        "map-logprob": lambda document: map_figure(document, (LOGPROB,)),
        "accuracy": lambda document: map_figure(document, (ACCURACY,)),
        "logprob": lambda document: map_figure(document, (LOGPROB,)),
    },
    "codi-int/curve@1": {"curve": curve_figure},
    "codi-int/result@1": {"effect": result_figure, "prediction": prediction_figure},
    "codi-int/result@2": {"effect": result_figure, "prediction": prediction_figure},
    "codi-int/results@1": {"dose": dose_figure},
    "codi-int/evaluation@1": {"accuracy": accuracy_figure},
    "codi-int/roads@1": {"paths": path_figure},
    "codi-int/features-specialize@1": {"rules": rules_figure},
    "codi-int/features-specialize-sites@1": {"landscape": landscape_figure},
    "codi-int/features-rank@1": {"firing-rates": firing_rate_figure},
    "codi-int/features-rank-sites@1": {"firing-rates": firing_sites_figure},
    "codi-int/features-pairs@1": {"swap-power": swap_power_figure},
    "codi-int/stop@1": {"stop": stop_figure, "stop-logprob": stop_logprob_figure},
    "codi-int/probe@1": {"probe": probe_figure},
    "codi-int/comparison@1": {"comparison": comparison_figure},
    "codi-int/reproduction@1": {"reproduction": reproduction_figure},
    "codi-int/seeds@1": {"seeds": seeds_figure},
    "codi-int/against@1": {"against": against_figure},
}
"""schema of a document to its figures, the first of which stands for all"""
DRAWERS: dict[str, Callable[[Mapping[str, Any], Path], list[Path]]] = {
    "codi-int/screen@1": screen_figures,
    "codi-int/map@1": map_figures,
    "codi-int/curve@1": curve_figures,
    "codi-int/result@1": result_figures,
    "codi-int/result@2": result_figures,
    "codi-int/results@1": dose_figures,
    "codi-int/roads@1": _alone("paths", path_figure),
    "codi-int/sae-eval@1": _alone("efficiency", efficiency_figure),
    "codi-int/evaluation@1": _alone("accuracy", accuracy_figure),
    "codi-int/features-rank@1": feature_figures,
    "codi-int/features-show@1": shown_figures,
    "codi-int/features-rank-sites@1": feature_figures,
    "codi-int/features-specialize@1": specialization_figures,
    "codi-int/features-specialize-sites@1": landscape_figures,
    "codi-int/features-pairs@1": swap_power_figures,
    "codi-int/lens@1": _alone("lens", lens_figure),
    "codi-int/lens-grid@1": _alone("lens", lens_grid_figure),
    "codi-int/thoughts@1": _alone("thoughts", thoughts_figure),
    "codi-int/doctor@1": doctor_figures,
    "codi-int/stop@1": stop_figures,
    "codi-int/probe@1": _alone("probe", probe_figure),
    "codi-int/comparison@1": _alone("comparison", comparison_figure),
    "codi-int/reproduction@1": _reproduction_figures,
    "codi-int/seeds@1": _seeds_figures,
    "codi-int/against@1": _alone("against", against_figure),
}
"""schema of a document to what draws it"""
KEPT = (
    *("screen.json", "map.json", "curve.json", "results.json", "result.json", "roads.json", "eval.json"),
    *("evaluation.json", "lens.json", "thoughts.json", "doctor.json", "features-rank.json", "comparison.json"),
    "stop.json",
    "probe.json",
    *("reproduction.json", "seeds.json", "against.json"),
    *("features-show.json", "features-specialize.json", "features-pairs.json"),
)
"""documents that commands leave in a folder"""
SWEEP = "grid.json"


def save_figures(document: Mapping[str, Any], out: str | Path) -> list[Path]:
    """Draw `document` into the folder `out`, as its schema says; returns the files, PNG and SVG of each figure.

    Raises:
        DataError: no document of a schema that has figures, or one that lacks something.
        OutputError: `out` cannot be written to.
    """
    schema = document.get("schema")
    if not isinstance(schema, str) or schema not in DRAWERS:
        raise DataError(f"Documents of schema {schema!r} have no figures.", f"Give one of {', '.join(DRAWERS)}.")
    with _whole(f"The {schema} document"):
        # before anything is drawn: titles and ticks of every figure take names from the document
        return DRAWERS[schema](literal_document(document), Path(out))


def figure_of(document: Mapping[str, Any], name: str | None = None) -> "matplotlib.figure.Figure":
    """One figure of a document.

    Args:
        name: which; None for the first that its kind has.

    Raises:
        ConfigError: it has no figure of that name, or none at all.
        DataError: there is nothing to draw.
    """
    known = FIGURES.get(str(document.get("schema")), {})
    if not known or (name is not None and name not in known):
        raise ConfigError(
            f"There is no figure {name or 'at all'} of {document.get('schema')!r}.",
            f"It has {', '.join(known) or 'none'}.",
        )
    nothing = [words for words in left_out(document) if words.startswith("no figure of the effect")]
    untested = name == "prediction" and not (document.get("prediction") or {}).get("n_tested")
    if nothing or untested:
        raise DataError("There is nothing to draw: nothing was edited, or predicted.", "Look at the verdict.")
    return known[name or next(iter(known))](literal_document(document))


def draw_kept(
    path: str | Path, out: str | Path | None = None, on_document: Callable[[Path, int, int], None] | None = None
) -> list[Path]:
    """Draw what a command has kept: a JSON document, the folder of one, or the folder of a sweep.

    Args:
        path: file or folder.
        out: folder for the figures; None for where the document lies.
        on_document: called before each document with its file, how many are drawn, and how many there are.

    Raises:
        DataError: nothing there that has figures.
        OutputError: `out` cannot be written to.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    # a sweep is several files and no document with a schema, so it is known by the name of its table
    if path == folder / SWEEP or (path.is_dir() and (folder / SWEEP).exists()):
        if on_document:
            on_document(folder / SWEEP, 0, 1)
        with _whole(f"The sweep in {folder}"):
            return sweep_figures(folder, folder if out is None else Path(out))
    written = []
    documents = kept_documents(path)
    for number, (file, document) in enumerate(documents):
        if on_document:
            on_document(file, number, len(documents))
        # two patches that were made together lie in a folder each; elsewhere they keep these
        where = file.parent if out is None else Path(out) / file.parent.relative_to(folder)
        written += save_figures(document, where)
    return written


def kept_documents(path: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every document that has figures: the file itself, those of a folder, or those of its folders where it has none.

    Raises:
        DataError: none there.
    """
    path = Path(path)
    found = [path / name for name in KEPT if (path / name).exists()] if path.is_dir() else [path]
    found = found or [file for name in KEPT for file in sorted(path.glob(f"*/{name}"))]
    if path.is_dir() and (path / SWEEP).exists():
        return []
    if not found:
        raise DataError(f"{path} holds no run that has figures.", f"Known files: {', '.join((*KEPT, SWEEP))}.")
    return [(file, _read(file)) for file in found if file.name != SWEEP]


@contextmanager
def _whole(what: str) -> Iterator[None]:
    """DataError where a figure stumbles over something that its document lacks, or has as another kind of value."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(f"{what} is not whole: {error!r}.", "Run the command again.") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Give a JSON document or a folder that --out has kept.")
    document = read_json(path, remedy="Run the command again.")
    if not isinstance(document, dict):
        raise DataError(f"{path} holds no document with a schema.", f"Give one of {', '.join(KEPT)}, or a sweep.")
    return document
