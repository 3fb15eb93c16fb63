"""`codi-int report --features`: every alive feature with its address, what is known of it, and from where."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codi_int.cli._feature_report import page_of_features
from codi_int.errors import DataError
from codi_int.features.dashboard import BINS, feature_cards, histogram
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.report.html.render import render_report
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem, Site, Step
from tests.cli.conftest import Ran, Shelf
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


def test_a_feature_has_its_address_its_numbers_and_its_problems(profiles: Profiles) -> None:
    page = check_alone(render_report(page_of_features(profiles)))
    assert [i for i in page.values("details", "id") if i] == ["L10.P5/0", "L10.P5/1"]
    row = next(row for row in page.rows if row[0] == "0")
    # fires on 3 of 4 problems, with magnitudes 3, 5 and 1; the effect is the screen's
    assert row == ["0", "75.0 %", "3", "3.00", "", "-", "-", "-", "-", "-1.14", "0.0047", "-0.035", "changed", "yes"]
    assert "2 of 3 features fire; 1 never fire here." in page.text
    # the strongest by magnitude first: p1 with -5, then p0 with 3
    assert re.search(r"-5\.00 p1 question 1 .* 3\.00 p0 question 0 .* 1\.00 p2", page.text)
    assert "latent of feature 0: 3 problems from -5.00 to 3.00, at most 1 in a bar" in str(page.tags)
    assert HOSTILE in page.text
    assert "no rule of specialization applies" in page.text


def test_a_neighbour_that_never_fires_has_no_link(profiles: Profiles) -> None:
    page = check_alone(render_report(page_of_features(profiles)))
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
    html = render_report(page_of_features(found))
    assert len(html.encode()) < 8e6 * len(found) / 512


def test_the_command_writes_the_dashboard_of_an_sae(run: Callable[..., Ran], shelf: Shelf, tmp_path: Path) -> None:
    done = run("report", shelf.sae, "--features", "--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path))
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "features.html")), done.err
    page = check_alone((tmp_path / "features.html").read_text())
    ids = [i for i in page.values("details", "id") if i]
    assert f"L2.P3/{shelf.living}" in ids
    assert f"L2.P3/{shelf.dead}" not in ids


def test_what_is_no_sae_is_refused_in_two_lines(run: Callable[..., Ran], shelf: Shelf, tmp_path: Path) -> None:
    for words, said in (
        ((shelf.sae, shelf.sae), "one SAE, got 2"),
        (("codi-mini/L14.P3",), "--out is missing"),
        ((str(tmp_path),), str(tmp_path)),
    ):
        done = run("report", *words, "--features", "--data", shelf.data)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert "Traceback" not in done.err
