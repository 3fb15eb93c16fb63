"""Figures inside a page: its colours, no style of their own, identifiers that no other figure has."""

import xml.etree.ElementTree as ElementTree

import pytest

from codi_int.report.html.svg import inline_svg
from codi_int.report.style import RED, collect_figures, new_figure, write_figure

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("drawn")
    with collect_figures() as figures:
        figure = new_figure(3.0, 2.0, f"title {HOSTILE}", "caption")
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], "o-", color=RED, markerfacecolor="white", clip_on=True)
        assert write_figure(figure, folder, "one") == []
    assert list(folder.iterdir()) == []
    return figures["one"]


def test_ink_and_paper_are_the_pages_and_other_colours_stay(drawn: str) -> None:
    root = ElementTree.fromstring(inline_svg(drawn, "a", "a figure"))
    everything = list(root.iter())
    assert not [e for e in everything if "style" in e.attrib or e.tag.endswith(("}style", "}metadata"))]
    strokes = {e.get("stroke", "").lower() for e in everything}
    assert {"currentColor".lower(), RED.lower()} <= strokes
    fills = {e.get("fill", "").lower() for e in everything}
    assert not {"#000000", "#262626", "#444444"} & (strokes | fills)
    assert any("paper-fill" in e.get("class", "") for e in everything)
    texts = [e for e in everything if e.tag.endswith("}text")]
    assert {e.get("fill") for e in texts} == {"currentColor"}
    said = " ".join("".join(e.itertext()) for e in texts)
    assert HOSTILE in " ".join(said.split()), "letters are text, and what they say is no markup"
    assert (root.get("role"), root.get("aria-label")) == ("img", "a figure")


def test_identifiers_of_two_figures_differ_and_lead_to_their_own(drawn: str) -> None:
    made = [ElementTree.fromstring(inline_svg(drawn, prefix, "x")) for prefix in "ab"]
    ids = [{e.get("id") for e in root.iter() if e.get("id")} for root in made]
    assert not ids[0] & ids[1]
    for own, root in zip(ids, made, strict=True):
        led = [e.get("href", "")[1:] for e in root.iter() if e.get("href", "").startswith("#")]
        led += [e.get("clip-path", "")[5:-1] for e in root.iter() if e.get("clip-path")]
        assert led
        assert set(led) <= own


def test_outside_of_the_block_figures_are_files_again(drawn: str, tmp_path) -> None:
    figure = new_figure(1.0, 1.0)
    assert [path.name for path in write_figure(figure, tmp_path, "two")] == ["two.png", "two.svg"]
