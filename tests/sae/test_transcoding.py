"""Transcoders: training between two sites, SAELens' files, and ridge regression beside them."""

import numpy as np
import pytest
import sae_lens
import torch
from sae_lens.registry import get_sae_class
from sklearn.linear_model import Ridge
from sklearn.metrics import explained_variance_score
from torch.testing import assert_close

from codi_int.data.stories import load_stories
from codi_int.errors import CodiError, ConfigError, DataError, SAEError
from codi_int.sae import (
    JumpReLUSAE,
    Provenance,
    SAEConfig,
    SAETrainingConfig,
    check_fits,
    load_sae,
    save_sae,
    train_sae,
)
from codi_int.sae.at_site import TrainingData, train_at_site
from codi_int.sae.evaluate import EvaluationData, evaluate_saes
from codi_int.sae.metrics import measure
from codi_int.sae.transcoding import Rows, _Explained, compare_with_ridge, fit_ridge
from codi_int.types import Problem, Site, SiteActivations, Step

D_IN, D_OUT, D_SAE = 12, 9, 40
SOURCE, TARGET = Site(1, 2), Site(None, 3, "thought")
RECIPE = SAETrainingConfig(
    d_sae=D_SAE, k=4, architecture="transcoder", epochs=60, batch_size=100, learning_rate=3e-3, bias_init="mean"
)


def planted(n: int, seed: int) -> Rows:
    """Targets that sparse features of the rows make: no map of few directions rebuilds them."""
    fixed, drawn = torch.Generator().manual_seed(7), torch.Generator().manual_seed(seed)
    encoder, decoder = torch.randn(D_IN, 24, generator=fixed), torch.randn(24, D_OUT, generator=fixed)
    x = torch.randn(n, D_IN, generator=drawn)
    return Rows(x, (x @ encoder / D_IN**0.5 - 1.0).relu() @ decoder)


