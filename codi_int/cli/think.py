"""`codi-int think`: what a model does with one problem, or some."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Page, table
from codi_int.cli._job import keep_as, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import fixed
from codi_int.cli._signature import with_options

if TYPE_CHECKING:
    from codi_int.model.trace import ThoughtTrace
    from codi_int.types import Number


@dataclass(frozen=True, kw_only=True)
class ThinkOptions(o.KeptOptions):
    """What to think about, and in which ways."""

    reinitialize: o.Reinitialize = None
    question: Annotated[list[str] | None, typer.Argument(help="Questions; without any, problems of --data.")] = None
    limit: Annotated[
        int, o.where(parser=o.whole("--limit", least=1), metavar="N", help="How many problems of --data.")
    ] = 1
    written: Annotated[bool, o.what("--written", help="Also the written chain, without thoughts.")] = False


@with_options
def think(options: ThinkOptions) -> None:
    """Think about some problems: the length of each thought, the answer and its text.

    Example: codi-int think --limit 3
    """
    from codi_int.data.problems import as_problems, load_problems, problems_sha256

    problems = as_problems(options.question) if options.question else load_problems(options.data, options.limit)
    # a typed question comes with 0 for an answer that nobody knows
    truths = [None if options.question else problem.answer for problem in problems]

    folder = run_folder(options)
    notes: list[str] = []

    def work(report: Report) -> "Sequence[ThoughtTrace]":
        from codi_int.model.loading import load_model
        from codi_int.model.trace import trace_problems
        from codi_int.model.vocabulary import vocabulary_notes
        from codi_int.notes import give

        model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
        folder.claim(model=model.sha256, data=problems_sha256(problems))
        notes.extend(vocabulary_notes(model, problems))
        give(notes)
        return trace_problems(model, problems, options.written)

    def document(found: "Sequence[ThoughtTrace]") -> dict[str, Any]:
        rows = [{**asdict(trace), "true_answer": truth} for trace, truth in zip(found, truths, strict=True)]
        return {"schema": "codi-int/thoughts@1", "model": options.model, "problems": rows, "notes": notes}

    run_job(
        work,
        document=document,
        page=lambda found: traces_page(found, truths),
        as_json=options.as_json,
        out=folder,
        keep=keep_as("thoughts.json", document),
    )


def traces_page(traces: "Sequence[ThoughtTrace]", truths: "Sequence[Number | None]") -> Page:
    """Every problem below the other; `truths` holds None where the true answer is not known."""
    parts: list[RenderableType] = []
    for trace, truth in zip(traces, truths, strict=True):
        parts += [*([""] if parts else []), Text(trace.problem_id, style="bold"), Text(trace.question), _norms(trace)]
        parts += [Text(f"wrote: {trace.text.strip()}"), _verdict(trace.answer, truth)]
        if trace.written is not None:
            parts.append(Text(f"without thoughts: {trace.written.strip()}"))
    return Page(*parts)


def _norms(trace: "ThoughtTrace") -> RenderableType:
    out = table("thought", *(str(i + 1) for i in range(len(trace.thought_norms))), foldable=True)
    out.add_row("length", *(fixed(norm, 2) for norm in trace.thought_norms))
    # the cosine with the thought before it: near 1 the model has stopped moving, and later thoughts add nothing
    out.add_row("cosine with the one before", "", *(fixed(cosine, 2, "+") for cosine in trace.thought_steps))
    return out


def _verdict(answer: "Number | None", truth: "Number | None") -> Text:
    from codi_int.data.answers import is_right

    said = "no number" if answer is None else str(answer)
    if truth is None:
        return Text(f"answer: {said}")
    return Text(f"answer: {said}, {'right' if is_right(answer, truth) else f'wrong: it is {truth}'}", style="bold")
