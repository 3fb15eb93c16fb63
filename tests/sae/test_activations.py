"""One path to activations: in memory and from disk they are the same, and a capture of something else is refused."""

import pytest
import torch

from codi_int.errors import DataError, SiteError
from codi_int.sae.activations import activations
from codi_int.sae.captures import capture_to_disk
from codi_int.types import Site

SITES = [Site(1, 3), Site(2, 4)]


def test_disk_and_memory_agree_in_the_order_of_the_problems(model, problems, tmp_path):
    heard = []
    held = activations(model, problems, SITES, progress=lambda *said: heard.append(said))
    kept = activations(model, problems, SITES, "stories", tmp_path / "acts")
    assert heard[-1] == ("thoughts", 11, 11)
    for site in SITES:
        assert kept.at(site).problem_ids == held.at(site).problem_ids == tuple(p.id for p in problems)
        torch.testing.assert_close(kept.at(site).values, held.at(site).values, atol=1e-5, rtol=1e-5)


def test_a_capture_is_read_not_made_again(model, problems, tmp_path, monkeypatch):
    capture_to_disk(model, problems, tmp_path, layers=(0, 1, 2), positions=(3, 4), dtype="bfloat16")
    exact = model.think(problems, capture=[SITES[0]]).at(SITES[0]).values
    monkeypatch.setattr(type(model), "think", lambda *args, **more: pytest.fail("thought again"))
    rows = activations(model, problems, SITES, folder=tmp_path).at(SITES[0]).values
    torch.testing.assert_close(rows, exact.bfloat16().float())


def test_a_half_written_capture_is_gone_on_with(model, problems, tmp_path):
    def kill(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture_to_disk(
            model,
            problems,
            tmp_path,
            data="stories",
            layers=(1, 2),
            positions=(3, 4, 5),
            rows_at_once=4,
            progress=kill,
        )
    rows = activations(model, problems, SITES, "stories", tmp_path).at(SITES[1]).values
    exact = model.think(problems, capture=[SITES[1]]).at(SITES[1]).values
    torch.testing.assert_close(rows, exact, atol=1e-5, rtol=1e-5)


def test_captures_of_something_else(model, other_model, problems, tmp_path):
    capture_to_disk(model, problems, tmp_path / "a", "stories", layers=[1], positions=[3])
    capture_to_disk(model, problems, tmp_path / "b", "stories", layers=[1], positions=[3], padding="official")
    refused = [
        ((model, problems[:5], SITES[:1], tmp_path / "a"), "captured from 11 problems of stories, not from the 5"),
        ((other_model, problems, SITES[:1], tmp_path / "a"), "captured from random-0"),
        ((model, problems, SITES, tmp_path / "a"), r"L2.P4 is not in .* layers 1, positions 3"),
        ((model, problems, SITES[:1], tmp_path / "b"), "padding 'official'"),
        ((model, problems, [*SITES, Site(1, 3, "mlp_out")], tmp_path / "c"), "cannot be captured to disk"),
    ]
    for (who, what, sites, folder), says in refused:
        with pytest.raises(DataError, match=says) as caught:
            activations(who, what, sites, "stories", folder)
        assert caught.value.remedy
    with pytest.raises(SiteError, match="Layer 7 does not exist"):
        activations(model, problems, [Site(7, 3)])