def problems(n: int, told: int = 1) -> list[Problem]:
    return [Problem(str(i), "?", 1, (Step(i // told, "addition", 1, 1),)) for i in range(n)]


@pytest.fixture(scope="module")
def trained():
    rows = planted(1_000, 0)
    source, target = SiteActivations(SOURCE, (), rows.read), SiteActivations(TARGET, (), rows.target)
    return train_sae(source, RECIPE, Provenance(model="m"), target=target).sae


def test_it_rebuilds_the_other_site_and_beats_as_many_directions(trained):
    held_out = planted(600, 1)
    found = compare_with_ridge(trained, planted(1_000, 0), held_out, problems(600))
    rebuilt = trained(held_out.read).numpy()
    expected = explained_variance_score(held_out.target, rebuilt, multioutput="variance_weighted")
    assert (found.source, found.target, found.k) == (SOURCE, TARGET, 4)
    assert found.explained == pytest.approx(expected, abs=1e-6)
    assert measure(trained, held_out.read, held_out.target).explained_variance_per_dimension == pytest.approx(
        expected, abs=1e-5
    )
    assert found.explained > found.of_rank_k + 0.02
    assert 0 < found.over_rank_k.low < found.over_rank_k.value == found.explained - found.of_rank_k
    assert found.over_ridge.value == found.explained - found.of_ridge
    assert found.of_rank_k < found.of_ridge


def test_the_regression_is_scikit_learns_and_its_cut_is_least_squares_of_that_rank():
    rows = planted(200, 2)
    x, y = rows.read.double().numpy(), rows.target.double().numpy()
    fit = fit_ridge(x, y)
    alpha = fit.penalty * ((x - x.mean(0)) ** 2).sum() / D_IN
    np.testing.assert_allclose(fit.whole(x), Ridge(alpha=alpha).fit(x, y).predict(x), atol=1e-10)
    # rank k under the penalty: no neighbour of the same rank has a smaller penalised error
    a, b = x - x.mean(0), y - y.mean(0)

    def loss(weights: np.ndarray) -> float:
        return float(((b - a @ weights) ** 2).sum() + alpha * (weights**2).sum())

    cut, rng = fit.of_rank(3).weights, np.random.default_rng(0)
    left, size, right = np.linalg.svd(cut)
    assert (size[:3] > 1e-6).all()
    assert (size[3:] < 1e-10).all()
    for _ in range(50):
        moved = (left[:, :3] * size[:3] + 1e-3 * rng.normal(size=(D_IN, 3))) @ (
            right[:3] + 1e-3 * rng.normal(size=(3, D_OUT))
        )
        assert loss(moved) > loss(cut)
    np.testing.assert_allclose(fit.of_rank(3)(x).mean(0), y.mean(0), atol=1e-10)
    np.testing.assert_allclose(fit.of_rank(D_OUT)(x), fit.whole(x), atol=1e-9)


def test_draws_are_of_whole_calculations():
    y, residual = np.random.default_rng(0).normal(size=(2, 12, 3))
    score = _Explained(y, np.arange(12) // 3, seed=5)
    drawn = np.random.default_rng(5).multinomial(4, np.full(4, 0.25), size=3)
    for found, counts in zip(score.of(residual)[1:], drawn, strict=False):
        chosen = np.repeat(np.arange(12), np.repeat(counts, 3))
        expected = explained_variance_score(y[chosen], (y - residual)[chosen], multioutput="variance_weighted")
        assert found == pytest.approx(expected)


def test_saelens_loads_it_and_encodes_alike(trained, tmp_path):
    theirs = sae_lens.SAE.load_from_disk(save_sae(trained, tmp_path))
    x = planted(50, 3).read
    assert type(theirs).__name__ == "JumpReLUTranscoder"
    assert_close(theirs.encode(x), trained.encode(x).dense(), atol=1e-5, rtol=1e-5)
    assert_close(theirs(x), trained(x), atol=1e-5, rtol=1e-5)
    assert theirs.cfg.d_out == D_OUT
    assert (theirs.cfg.metadata.target, theirs.cfg.metadata.hook_name_out) == ("P3.thought", "hook_thought")
    again = load_sae(tmp_path)
    assert (again.config.d_out, again.site, again.target, again.sha256) == (D_OUT, SOURCE, TARGET, trained.sha256)
    assert type(again.to_saelens()) is type(theirs)


@pytest.mark.parametrize("name", ["transcoder", "jumprelu_transcoder"])
def test_theirs_are_read(name, tmp_path):
    module, config = get_sae_class(name)
    metadata = sae_lens.saes.sae.SAEMetadata(hook_name="ln2.hook_normalized", hook_name_out="blocks.1.hook_mlp_out")
    theirs = module(config(d_in=D_IN, d_sae=D_SAE, d_out=D_OUT, apply_b_dec_to_input=False, metadata=metadata))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    theirs.save_model(tmp_path)
    ours, x = load_sae(tmp_path), planted(50, 3).read
    assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-5)
    assert ours.is_transcoder
    assert ours.target is None
    assert ours.to_saelens().cfg.metadata.hook_name_out == "blocks.1.hook_mlp_out"


def test_a_skip_connection_is_refused(tmp_path):
    module, config = get_sae_class("skip_transcoder")
    module(config(d_in=4, d_sae=8, d_out=4, apply_b_dec_to_input=False)).save_model(tmp_path)
    with pytest.raises(SAEError, match="'skip_transcoder' is not supported"):
        load_sae(tmp_path)


def test_edits_take_no_transcoder(trained, model):
    with pytest.raises(SAEError, match=r"is a transcoder: it reads L1\.P2 and rebuilds P3\.thought"):
        check_fits(trained, model, SOURCE)


def test_from_problems_to_a_file_and_measured_again(model, tmp_path):
    """Thought to thought, with the regression beside it; what `sae eval` says of it is the same."""
    source, target = Site(None, 2, "thought"), Site(None, 3, "thought")
    seen, held_out = load_stories("sae", 60), load_stories("validation", 30)
    recipe = SAETrainingConfig(d_sae=20, k=3, architecture="transcoder", epochs=2, batch_size=20)
    found = train_at_site(
        model, source, TrainingData(seen, held_out, "stories:sae"), recipe, folder=tmp_path / "t", target=target
    )
    sae = load_sae(tmp_path / "t")
    assert (sae.site, sae.target) == (source, target)
    assert sae.config.provenance.measures["ridge_of_rank_k_explained_variance_per_dimension"] == found.ridge.of_rank_k
    places = [source, target]
    x, y = (model.think(held_out, capture=places).at(site).values for site in places)
    assert_close(torch.tensor(found.metrics.mse), (y - sae(x)).square().mean(), atol=1e-6, rtol=1e-4)
    data = EvaluationData(
        name="stories:validation",
        problems=held_out,
        held_out=model.think(held_out, capture=places),
        train_problems=seen,
        train=model.think(seen, capture=places),
    )
    measured = evaluate_saes(model, {"t": sae}, {"t": source}, data)
    (row,) = measured.to_dict()["saes"]
    assert measured.saes[0].spliced is None
    assert row["target"] == "P3.thought"
    assert row["ridge_of_rank_k"] == pytest.approx(found.ridge.of_rank_k, rel=1e-6)
    assert row["ridge_over_rank_k_low"] < row["ridge_over_rank_k_estimate"] < row["ridge_over_rank_k_high"]


TOPK = SAETrainingConfig(d_sae=8, k=2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda rows: train_sae(rows.read, RECIPE), "Architecture 'transcoder' needs target"),
        (lambda rows: train_sae(rows.read, TOPK, target=rows.target), "Architecture 'topk' takes no target"),
        (lambda rows: train_sae(rows.read, RECIPE, target=rows.target[1:].clone()), "200 rows are read and 199"),
        (lambda rows: train_sae(rows.read, RECIPE, target=rows.target * torch.nan), "NaN or inf"),
        (
            lambda rows: SAETrainingConfig(d_sae=8, k=2, architecture="transcoder", tied_init=True),
            "neither weights nor bias",
        ),
        (
            lambda rows: SAEConfig(4, 8, architecture="standard", d_out=4, apply_b_dec_to_input=True),
            "belongs to another site",
        ),
        (lambda rows: SAEConfig(4, 8, k=2, d_out=4), "no transcoders of architecture 'topk'"),
        (lambda rows: SAEConfig(4, 8, architecture="standard", d_out=0), "d_out must be an integer of at least 1"),
    ],
)
def test_what_does_not_belong_together_is_refused(make, says):
    with pytest.raises(CodiError, match=says) as caught:
        make(planted(200, 0))
    assert isinstance(caught.value, ConfigError | DataError)
    assert caught.value.remedy


def test_rows_of_other_problems_are_refused(trained):
    rows = planted(20, 0)
    with pytest.raises(DataError, match="20 held-out rows are of 19 problems"):
        compare_with_ridge(trained, rows, rows, problems(19))
    with pytest.raises(DataError, match="20 problems in 1 calculations"):
        compare_with_ridge(trained, rows, rows, problems(20, told=20))


def test_it_needs_to_know_what_it_rebuilds(model):
    sae = JumpReLUSAE(SAEConfig(24, 8, architecture="jumprelu", d_out=24, provenance=Provenance(site=Site(1, 2))))
    told = problems(3)
    data = EvaluationData(name="x", problems=told, held_out=model.think(load_stories("sae", 3), capture=[Site(1, 2)]))
    with pytest.raises(SAEError, match="does not say which site it rebuilds"):
        evaluate_saes(model, {"t": sae}, {"t": Site(1, 2)}, data)
