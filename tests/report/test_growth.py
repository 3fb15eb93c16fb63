"""Growth curves: the lines hold the measurements, and files are the same bytes each time."""

from pathlib import Path

import pytest
from matplotlib.image import imread

from codi_int.errors import DataError, OutputError
from codi_int.report.growth import draw_growth, growth_figure

ROWS = [
    {"peer": "ours", "varies": "d_sae", "d_sae": 1024, "k": 8, "seconds": 2.0, "peak_mib": 30.0},
    {"peer": "ours", "varies": "d_sae", "d_sae": 512, "k": 8, "seconds": 1.0, "peak_mib": 20.0},
    {"peer": "ours", "varies": "k", "d_sae": 512, "k": 16, "seconds": 1.5, "peak_mib": None},
    {"peer": "theirs", "varies": "d_sae", "d_sae": 512, "seconds": 4.0, "seconds_low": 3.0, "seconds_high": 6.0},
]


def lines(axis) -> dict[str, tuple[list[float], list[float]]]:
    """Label of each line to its points."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines}


def test_a_line_for_each_peer_in_the_panels_where_it_was_measured() -> None:
    figure = draw_growth(ROWS, ("d_sae", "k"), ("seconds", "peak_mib"))
    time_by_d, time_by_k, memory_by_d, memory_by_k = figure.axes
    assert lines(time_by_d)["ours"] == ([512.0, 1024.0], [1.0, 2.0])
    assert lines(time_by_d)["theirs"] == ([512.0], [4.0])
    assert lines(time_by_k) == {"ours": ([16.0], [1.5])}
    assert lines(memory_by_d) == {"ours": ([512.0, 1024.0], [20.0, 30.0])}
    assert lines(memory_by_k) == {}
    assert {axis.get_xscale() for axis in figure.axes} == {axis.get_yscale() for axis in figure.axes} == {"log"}
    assert (memory_by_d.get_xlabel(), time_by_d.get_ylabel()) == ("features in the SAE", "time (s)")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "theirs"]


def test_spread_is_drawn_as_bars() -> None:
    (axis,) = draw_growth(ROWS, "d_sae", "seconds").axes
    (bars,) = [c for c in axis.collections if len(c.get_segments())]
    assert bars.get_segments()[0].tolist() == [[512.0, 3.0], [512.0, 6.0]]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first = growth_figure(ROWS, "d_sae", "seconds", tmp_path / "a", "time")
    again = growth_figure(ROWS, "d_sae", "seconds", tmp_path / "b", "time")
    assert [path.name for path in first] == ["time.png", "time.svg"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    height, width, _ = imread(first[0]).shape
    assert 400 < width < 2000
    assert 300 < height < 2000


def test_rows_without_a_measurement_are_an_error() -> None:
    with pytest.raises(DataError, match="No row holds one of d_sae together with one of joules"):
        draw_growth(ROWS, "d_sae", "joules")


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written to"):
        growth_figure(ROWS, "d_sae", "seconds", tmp_path / "file" / "below")
