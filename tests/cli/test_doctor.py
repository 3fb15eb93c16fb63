"""doctor: what it prints, keeps and refuses."""

import json
from collections.abc import Callable

import pytest

import codi_int as ci
from codi_int.cli.doctor import _size
from codi_int.types import Site


def test_it_tells_sizes_hashes_and_parity(run: Callable, shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    # a random model with large weights makes rounding grow: 2e-5 of a state's length on some processors
    monkeypatch.setattr("codi_int.model.parity.TOLERANCE", 1e-4)
    ran = run("doctor", "--model", shelf.model, "--parity", "2", "--data", shelf.data, "--json")
    document = json.loads(ran.out)
    model = ci.load_model(shelf.model)
    assert ran.code == 0
    assert (document["model"]["n_layers"], document["model"]["d_model"]) == (model.n_layers, model.d_model)
    assert document["model"]["sha256"] == model.sha256
    assert document["parity"]["agrees"]
    assert document["parity"]["n_problems"] == 2


def test_the_page_names_what_was_assumed_and_the_saved_copy_is_the_same_model(run: Callable, shelf, tmp_path) -> None:
    ran = run("doctor", "--model", shelf.model, "--save", str(tmp_path / "copy"))
    for text in ("llama, native format", "assumed: nothing", "memory needed", "SHA-256 begins"):
        assert text in ran.page
    assert "Saved in" in ran.err
    assert ci.load_model(tmp_path / "copy").sha256 == ci.load_model(shelf.model).sha256


def test_a_model_that_is_run_wrongly_is_sick(run: Callable, shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ci.load_model(shelf.model)
    monkeypatch.setattr("codi_int.model.loading.load_model", lambda *_, **__: model)
    with model.hooks({Site(1, 2): lambda r, c: r * 1.1}):
        ran = run("doctor", "--parity", "2", "--data", shelf.data)
    assert ran.code == 1
    assert "do not trust this model" in ran.page


def test_settings_of_the_official_layout_are_refused_for_the_native_format(run: Callable, shelf) -> None:
    ran = run("doctor", "--model", shelf.model, "--keep-eos")
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 2)
    assert "remove_eos" in ran.err
    assert run("doctor", "--model", shelf.model, "--parity", "-1").code == 2


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (3 * 2**19, "1.5 MiB"),
        (2**30 - 2**20, "1,023.0 MiB"),
        (2**30, "1.0 GiB"),
    ],
)
def test_sizes(n_bytes: int, shown: str) -> None:
    assert _size(n_bytes) == shown
