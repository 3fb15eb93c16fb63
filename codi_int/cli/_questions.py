"""The question that a kept run answers, in one sentence, and the bound that was declared for its answer."""

from collections.abc import Callable
from typing import Any

from codi_int.cli._numbers import counted, percentage


def question_of(found: Any) -> str:
    """What was asked, of a record of any kind of run."""
    ask = next((QUESTIONS[kind.__name__] for kind in type(found).__mro__ if kind.__name__ in QUESTIONS), None)
    return "What was found?" if ask is None else ask(found)


def bound_of(found: Any) -> float | None:
    """The smallest change of accuracy that matters, as it was declared; None where the run has no such bound."""
    for holder in (getattr(found, "effect", None), getattr(found, "selection", None), found):
        bound = getattr(holder, "bound", None)
        if bound is not None:
            return float(bound)
    return None


def bound_words(found: Any) -> list[str]:
    """The same as a line of conditions; none where there is none."""
    bound = bound_of(found)
    return [] if bound is None else [f"bound declared beforehand: {percentage(bound, 2)} points of accuracy"]


def _result(found: Any) -> str:
    done = found.experiment
    where = "" if len(done.sites) > 1 else f" at {done.site}"
    return f"Does the edit {done.label or done.kind}{where} change how often {done.model} is right?"


def _predicted(found: Any) -> str:
    return f"{_result(found)[:-1]}, and does it give the answer that was predicted?"


def _family(found: Any) -> str:
    first = found.results[0].experiment
    edits = counted(len(found.results), "edit")
    return f"Which of {edits} at {first.site} change how often {first.model} is right?"


def _screen(found: Any) -> str:
    where = str(found.site) if len(found.sites) == 1 else f"{len(found.sites)} sites"
    # "ablate" and "amplify" as commands name them
    return (
        f"Which of {counted(len(found.rows), 'feature')} at {where} change how often {found.model} is right when each "
        f"is edited by itself ({found.kind})?"
    )


def _map(found: Any) -> str:
    return f"At which layers and positions does {found.model} carry what its answers need?"


def _curve(found: Any) -> str:
    return (
        f"How much does {found.model} lose when the first n features at {found.site}, by {found.order}, are ablated "
        "together, and is it more than with random sets that take out as much?"
    )


def _stop(found: Any) -> str:
    return f"After how many thoughts has {found.model} its answer, and does it keep it?"


def _probe(found: Any) -> str:
    return (
        f"Where can a linear probe read {found.target} in {found.model}, beyond what a control task allows, and does "
        "the answer need it?"
    )


def _evaluation(found: Any) -> str:
    return f"How often is {found.model} right on {found.data}?"


def _paths(found: Any) -> str:
    return f"By which path does the edit {found.label} at {found.site} reach the answer?"


def _comparison(found: Any) -> str:
    return f"Is {found.second.name} right more or less often than {found.first.name}?"


def _seeds(found: Any) -> str:
    return f"Do the effects of features at {found.site} stay where {found.model}'s dictionary has another seed?"


def _against(found: Any) -> str:
    return f"Does the dictionary at {found.site} find more than dictionaries that cannot have learnt anything?"


def _reproduction(found: Any) -> str:
    return str(found.question)


QUESTIONS: dict[str, Callable[[Any], str]] = {
    "PredictedResult": _predicted,
    "Result": _result,
    "ResultFamily": _family,
    "Screen": _screen,
    "ThoughtMap": _map,
    "AblationCurve": _curve,
    "EarlyStopping": _stop,
    "ProbeMap": _probe,
    "Evaluation": _evaluation,
    "EffectByPath": _paths,
    "RunComparison": _comparison,
    "SeedComparison": _seeds,
    "DictionaryComparison": _against,
    "Reproduction": _reproduction,
}
"""name of a record to its question; by name, so that asking of one kind does not load the packages of the others"""
