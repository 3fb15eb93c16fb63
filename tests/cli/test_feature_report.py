"""`codi-int report --features`: every alive feature with its address, what is known of it, and from where."""

import itertools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codi_int.cli._dashboard_sources import Dictionary, KeptRun, Sources
from codi_int.cli._feature_report import (
    INDEX,
    PER_PAGE,
    index_page,
    is_marked,
    page_of_features,
    plan_pages,
)
from codi_int.cli._map_pages import CONDITIONS
from codi_int.cli._numbers import interval_text, points
from codi_int.errors import DataError
from codi_int.features.dashboard import BINS, feature_cards, histogram
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.report.html.blocks import ReportPage
from codi_int.report.html.render import render_report
from codi_int.sae import SAEConfig, TopKSAE, load_sae, save_sae
from codi_int.types import Problem, Site, Step
from tests.cli import golden_results as results
from tests.cli import golden_screens as screens
from tests.cli.conftest import Ran, Shelf
from tests.cli.golden_dictionaries import SEEDS
from tests.cli.golden_features import CAUSAL, PROFILES
from tests.report.reading import check_alone

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def profiles() -> Profiles:
    """Three features, one for each dimension; the last one fires nowhere."""
    sae = TopKSAE(SAEConfig(d_in=3, d_sae=3, k=1, rule="abs"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(3))
        sae.W_dec.copy_(torch.eye(3))
    rows = torch.tensor([[3.0, 0, 0], [-5.0, 0, 0], [1.0, 0, 0], [0, 2.0, 0]])
    problems = [Problem(f"p{i}", f"question {i} {HOSTILE}", 7 + i, ()) for i in range(4)]
    found = replace(profile_rows(sae, rows), problems=problems, site=Site(10, 5), data=f"data {HOSTILE}", by_feature={})
    first, *rest = found.rows
    return replace(found, rows=(replace(first, causal=CAUSAL), *rest), by_feature={})


def dictionary(found: Profiles, **more: Any) -> Dictionary:
    assert found.site is not None
    return Dictionary(str(found.site), "an SAE", found.sae, found.site, **more)


def page_with(found: Profiles, **more: Any) -> ReportPage:
    """The dashboard of one SAE, all on one page."""
    (place,) = plan_pages([dictionary(found, **more)])
    return page_of_features(found, None, place, linked=bool(more))[0]


def test_a_feature_has_its_address_its_numbers_and_its_problems(profiles: Profiles) -> None:
    page = check_alone(render_report(page_with(profiles)))
    assert [i for i in page.values("details", "id") if i] == ["L10.P5/0", "L10.P5/1"]
    row = next(row for row in page.rows if row[0] == "0")
    # fires on 3 of 4 problems, with magnitudes 3, 5 and 1; the effect is the screen's
    assert row == ["0", "alive", "75.0", "3", "3.00", "", "-1.14", "0.0047", "-0.035", "changed", "yes"]
    # what never fires has a row all the same, so that it can be asked for
    assert ["2", "dead", "0.0", "0", *["-"] * 7] in page.rows
    assert "2 of 3 features fire; 1 never fire here." in page.text
    # the strongest by magnitude first: p1 with -5, then p0 with 3
    assert re.search(r"-5\.00 p1 question 1 .* 3\.00 p0 question 0 .* 1\.00 p2", page.text)
    assert "latent of feature 0: 3 problems from -5.00 to 3.00, at most 1 in a bar" in str(page.tags)
    assert HOSTILE in page.text
    assert "no rule of specialization applies" in page.text


def test_a_neighbour_that_never_fires_has_no_link(profiles: Profiles) -> None:
    page = check_alone(render_report(page_with(profiles)))
    led = {link for link in page.values("a", "href") if link}
    assert led == {"#L10.P5/0", "#L10.P5/1"}


def test_a_histogram_is_numpys_of_what_fires() -> None:
    column = np.array([0, 0, 1, 2, 2, 9], np.float32)
    counts, low, high = histogram(column)
    assert (len(counts), sum(counts), low, high) == (BINS, 4, 1.0, 9.0)
    assert (counts[0], counts[2], counts[-1]) == (1, 2, 1)
    assert histogram(np.zeros(3, np.float32)) == ((0,) * BINS, 0.0, 0.0)


def test_profiles_without_problems_have_no_dashboard() -> None:
    with pytest.raises(DataError, match="no problems to show"):
        feature_cards(PROFILES, None)


def test_five_hundred_features_stay_below_eight_megabytes() -> None:
    torch.manual_seed(0)
    sae = TopKSAE(SAEConfig(d_in=16, d_sae=512, k=20, rule="abs"))
    with torch.no_grad():
        sae.W_enc.normal_()
        sae.W_dec.normal_()
    step = Step(12, "multiplication", 20, 240)
    problems = [
        Problem(f"held-out-{i}", "Tom has 12 bags with 20 apples each. " * 12, 240, (step,) * 4) for i in range(120)
    ]
    found = replace(profile_rows(sae, torch.randn(120, 16)), problems=problems, site=Site(14, 3), by_feature={})
    assert len(found) > 400
    html = render_report(page_with(found))
    assert len(html.encode()) < 8e6 * len(found) / 512


def test_each_context_of_a_feature_is_a_row_that_leads_to_its_run(profiles: Profiles) -> None:
    row = replace(screens.SCREEN.rows[0], site=Site(10, 5), feature=0)
    free = replace(screens.SCREEN, rows=(row,))
    silent = replace(screens.SCREEN, rows=(replace(row, confirmation=None, selected=False),), later="mean")
    edit = replace(results.RESULT, experiment=replace(results.EXPERIMENT, features=(0, 1), later="clean"))
    runs = {
        "screens": (KeptRun("run1", free), KeptRun("run2", silent)),
        "edits": (KeptRun("run3", edit),),
        "seeds": (replace(SEEDS, rows=(replace(SEEDS.rows[0], feature=0, dictionary="seed 7", partner=31),)),),
    }
    page = check_alone(render_report(page_with(profiles, **runs)))
    found = {row[0]: row for row in page.rows}
    assert found["ablate alone"][1] == points(free.rows[0].confirmation_estimate)
    assert found["ablate, later silent"][1:3] == [points(row.estimate), interval_text(row.low, row.high, points)]
    assert found["ablate 449 (mean), later clean"][1] == points(edit.effect.estimate)
    # the edit of two features is a row of either
    assert sum(row[0].endswith("later clean") for row in page.rows) == 2
    assert found["seed 7"][1] == "31"
    led = {link for link in page.values("a", "href") if link and not link.startswith("#")}
    assert led == {"report.html", "report.html#run1", "report.html#run2", "report.html#run3"}


def test_a_map_says_what_the_site_does_in_each_condition(profiles: Profiles) -> None:
    found = screens.CONTEXTS_MAP
    site = next(cell.site for cell in found.cells if cell.effect is not None)
    there = replace(profiles, site=site, by_feature={})
    page = check_alone(render_report(page_with(there, maps=(KeptRun("run1", found),))))
    wanted = [cell for cell in (*found.cells, *found.contexts) if cell.site == site and cell.effect is not None]
    rows = [row for row in page.rows if row[0].startswith("mean, ")]
    assert [row[0] for row in rows] == [f"mean, {CONDITIONS[cell.later]}" for cell in wanted]
    assert len(rows) == 3


def test_steps_with_what_a_feature_is_a_specialist_of_are_marked() -> None:
    assert is_marked("<<20*3=60>>", ["multiplication"])
    assert not is_marked("<<20+3=23>>", ["multiplication"])
    assert is_marked("<<20+3=23>>", ["division", "number 23"])
    assert not is_marked("<<20+3=23>>", ["number 2"])
    assert not is_marked("no step", ["multiplication"])


def hundred_thousand(fires: int) -> Profiles:
    """An SAE of 100,000 features, of which the first `fires` and the last one fire."""
    sae = TopKSAE(SAEConfig(d_in=2, d_sae=100_000, k=1, rule="abs"))
    alive = [*range(fires), 99_999]
    found = profile_rows(replaced_weights(sae), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    rows = tuple(replace(found.rows[0], feature=f, rank=i, n_firing=1) for i, f in enumerate(alive, 1))
    problems = [Problem("p0", "a question", 1, ()), Problem("p1", "another", 2, ())]
    return replace(found, rows=rows, problems=problems, site=Site(10, 5), by_feature={})


def replaced_weights(sae: TopKSAE) -> TopKSAE:
    with torch.no_grad():
        sae.W_enc.zero_()
        sae.W_enc[0, 0] = sae.W_enc[1, 1] = 1.0
    return sae


def test_a_hundred_thousand_features_are_pages_that_stay_small() -> None:
    found = hundred_thousand(fires=3)
    one = dictionary(found)
    places = plan_pages([one])
    assert len(places) == -(-100_000 // PER_PAGE)
    assert (places[0].file, places[1].file) == ("features-L10.P5-1.html", "features-L10.P5-2.html")
    # every feature is on one page, and on one alone
    assert (places[0].first, places[-1].last) == (0, 99_999)
    assert all(a.last + 1 == b.first for a, b in itertools.pairwise(places))
    made = [page_of_features(found, None, place, several=True) for place in (places[0], places[-1])]
    for (page, summary), ids in zip(made, (["L10.P5/0", "L10.P5/1", "L10.P5/2"], ["L10.P5/99999"]), strict=True):
        html = render_report(page)
        assert len(html.encode()) < 200_000
        read = check_alone(html)
        assert [i for i in read.values("details", "id") if i] == ids
        assert summary.n_alive == len(ids)
        assert INDEX in read.values("a", "href")
    # a neighbour on another page is found by the index
    assert any(block.neighbours for block in made[0][0].features)
    index = index_page(Sources("a model", (one,), ()), [summary for _, summary in made], "2 problems", linked=False)
    read = check_alone(render_report(index))
    assert read.values("a", "data-covers") == ["L10.P5/0-511", "L10.P5/99840-99999"]
    assert "features-L10.P5-196.html#L10.P5/99999" in read.values("a", "href")
    assert "4 of 672 features fire; 668 never fire here." in read.text


def test_saes_of_one_site_have_addresses_of_their_own(profiles: Profiles) -> None:
    one = dictionary(profiles)
    several = [replace(one, label="L10.P5/d8_k2 <b>"), replace(one, label="L10.P5/d16")]
    assert [place.file for place in plan_pages(several)] == [
        "features-L10.P5-d8_k2--b-.html",
        "features-L10.P5-d16.html",
    ]
    page, _ = page_of_features(profiles, None, plan_pages(several)[0], several=True)
    read = check_alone(render_report(page))
    assert [i for i in read.values("details", "id") if i] == ["L10.P5/d8_k2 <b>/0", "L10.P5/d8_k2 <b>/1"]
    assert {link for link in read.values("a", "href") if link and link.startswith("#")} == {
        "#L10.P5/d8_k2%20%3Cb%3E/0",
        "#L10.P5/d8_k2%20%3Cb%3E/1",
    }


def test_the_command_writes_the_dashboard_of_an_sae(run: Callable[..., Ran], shelf: Shelf, tmp_path: Path) -> None:
    done = run("report", shelf.sae, "--features", "--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path))
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "features.html")), done.err
    page = check_alone((tmp_path / "features.html").read_text())
    ids = [i for i in page.values("details", "id") if i]
    assert f"L2.P3/{shelf.living}" in ids
    assert f"L2.P3/{shelf.dead}" not in ids


def test_an_edit_and_its_feature_lead_to_each_other(run: Callable[..., Ran], shelf: Shelf, tmp_path: Path) -> None:
    words = ("--layer", "2", "--model", shelf.model, "--data", shelf.data, "--controls", "0")
    assert run("ablate", "--feature", str(shelf.living), *words, "--out", str(tmp_path / "run")).code == 0
    done = run("report", str(tmp_path / "run"), "--features", *words[2:6], "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["files"] == [str(tmp_path / "run" / name) for name in ("features.html", "report.html")]
    there = check_alone((tmp_path / "run" / "report.html").read_text())
    assert there.values("a", "href") == [f"features.html#L2.P3/{shelf.living}"]
    back = check_alone((tmp_path / "run" / "features.html").read_text())
    assert "report.html#run1" in back.values("a", "href")
    # written again by itself, the report still leads there
    assert run("report", str(tmp_path / "run")).code == 0
    again = check_alone((tmp_path / "run" / "report.html").read_text())
    assert again.values("a", "href") == [f"features.html#L2.P3/{shelf.living}"]


def test_a_folder_of_saes_is_an_index_and_a_page_for_each(
    run: Callable[..., Ran], shelf: Shelf, tmp_path: Path
) -> None:
    for name in ("d32_k10", "another"):
        shutil.copytree(shelf.sae, tmp_path / "saes" / "L2.P3" / name)
    config = next((tmp_path / "saes" / "L2.P3" / "another").glob("*.safetensors"))
    sae = load_sae(tmp_path / "saes" / "L2.P3" / "another")
    with torch.no_grad():
        sae.W_dec.mul_(2.0)
    config.unlink()
    save_sae(sae, tmp_path / "saes" / "L2.P3" / "another")
    words = ("--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / "out"))
    done = run("report", str(tmp_path / "saes"), "--features", *words)
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "out" / "features.html")), done.err
    index = check_alone((tmp_path / "out" / "features.html").read_text())
    assert index.values("a", "data-covers") == ["L2.P3/another/0-31", "L2.P3/d32_k10/0-31"]
    for name in ("another", "d32_k10"):
        page = check_alone((tmp_path / "out" / f"features-L2.P3-{name}.html").read_text())
        assert f"L2.P3/{name}/{shelf.living}" in page.values("details", "id")


def test_what_is_no_sae_is_refused_in_two_lines(run: Callable[..., Ran], shelf: Shelf, tmp_path: Path) -> None:
    empty, nothing = tmp_path / "empty", tmp_path / "none.jsonl"
    empty.mkdir()
    nothing.write_text("")
    for words, said in (
        ((shelf.sae, shelf.sae), "--out is missing"),
        (("codi-mini/L14.P3",), "--out is missing"),
        ((str(empty),), f"{empty} holds no result"),
        ((str(tmp_path / "nowhere"), "--out", str(tmp_path)), "is neither an SAE nor a folder"),
        ((shelf.sae, "--data", str(nothing)), f"{nothing}"),
    ):
        data = () if "--data" in words else ("--data", shelf.data)
        done = run("report", *words, "--features", *data)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert "Traceback" not in done.err
