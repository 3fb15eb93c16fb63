"""Thoughts of single problems as people read them."""

from collections.abc import Sequence

from rich.console import RenderableType

from codi_int.cli._fitting import Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import fixed
from codi_int.data.answers import is_right
from codi_int.errors import DataError
from codi_int.model.trace import ThoughtTrace
from codi_int.types import Number, Problem


def asked(questions: Sequence[str]) -> tuple[Problem, ...]:
    """Typed questions as problems; nobody knows their answers, so none of them is counted."""
    for question in questions:
        if not question.strip():
            raise DataError("A question is empty.", 'Write codi-int think "Tom has 3 apples ...".')
    return tuple(Problem(f"question-{i}", question.strip(), 0, ()) for i, question in enumerate(questions, 1))


def traces_page(traces: Sequence[ThoughtTrace], truths: Sequence[Number | None]) -> Page:
    """Every problem below the other; `truths` holds None where the true answer is not known."""
    parts: list[RenderableType] = []
    for trace, truth in zip(traces, truths, strict=True):
        parts += [*([""] if parts else []), Text(trace.problem_id, style="bold"), Text(trace.question), _norms(trace)]
        parts += [Text(f"wrote: {trace.text.strip()}"), _verdict(trace.answer, truth)]
        if trace.written is not None:
            parts.append(Text(f"without thoughts: {trace.written.strip()}"))
    return Page(*parts)


def _norms(trace: ThoughtTrace) -> RenderableType:
    out = table("thought", *(str(i + 1) for i in range(len(trace.thought_norms))), foldable=True)
    out.add_row("length", *(fixed(norm, 2) for norm in trace.thought_norms))
    # the cosine with the thought before it: near 1 the model has stopped moving, and later thoughts add nothing
    out.add_row("cosine with the one before", "", *(fixed(cosine, 2, "+") for cosine in trace.thought_steps))
    return out


def _verdict(answer: Number | None, truth: Number | None) -> Text:
    said = "no number" if answer is None else str(answer)
    if truth is None:
        return Text(f"answer: {said}")
    return Text(f"answer: {said}, {'right' if is_right(answer, truth) else f'wrong: it is {truth}'}", style="bold")
