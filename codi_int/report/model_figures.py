"""Figures of a model by itself: how well it answers, how long its thoughts are, how far it is from the plain loop."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import Document
from codi_int.report.panels import few_ticks, log_ticks
from codi_int.report.style import BLUE, GREY, MARKERS, ORANGE, PAGE, SERIES, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.figure

MOST_PROBLEMS = len(SERIES)
"""lines that can be told apart"""
GROUPS = (
    ("", ("by_steps", "by_operation")),
    ("thoughts replaced: ", ("thoughts_replaced",)),
    ("all thoughts replaced, ", ("thoughts_replaced_by_steps",)),
    ("written chain, ", ("written_chain",)),
)
"""what the rows of an evaluation are called, and the keys that hold them"""


def doctor_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw the comparison of a `codi-int/doctor@1` document as `parity`; nothing where none was made.

    Raises:
        OutputError: the folder cannot be written to.
    """
    return write_figure(parity_figure(document), out, "parity") if document["parity"] else []


@styled
def accuracy_figure(document: Document) -> "matplotlib.figure.Figure":
    """Accuracy with its interval: of all problems, and of every group that was measured, below each other."""
    rows = [("all problems", document["overall"])]
    rows += [(f"{words}{row['group']}", row) for words, keys in GROUPS for key in keys for row in document[key]]
    names = [f"{name} (n = {row['n']:,})" for name, row in rows]
    # documents of earlier versions name no method; theirs took problems for independent
    method = document["overall"].get("method", "Wilson")
    text = (
        f"{document['data']}. Bars: 95% intervals ({method}). Rule {document['rule']}, padding {document['padding']}."
    )
    figure = new_figure(PAGE, 1.1 + 0.2 * len(rows), f"How well {document['model']} answers", text)
    axis = figure.subplots()
    for y, (_, row) in enumerate(rows):
        axis.plot([100 * row["low"], 100 * row["high"]], [y, y], color=BLUE, solid_capstyle="butt", clip_on=False)
        axis.plot(100 * row["accuracy"], y, "o", color=BLUE, clip_on=False)
    axis.set_yticks(range(len(rows)), names)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(0, 100)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("accuracy (%)")
    few_ticks(axis)
    return figure


@styled
def thoughts_figure(document: Document) -> "matplotlib.figure.Figure":
    """Length of each thought, and how alike it is to the one before; a line for each of the first problems."""
    problems = document["problems"]
    shown = problems[:MOST_PROBLEMS]
    left = f" The first {len(shown)} of {len(problems):,} problems." if len(shown) < len(problems) else ""
    figure = new_figure(PAGE, 2.8, f"The thoughts of {document['model']}", f"One line for each problem.{left}")
    lengths, likeness = figure.subplots(1, 2)
    for i, problem in enumerate(shown):
        style = {"color": SERIES[i % len(SERIES)], "marker": MARKERS[i % len(MARKERS)], "markersize": 3.5}
        norms, steps = problem["thought_norms"], problem["thought_steps"]
        lengths.plot(range(1, len(norms) + 1), norms, label=problem["problem_id"], **style)
        likeness.plot(range(2, len(steps) + 2), steps, **style)
    for axis, what in ((lengths, "length of the fed vector"), (likeness, "cosine with the thought before")):
        axis.set_xlabel("thought")
        axis.set_ylabel(what)
        few_ticks(axis)
        few_ticks(axis, "y")
    if len(shown) > 1:
        lengths.legend(loc="best")
    return figure


@styled
def parity_figure(document: Document) -> "matplotlib.figure.Figure":
    """The largest difference from the plain loop by layer and by position, with the bound that float32 has to keep."""
    parity, model = document["parity"], document["model"]
    text = (
        f"{parity['n_problems']:,} problems, {model['dtype']}; {parity['n_answers_equal']:,} answers are the same. "
        "Differences relative to the length of a state; equal states are left out."
    )
    figure = new_figure(PAGE, 2.6, f"{model['name']} against a plain Hugging Face loop", text)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, key, what in zip(axes, ("worst_by_layer", "worst_by_position"), ("layer", "position"), strict=True):
        values: Sequence[float] = parity[key]
        # a logarithmic axis has no place for a difference of nothing
        found = [(i, value) for i, value in enumerate(values) if value > 0]
        axis.plot([i for i, _ in found], [value for _, value in found], "o", color=BLUE)
        axis.axhline(1e-5, color=ORANGE, linewidth=0.8)
        axis.annotate("1e-5, the bound for float32", (0, 1e-5), (2, 3), textcoords="offset points", color=GREY)
        axis.set_yscale("log")
        axis.set_xlim(-0.5, len(values) - 0.5)
        axis.set_xlabel(what)
        few_ticks(axis)
    axes[0].set_ylabel("largest difference")
    log_ticks(axes[0])
    return figure
