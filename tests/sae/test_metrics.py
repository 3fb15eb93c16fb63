"""Measures against numpy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import explained_variance_score, mean_squared_error

from codi_int.errors import DataError
from codi_int.sae import SAEConfig, TopKSAE, measure
from codi_int.sae import metrics as module


@pytest.fixture
def sae() -> TopKSAE:
    sae = TopKSAE(SAEConfig(d_in=12, d_sae=60, k=4))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        sae.b_enc[:10] += 1.5
    return sae


@pytest.fixture
def x() -> torch.Tensor:
    spread = torch.linspace(0.1, 3, 12)
    return torch.randn(97, 12, generator=torch.Generator().manual_seed(1)) * spread + spread.flip(0)


def test_reconstruction_measures(sae, x):
    found, rebuilt = measure(sae, x), sae(x).detach().numpy()
    target = x.numpy()
    published = 1 - np.var(target - rebuilt, ddof=1) / np.var(target, ddof=1)
    assert found.explained_variance == pytest.approx(published, abs=1e-6)
    assert found.explained_variance_per_dimension == pytest.approx(
        explained_variance_score(target, rebuilt, multioutput="variance_weighted"), abs=1e-6
    )
    assert found.mse == pytest.approx(mean_squared_error(target, rebuilt), rel=1e-5)


def test_firing_measures(sae, x):
    found, dense = measure(sae, x), sae.encode(x).dense().detach().numpy()
    fires = dense != 0
    assert found.n_rows == 97
    assert found.l0 == pytest.approx(fires.sum(axis=1).mean())
    assert found.dead_share == pytest.approx((~fires.any(axis=0)).mean())
    assert found.n_alive == fires.any(axis=0).sum()
    assert 0 < found.n_alive < 60
    assert found.mean_activation == pytest.approx(np.abs(dense[fires]).mean(), rel=1e-5)
    assert found.max_activation == pytest.approx(np.abs(dense).max())
    np.testing.assert_allclose(found.activation_frequency.numpy(), fires.mean(axis=0), rtol=1e-6)


def test_chunks_change_nothing(sae, x, monkeypatch):
    whole = measure(sae, x)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 10)
    parts = measure(sae, x)
    assert whole.summary() == pytest.approx(parts.summary())
    assert torch.equal(whole.activation_frequency, parts.activation_frequency)


def test_summary_is_numbers_only(sae, x):
    summary = measure(sae, x).summary()
    assert all(isinstance(value, float) for value in summary.values())
    assert "activation_frequency" not in summary


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (torch.zeros(1, 12), "at least 2 rows"),
        (torch.full((4, 12), torch.nan), "NaN or inf"),
        (torch.ones(4, 12), "constant"),
    ],
)
def test_activations_that_cannot_be_measured(sae, values, says):
    with pytest.raises(DataError, match=says) as caught:
        measure(sae, values)
    assert caught.value.remedy
