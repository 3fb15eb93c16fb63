"""Recipes: the published defaults, what each architecture takes, and every setting that cannot work."""

import pytest

from codi_int.errors import ConfigError
from codi_int.sae import Anneal, AuxK, SAETrainingConfig, Sparsity, adaptive_d_sae


def test_defaults_are_the_published_settings():
    config = SAETrainingConfig(d_sae=512, k=100)
    assert (config.architecture, config.rule) == ("topk", "abs")
    assert (config.epochs, config.batch_size, config.learning_rate) == (25, 256, 1e-3)
    assert (config.decoder_norm, config.decoder_bias, config.aux, config.anneal) == ("init", True, None, None)


@pytest.mark.parametrize(
    "bad",
    [
        {"k": 65},
        {"k": 0},
        {"k": -2},
        {"k": None},
        {"d_sae": 0},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"rule": "max"},
        {"anneal": Anneal(65)},
        {"aux": AuxK(k=65)},
        {"bias_init": "median"},
        {"decoder_norm": "always"},
        {"architecture": "vanilla"},
        {"architecture": "jumprelu"},
        {"architecture": "jumprelu", "k": None},
        {"architecture": "gated", "k": None, "sparsity": Sparsity(), "aux": AuxK()},
        {"sparsity": Sparsity()},
        {"widths": (8, 16)},
        {"architecture": "matryoshka", "widths": (16, 8)},
        {"architecture": "matryoshka", "widths": (16, 65)},
        {"architecture": "matryoshka", "widths": (0, 8)},
    ],
)
def test_impossible_settings(bad):
    with pytest.raises(ConfigError) as caught:
        SAETrainingConfig(**{"d_sae": 64, "k": 6, **bad})
    assert caught.value.remedy


@pytest.mark.parametrize(
    "make",
    [
        lambda: AuxK(coefficient=-1.0),
        lambda: AuxK(k=0),
        lambda: AuxK(dead_after=0),
        lambda: Anneal(k_start=0),
        lambda: Anneal(k_start=2, epochs=0),
        lambda: Sparsity(coefficient=0.0),
        lambda: Sparsity(warmup_steps=-1),
        lambda: Sparsity(target_l0=0.0),
        lambda: Sparsity(bandwidth=0.0),
    ],
)
def test_impossible_parts(make):
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.remedy


def test_annealing_in_equal_steps():
    config = SAETrainingConfig(d_sae=200, k=100, anneal=Anneal(k_start=50, epochs=5))
    assert [config.k_at(epoch) for epoch in range(7)] == [50, 60, 70, 80, 90, 100, 100]


def test_annealing_may_fall():
    config = SAETrainingConfig(d_sae=200, k=50, anneal=Anneal(k_start=100, epochs=2))
    assert [config.k_at(epoch) for epoch in range(3)] == [100, 75, 50]


@pytest.mark.parametrize(
    ("settings", "prefixes"),
    [
        ({}, (512,)),
        ({"architecture": "matryoshka"}, (64, 128, 256, 512)),
        ({"architecture": "matryoshka", "widths": (10, 512)}, (10, 512)),
        ({"architecture": "matryoshka", "widths": (10, 20)}, (10, 20, 512)),
        ({"architecture": "matryoshka", "d_sae": 6}, (1, 3, 6)),
    ],
)
def test_prefixes_end_with_the_whole_dictionary(settings, prefixes):
    assert SAETrainingConfig(**{"d_sae": 512, "k": 4, **settings}).prefixes() == prefixes


@pytest.mark.parametrize(("k", "d_sae"), [(50, 256), (100, 512), (200, 1024), (1, 8)])
def test_dictionary_that_grows_with_k(k, d_sae):
    assert adaptive_d_sae(k) == d_sae
