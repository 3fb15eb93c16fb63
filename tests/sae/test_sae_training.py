"""Training against a plain loop over torch.nn.Linear with torch's own Adam, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from codi_int.errors import ConfigError, DataError
from codi_int.sae import (
    Anneal,
    AuxK,
    JumpReLUSAE,
    Provenance,
    SAETrainingConfig,
    Sparsity,
    measure,
    train_sae,
    train_topk,
)
from codi_int.sae.training_start import initial
from codi_int.types import Site, SiteActivations


@pytest.fixture(scope="module")
def x() -> Tensor:
    """Rows that are sparse sums of 40 directions, with a mean, so that there is something to learn."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(40, 20, generator=generator)
    weights = torch.rand(700, 40, generator=generator) * (torch.rand(700, 40, generator=generator) < 0.1)
    return weights @ directions + 0.5


class Published(nn.Module):
    """The published architecture: two nn.Linear, the k largest magnitudes with their sign."""

    def __init__(self, d_in: int, d_sae: int, k: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.k = nn.Linear(d_in, d_sae), nn.Linear(d_sae, d_in), k

    def forward(self, x: Tensor) -> Tensor:
        pre = self.encoder(x)
        kept = pre.abs().topk(self.k, dim=-1).indices
        return self.decoder(torch.zeros_like(pre).scatter(-1, kept, pre.gather(-1, kept)))


def published_run(x: Tensor, config: SAETrainingConfig) -> tuple[Published, list[float]]:
    """The published loop from our initial weights and in our order of rows."""
    generator = torch.Generator().manual_seed(config.seed)
    start = initial(x, config, Provenance(), generator).sae
    module = Published(x.shape[1], config.d_sae, config.k)
    with torch.no_grad():
        module.encoder.weight.copy_(start.W_enc.T)
        module.encoder.bias.copy_(start.b_enc)
        module.decoder.weight.copy_(start.W_dec.T)
        module.decoder.bias.copy_(start.b_dec)
    adam, losses = torch.optim.Adam(module.parameters(), lr=config.learning_rate), []
    for _ in range(config.epochs):
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).split(config.batch_size):
            loss = nn.functional.mse_loss(module(x[rows]), x[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() * len(rows)
        losses.append(total / len(x))
    return module, losses


def test_published_recipe_step_by_step(x):
    config = SAETrainingConfig(d_sae=64, k=6, epochs=4, batch_size=128, seed=3)
    ours = train_topk(x, config)
    theirs, losses = published_run(x, config)
    assert [record.mse for record in ours.curve] == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(ours.sae.W_enc, theirs.encoder.weight.T, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(ours.sae.W_dec, theirs.decoder.weight.T, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(ours.sae.b_dec, theirs.decoder.bias, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("rule", ["abs", "relu"])
def test_it_learns(x, rule):
    config = SAETrainingConfig(d_sae=80, k=8, rule=rule, epochs=30, batch_size=64, learning_rate=1e-2)
    trained = train_topk(x[:600], config)
    assert trained.curve[-1].mse < 0.2 * trained.curve[0].mse
    assert measure(trained.sae, x[600:]).explained_variance > 0.8


def test_same_seed_same_bytes(x):
    config = SAETrainingConfig(d_sae=64, k=6, epochs=2, seed=11)
    first, second = train_topk(x, config), train_topk(x, config)
    assert first.sae.sha256 == second.sae.sha256
    assert first.curve == second.curve
    other = train_topk(x, SAETrainingConfig(d_sae=64, k=6, epochs=2, seed=12))
    assert other.sae.sha256 != first.sae.sha256


def test_initial_weights_are_those_of_linear_with_unit_decoder_rows(x):
    config = SAETrainingConfig(d_sae=400, k=6)
    sae = initial(x, config, Provenance(), torch.Generator().manual_seed(0)).sae
    linear = nn.Linear(20, 400)
    assert float(sae.W_enc.std()) == pytest.approx(float(linear.weight.std()), rel=0.05)
    assert float(sae.W_enc.abs().max()) <= 20**-0.5
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(400))


@pytest.mark.parametrize(("norm", "stays"), [("unit", True), ("init", False)])
def test_decoder_norm(x, norm, stays):
    sae = train_topk(x, SAETrainingConfig(d_sae=64, k=6, epochs=2, decoder_norm=norm)).sae
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(64), atol=1e-5) == stays


def test_no_decoder_bias(x):
    assert not train_topk(x, SAETrainingConfig(d_sae=64, k=6, epochs=1, decoder_bias=False)).sae.b_dec.any()


def test_bias_starts_at_the_mean(x):
    config = SAETrainingConfig(d_sae=64, k=6, bias_init="mean")
    sae = initial(x, config, Provenance(), torch.Generator().manual_seed(0)).sae
    torch.testing.assert_close(sae.b_dec.detach(), x.mean(dim=0))


def test_annealing_goes_from_k_start_to_k(x):
    config = SAETrainingConfig(d_sae=64, k=10, epochs=6, anneal=Anneal(k_start=2, epochs=4))
    trained = train_topk(x, config)
    assert [record.k for record in trained.curve] == [2, 4, 6, 8, 10, 10]
    assert trained.sae.k == 10


def n_never_moved(x: Tensor, config: SAETrainingConfig) -> int:
    """Features whose encoder direction is, to the bit, what it was before training."""
    start = initial(x, config, Provenance(), torch.Generator().manual_seed(config.seed)).sae
    return int((train_topk(x, config).sae.W_enc == start.W_enc).all(dim=0).sum())


@pytest.mark.parametrize("rule", ["abs", "relu"])
def test_aux_k_gives_dead_features_a_gradient(x, rule):
    settings = {"d_sae": 300, "k": 2, "epochs": 10, "batch_size": 100, "rule": rule}
    assert n_never_moved(x, SAETrainingConfig(**settings)) > 20
    assert n_never_moved(x, SAETrainingConfig(**settings, aux=AuxK(dead_after=10))) == 0


def test_provenance_is_filled_in(x):
    captured = SiteActivations(Site(14, 3), tuple(map(str, range(len(x)))), x)
    config = SAETrainingConfig(d_sae=64, k=6, epochs=1, seed=4)
    known = train_topk(
        captured, config, Provenance(model="codi-mini", training_data="stories:sae")
    ).sae.config.provenance
    assert (known.site, known.seed, known.model, known.training_data) == (Site(14, 3), 4, "codi-mini", "stories:sae")
    assert known.recipe["d_sae"] == 64


def test_every_epoch_is_reported(x):
    seen = []
    trained = train_topk(x, SAETrainingConfig(d_sae=64, k=6, epochs=3), on_epoch=seen.append)
    assert tuple(seen) == trained.curve


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (torch.full((300, 20), torch.nan), "NaN or inf"),
        (torch.cat([torch.randn(299, 20), torch.full((1, 20), torch.inf)]), "NaN or inf"),
        (torch.full((300, 20), 0.3), "constant"),
    ],
)
def test_impossible_activations(values, says):
    with pytest.raises(DataError, match=says) as caught:
        train_topk(values, SAETrainingConfig(d_sae=64, k=6))
    assert caught.value.remedy


def test_fewer_rows_than_a_batch(x):
    with pytest.raises(ConfigError, match="255 rows are fewer than one batch of 256") as caught:
        train_topk(x[:255], SAETrainingConfig(d_sae=64, k=6))
    assert "batch_size <= 255" in caught.value.remedy


PENALTY = {
    "jumprelu": Sparsity(coefficient=0.3, bandwidth=0.2),
    "gated": Sparsity(coefficient=0.5),
    "standard": Sparsity(coefficient=0.5),
}


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka", "jumprelu", "gated", "standard"])
def test_every_architecture_learns_something_sparse(x, architecture):
    config = SAETrainingConfig(
        d_sae=80,
        k=None if architecture in PENALTY else 8,
        architecture=architecture,
        epochs=30,
        batch_size=64,
        learning_rate=5e-3,
        tied_init=True,
        sparsity=PENALTY.get(architecture),
    )
    trained = train_sae(x[:600], config)
    found = measure(trained.sae, x[600:])
    assert found.explained_variance > 0.7
    assert 0.5 < found.l0 < 25
    assert trained.curve[-1].l0 == pytest.approx(measure(trained.sae, x[:600]).l0, rel=0.25)


def test_batchtopk_becomes_a_threshold_with_mean_l0_k(x):
    trained = train_sae(x, SAETrainingConfig(d_sae=80, k=5, architecture="batchtopk", epochs=5))
    assert isinstance(trained.sae, JumpReLUSAE)
    assert trained.sae.threshold.unique().numel() == 1
    assert measure(trained.sae, x).l0 == pytest.approx(5, abs=0.01)
    per_row = trained.sae.encode(x).dense().count_nonzero(dim=1)
    assert per_row.min() < 5 < per_row.max(), "rows are free to take more or fewer"


def test_matryoshka_prefixes_rebuild_more_than_those_of_plain_topk(x):
    def prefix_error(architecture: str) -> float:
        config = SAETrainingConfig(
            d_sae=64, k=8, architecture=architecture, epochs=10, batch_size=64, learning_rate=5e-3
        )
        sae = train_sae(x, config).sae
        dense = sae.encode(x).dense()
        dense[:, 16:] = 0
        return float((x - sae.decode(dense)).square().mean())

    assert prefix_error("matryoshka") < 0.8 * prefix_error("topk")


def test_pruning_drops_dead_features_and_changes_nothing_else(x):
    config = SAETrainingConfig(d_sae=300, k=2, epochs=3, batch_size=100)
    whole = train_topk(x, config).sae
    small = train_topk(x, replace(config, prune_dead=True)).sae
    assert small.d_sae == measure(whole, x).n_alive < 300
    torch.testing.assert_close(small(x), whole(x))


def test_tied_start(x):
    sae = initial(x, SAETrainingConfig(d_sae=64, k=6, tied_init=True), Provenance(), torch.Generator()).sae
    assert torch.equal(sae.W_enc, sae.W_dec.T)


def test_train_topk_trains_topk_only(x):
    with pytest.raises(ConfigError, match="train_topk trains no 'batchtopk'"):
        train_topk(x, SAETrainingConfig(d_sae=64, k=6, architecture="batchtopk"))
