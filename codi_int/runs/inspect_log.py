"""A result as an evaluation log of Inspect, which its viewer and its data frames read.

Each problem is a sample and each arm a scorer: `intervened` is right where the answer after the edit is, `clean` where
the undisturbed model's is. Only what was kept goes out: answers are numbers, for no run keeps their text.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codi_int.errors import DataError
from codi_int.types import Number, Outcome, Problem, Result

VERSION = 2
"""of Inspect's logs"""
ARM = "intervened"
"""whose answers are the samples' outputs"""
RIGHT, WRONG = "C", "I"
"""Inspect's words for it"""


def inspect_log(
    result: Result, problems: Sequence[Problem] | None, started: str, ended: str | None = None
) -> dict[str, Any]:
    """The log of one result as plain JSON types; `inspect_ai.log.read_eval_log` reads the file that it makes.

    Args:
        result: with the outcomes of its problems.
        problems: those that it ran on, for the texts; None where they are not at hand, and the samples have none.
        started: when the run began, in ISO 8601 with its time zone.
        ended: when it ended; None where that is not known.

    Raises:
        DataError: a result without outcomes.
    """
    arms = {arm: rows for arm, rows in result.outcomes.items() if rows}
    if ARM not in arms:
        raise DataError(
            "The result has no answers of single problems, which are the samples of a log.", "Keep the run with --out."
        )
    done, document = result.experiment, result.to_dict()
    known = {} if problems is None else {problem.id: problem for problem in problems}
    model, ids = f"codi-int/{done.model}", [row.problem_id for row in arms[ARM]]
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            **_ids(document, started),
            "created": started,
            "task": f"codi-int/{done.kind}",
            "task_display_name": f"{done.label or done.kind} at {', '.join(map(str, done.sites or (done.site,)))}",
            "task_args": document["experiment"],
            "dataset": {"name": done.data, "samples": len(ids), "sample_ids": ids, "shuffled": False},
            "model": model,
            "model_args": {"model_sha256": result.environment.model_sha256, "sae": done.sae},
            "config": {"epochs": 1},
            "packages": {"codi_int": result.environment.codi_int, "torch": result.environment.torch},
            # the whole document: intervals, controls, verdict, notes have no fields of their own there
            "metadata": {"codi_int": document},
            "scorers": [{"name": arm} for arm in arms],
        },
        # empty, but asked for by what reads a log without its samples
        "plan": {"name": "plan", "steps": []},
        "results": {
            "total_samples": len(ids),
            "completed_samples": len(ids),
            "scores": [_score_of_arm(result, arm) for arm in arms],
        },
        "stats": {"started_at": started, "completed_at": ended or ""},
        "samples": [*_samples(arms, known, model)],
    }


def _ids(document: Mapping[str, Any], started: str) -> dict[str, str]:
    """Names of run and task, which a database keeps apart: one run has the same ones each time."""

    def digest(*parts: object) -> str:
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:22]

    task = digest(document["experiment"])
    run = digest(document["experiment"], document["environment"], started)
    return {"eval_id": digest("eval", run), "run_id": run, "task_id": task}


def _score_of_arm(result: Result, arm: str) -> dict[str, Any]:
    """Accuracy of an arm; of the intervened one also what the edit changed."""
    values: dict[str, float | None] = {"accuracy": result.arms[arm].accuracy}
    if arm == ARM:
        effect = result.effect
        values |= {"change_of_accuracy": effect.estimate, "change_low": effect.low, "change_high": effect.high}
        values["change_p_value"] = effect.p_value
    return {
        "name": arm,
        "scorer": arm,
        "scored_samples": len(result.outcomes[arm]),
        "metrics": {name: {"name": name, "value": value} for name, value in values.items() if value is not None},
    }


def _samples(
    arms: Mapping[str, Sequence[Outcome]], known: Mapping[str, Problem], model: str
) -> Iterator[dict[str, Any]]:
    for number, outcome in enumerate(arms[ARM]):
        problem = known.get(outcome.problem_id)
        yield {
            "id": outcome.problem_id,
            "epoch": 1,
            "input": "" if problem is None else problem.question,
            "target": "" if problem is None else _text(problem.answer),
            "output": {
                "model": model,
                "choices": [
                    {"message": {"role": "assistant", "content": _text(outcome.answer)}, "stop_reason": "stop"}
                ],
            },
            "scores": {arm: _score(rows[number]) for arm, rows in arms.items()},
            "metadata": {
                "touched": outcome.touched,
                "has_text": problem is not None,
                "steps": [] if problem is None else [*_steps(problem)],
            },
        }


def _score(outcome: Outcome) -> dict[str, Any]:
    return {
        "value": RIGHT if outcome.correct else WRONG,
        "answer": _text(outcome.answer),
        "metadata": {"answer_logprob": outcome.answer_logprob, "answer_margin": outcome.answer_margin},
    }


def _steps(problem: Problem) -> Iterator[str]:
    from codi_int.data.steps import write_step

    yield from map(write_step, problem.steps)


def _text(answer: Number | None) -> str:
    """A number as a model writes it; empty where none was written."""
    return "" if answer is None else str(answer)
