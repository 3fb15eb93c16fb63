"""`codi-int lens`: what each thought says at each layer, for one problem or over a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Page, table
from codi_int.cli._job import keep_as, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, percentage
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError, DataError

if TYPE_CHECKING:
    from codi_int.model.lens import LensGrid, LensGroup, LensReport, LensToken
    from codi_int.types import Problem

TOP_OF_ONE, TOP_OF_ALL = 3, 5


@dataclass(frozen=True, kw_only=True)
class LensOptions(o.KeptOptions):
    """What to look into, and how deep."""

    reinitialize: o.Reinitialize = None
    question: Annotated[str | None, typer.Argument(help="One question to look into.")] = None
    problem: Annotated[
        int | None,
        o.where(parser=o.whole("--problem", least=0), metavar="N", help="Look into this problem of the data, from 0."),
    ] = None
    top: Annotated[
        int | None,
        o.output(
            parser=o.whole("--top", least=1), metavar="N", help="Top tokens.  [default: 3 for one problem, else 5]"
        ),
    ] = None


@with_options
def lens(options: LensOptions) -> None:
    """Read each thought at each layer as a word: which results of the written steps does it say, and how often?

    With a question or --problem: the top tokens of that problem. Else: how often the results of the steps are among
    the top tokens, with 95% intervals and the share by chance; --out keeps lens.json, lens.png and lens.svg.

    Example: codi-int lens --problem 0
    """
    if options.question is None and options.problem is None:
        _look_over_all(options)
    else:
        _look_into_one(options)


def _look_into_one(options: LensOptions) -> None:
    """The grid of one problem."""
    problem = _chosen(options)  # before the model, which takes longer to load
    folder = run_folder(options)

    def work(report: Report) -> "LensGrid":
        from codi_int.data.problems import problems_sha256
        from codi_int.model.lens import lens_grid
        from codi_int.model.loading import load_model

        model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
        folder.claim(model=model.sha256, data=problems_sha256([problem]))
        return lens_grid(model, problem, TOP_OF_ONE if options.top is None else options.top)

    def document(grid: "LensGrid") -> dict[str, Any]:
        # nobody knows the answer of a typed question; the 0 in its place must not look like one
        return {**grid.to_dict(), "answer": None} if options.question else grid.to_dict()

    run_job(
        work,
        document=document,
        page=lambda grid: _grid_page(grid, known=options.question is None),
        as_json=options.as_json,
        out=folder,
        keep=keep_as("lens.json", document),
    )


def _look_over_all(options: LensOptions) -> None:
    """The shares over a data set, and their picture."""
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.model.lens import LensReport

    folder = run_folder(options)
    problems = load_problems(options.data, options.limit)

    def work(report: Report) -> LensReport:
        from codi_int.model.lens import lens_frequencies
        from codi_int.model.loading import load_model

        model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
        folder.claim(model=model.sha256, data=problems_sha256(problems))
        top = TOP_OF_ALL if options.top is None else options.top
        return lens_frequencies(model, problems, options.data, top, progress=report)

    run_job(
        work,
        document=LensReport.to_dict,
        page=_report_page,
        as_json=options.as_json,
        out=folder,
        keep=keep_as("lens.json", LensReport.to_dict),
    )


def _chosen(options: LensOptions) -> "Problem":
    from codi_int.data.problems import as_problems, load_problems

    question, index = options.question, options.problem
    if question is not None and index is not None:
        raise ConfigError("A question and --problem cannot go together.", "Give one of them.")
    if index is None:
        return as_problems(question or "")[0]
    problems = load_problems(options.data, options.limit)
    if not 0 <= index < len(problems):
        raise DataError(f"Problem {index} does not exist: there are 0 to {len(problems) - 1}.", "Choose another one.")
    return problems[index]


def _grid_page(grid: "LensGrid", known: bool) -> Page:
    """Layers downwards, positions to the right; brackets mark results of the problem's steps."""
    out = table("layer", "<bot>", *(f"thought {p}" for p in range(1, len(grid.tokens[0]))), foldable=True)
    for layer, row in enumerate(grid.tokens):
        out.add_row(str(layer), *map(_lines, row))
    head = [Text(grid.problem_id, style="bold"), Text(grid.question)]
    truth = [Text(f"true answer: {grid.answer}; results of its steps stand in [], probabilities in %")] if known else []
    return Page(*head, *truth, "", out)


def _lines(tokens: "Sequence[LensToken]") -> Text:
    out = Text()
    for number, token in enumerate(tokens):
        out.append("\n" if number else "").append(_cell(token))
    return out


def _cell(token: "LensToken") -> Text:
    # a word that is all blanks would be an empty cell: its repr shows which blanks
    word = token.text.strip() or repr(token.text)
    share = percentage(token.probability, 0)
    if token.is_result:
        return Text(f"[{word[:8]}] {share:>2}", style="bold green")
    return Text(f"{word[:8]} {share:>2}")


def _report_page(report: "LensReport") -> Page:
    title = f"{report.model} on {counted(report.n_problems, 'problem')} of {report.data}"
    parts: list[RenderableType] = [Text(title, style="bold")]
    for group in report.groups:
        parts += ["", *_group_parts(group, report)]
    note = "best: by share minus chance; that it is the best of many makes its own interval too kind"
    return Page(*parts, "", Text(note, style="dim"))


def _group_parts(group: "LensGroup", report: "LensReport") -> Sequence[RenderableType]:
    what = "the answer" if group.name == "answer" else f"the result of {group.name}"
    title = Text(f"{what} among the top {report.top}, % of {counted(group.n, 'problem')}", style="bold")
    out = table("layer", "<bot>", *map(str, range(1, report.n_positions)), foldable=True)
    for layer in range(report.n_layers):
        # cells lie layer by layer in one flat tuple
        cells = group.cells[layer * report.n_positions : (layer + 1) * report.n_positions]
        out.add_row(str(layer), *(percentage(cell.rate, 0) for cell in cells))
    best = group.best
    place = "<bot>" if best.position == 0 else f"thought {best.position}"
    interval = f"{percentage(best.low)} to {percentage(best.high)}"
    text = f"best: layer {best.layer}, {place}: {percentage(best.rate)} % ({interval}), by chance"
    left = f"left out: {group.n_given_away:,} given away by another number, {group.n_not_one_token:,} no single token"
    return title, out, Text(f"{text} {percentage(best.by_chance)} %"), Text(left, style="dim")
