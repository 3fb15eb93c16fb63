"""The figure of a prediction: how often an intervention gave the answer that was predicted, and what it gave else."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import Document
from codi_int.report.panels import few_ticks
from codi_int.report.style import BLUE, GREY, PAGE, RED, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

SPREAD = (0.0, 0.22, -0.22, 0.11, -0.11)
"""heights of controls with neighbouring rates, so that they do not hide each other"""


def prediction_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw the prediction of a `codi-int/result@2` document as `prediction`; nothing where it was not tested.

    Raises:
        OutputError: the folder cannot be written to.
    """
    prediction = document.get("prediction")
    # not tested is not the same as zero hits, and a figure of it would be read so
    if not prediction or not prediction["n_tested"]:
        return []
    return write_figure(prediction_figure(document), out, "prediction")


@styled
def prediction_figure(document: Document) -> "matplotlib.figure.Figure":
    """Left: share of predicted answers by this edit, before it, and by control edits. Right: what answers became."""
    prediction, experiment = document["prediction"], document["experiment"]
    n, controls = prediction["n_tested"], prediction["controls"]
    text = (
        f"{experiment['model']} on {experiment['data']}; {n:,} problems whose predicted answer is not the true one and "
        f"that the edit touched. Bar: {100 * prediction['confidence']:.0f}% interval (Wilson)."
    )
    # with --controls 0 there are none
    if controls is not None:
        text += f" Rings: {len(controls['hit_rates'])} control edits ({controls['kind']})."
    figure = new_figure(PAGE, 2.4, f"Prediction: {prediction['claim']}", text)
    rates, answers = figure.subplots(1, 2)
    _rates(rates, prediction)
    became = prediction["became"]
    shares = [100 * count / n for count in became.values()]
    answers.barh(range(len(became)), shares, 0.6, color=[RED if name == "predicted" else GREY for name in became])
    answers.set_yticks(range(len(became)), list(became))
    answers.set_xlabel("the answer became (% of these problems)")
    answers.set_ylim(len(became) - 0.5, -0.5)
    for axis in (rates, answers):
        axis.tick_params(axis="y", length=0, pad=6)
        # from zero: a bar whose axis starts elsewhere shows its share wrongly
        axis.set_xlim(left=0)
        few_ticks(axis)
    return figure


def _rates(axis: "matplotlib.axes.Axes", prediction: Document) -> None:
    """This edit, the undisturbed model, and the controls, below each other."""
    axis.plot([100 * prediction["low"], 100 * prediction["high"]], [0, 0], color=RED, solid_capstyle="butt")
    # dots at 0 % and 100 % lie on the frame, which would cut them in half
    axis.plot(100 * prediction["hit_rate"], 0, "o", color=RED, clip_on=False)
    axis.plot(100 * prediction["n_hits_clean"] / prediction["n_tested"], 1, "D", color=BLUE, clip_on=False)
    rows = ["this edit", "before the edit"]
    if (controls := prediction["controls"]) is not None:
        rows.append("control edits")
        _rings(axis, controls["hit_rates"])
    axis.set_yticks(range(len(rows)), rows)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel("predicted answers (% of these problems)")


def _rings(axis: "matplotlib.axes.Axes", rates: Sequence[float]) -> None:
    values = sorted(100 * rate for rate in rates)
    heights = [2 + SPREAD[i % len(SPREAD)] for i in range(len(values))]
    axis.plot(values, heights, "o", markerfacecolor="none", color=GREY, markersize=3.5, clip_on=False)
