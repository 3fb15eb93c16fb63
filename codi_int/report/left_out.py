"""What the figures of a document do not show, in words: an absence that is not named reads as a finding."""

from collections.abc import Callable, Iterator, Mapping

from codi_int.report.dictionary_figures import drawn_dictionaries
from codi_int.report.documents import Document
from codi_int.report.eval_figures import MOST
from codi_int.report.feature_figures import MOST_FEATURES, drawable
from codi_int.report.model_figures import MOST_PROBLEMS
from codi_int.report.reproduction_figures import drawn_lines


def left_out(document: Document) -> tuple[str, ...]:
    """One sentence for each thing that a document holds, or could hold, and that no figure of it shows."""
    say = SAYERS.get(document["schema"])
    return () if say is None else tuple(say(document))


def _result(document: Document) -> Iterator[str]:
    if document["effect"]["p_value"] is None:
        yield "no figure of the effect: nothing was edited"
    prediction = document.get("prediction")
    if prediction and not prediction["n_tested"]:
        yield "no figure of the prediction: no problem tests it"
    if document["by_operation"]:
        steps = " and by number of steps" if document.get("by_steps") else ""
        yield f"effects by operation{steps}: on the page and in result.json"


def _family(document: Document) -> Iterator[str]:
    yield f"controls of the {len(document['results'])} edits: draw each one's own folder"


def _screen(document: Document) -> Iterator[str]:
    if dead := sum(row["n_touched"] == 0 for row in document["rows"]):
        yield f"{dead:,} features that touch no problem"


def _map(document: Document) -> Iterator[str]:
    if closed := sum(bool(cell["note"]) for cell in document["cells"]):
        yield f"{closed:,} cells from which no path leads to the answer (hatched)"
    if document["splits"]:
        yield f"departures of {len(document['splits']):,} cells from the sum of their paths: in map.json"


def _eval(document: Document) -> Iterator[str]:
    if len(document["saes"]) > MOST:
        yield f"bars of the {len(document['saes']) - MOST} SAEs that carry least per feature"


def _lens_grid(document: Document) -> Iterator[str]:
    if (depth := len(document["tokens"][0][0])) > 1:
        yield f"all but the likeliest of {depth} tokens of each cell"


def _thoughts(document: Document) -> Iterator[str]:
    if (left := len(document["problems"]) - MOST_PROBLEMS) > 0:
        yield f"the last {left:,} problems"


def _features(document: Document) -> Iterator[str]:
    found = document["features"]
    if silent := len(found) - len(drawable(document)):
        yield f"{silent} of {len(found)} features: they fire nowhere, or the problems have no written steps"
    if (more := len(drawable(document)) - MOST_FEATURES) > 0:
        yield f"the last {more} features"
    yield "patterns, numbers and answers: in features-show.json and .csv"


def _doctor(document: Document) -> Iterator[str]:
    if not document["parity"]:
        yield "nothing to draw: no comparison was made (doctor --parity 8 makes one)"


def _reproduction(document: Document) -> Iterator[str]:
    if left := len(document["lines"]) - len(drawn_lines(document)):
        yield f"{left:,} of {len(document['lines']):,} lines: no shares, or not published: on the page"


def _seeds(document: Document) -> Iterator[str]:
    names = dict.fromkeys(row["dictionary"] for row in document["rows"])
    if left := len(names) - len(drawn_dictionaries(document)):
        yield f"the last {left} of {len(names)} dictionaries"


SAYERS: Mapping[str, Callable[[Document], Iterator[str]]] = {
    "codi-int/result@1": _result,
    "codi-int/result@2": _result,
    "codi-int/results@1": _family,
    "codi-int/screen@1": _screen,
    "codi-int/map@1": _map,
    "codi-int/sae-eval@1": _eval,
    "codi-int/lens-grid@1": _lens_grid,
    "codi-int/thoughts@1": _thoughts,
    "codi-int/doctor@1": _doctor,
    "codi-int/features-show@1": _features,
    "codi-int/reproduction@1": _reproduction,
    "codi-int/seeds@1": _seeds,
}
