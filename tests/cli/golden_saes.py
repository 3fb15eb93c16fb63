"""SAEs and their measures made by hand for the golden pages; see `golden_records`."""

from dataclasses import replace
from pathlib import Path

import torch

from codi_int.cli.sae_train import TrainOptions
from codi_int.records import Estimate
from codi_int.sae import SAEMetrics, SAETrainingConfig
from codi_int.sae.at_site import TrainedAtSite
from codi_int.sae.compare import DecoderStructure
from codi_int.sae.evaluate import EvaluatedSAE, SAEEvaluation
from codi_int.sae.grid import SweepGrid, SweepRow
from codi_int.sae.site_sweep import SweepPlan
from codi_int.sae.spliced import SplicedMetrics
from codi_int.sae.stability import Stability
from codi_int.sae.transcoding import RidgeComparison
from codi_int.types import (
    Problem,
    Site,
)
from tests.cli.golden_records import HASHES, SITE

# SAEs


def sae_metrics(number: int) -> SAEMetrics:
    return SAEMetrics(
        n_rows=1_300 + number,
        explained_variance=0.81234 + 0.0123 * number,
        explained_variance_per_dimension=0.71234 + 0.0234 * number,
        mse=0.0456 * number**2,
        l0=15.25 + number,
        dead_share=0.0345 * number,
        mean_activation=7.654 * number,
        max_activation=54.321 * number,
        activation_frequency=torch.full((16,), 0.01 * number),
    )


def structure(number: int) -> DecoderStructure:
    return DecoderStructure(
        nearest=torch.full((16,), 0.3),
        mean_nearest=0.4567 + 0.0111 * number,
        mean_abs_cosine=0.0678 + 0.0022 * number,
    )


def spliced(number: int) -> SplicedMetrics:
    return SplicedMetrics(
        n_problems=1_200 + number,
        accuracy_clean=0.87415 + 0.01 * number,
        accuracy_spliced=0.83094 - 0.02 * number,
        accuracy_mean=0.31234 - 0.03 * number,
        logprob_clean=-0.1234 * number,
        logprob_spliced=-0.2468 * number,
        logprob_mean=-3.579 * number,
    )


TRAIN_OPTIONS = TrainOptions(out=Path("runs/sae"), layer=4, position=2, model="codi-mini", held_out="stories:held")
TRAIN_CONFIG = SAETrainingConfig(d_sae=512, k=16, seed=17, architecture="matryoshka")
TRAIN_SITES = (Site(4, 2), None)
TRANSCODER_CONFIG = SAETrainingConfig(d_sae=512, k=16, seed=17, architecture="transcoder")
TRANSCODER_SITES = (Site(4, 2), Site(None, 3, "thought"))


def ridge(number: int) -> RidgeComparison:
    return RidgeComparison(
        *TRANSCODER_SITES,
        k=15 + number,
        explained=0.71234 + 0.01 * number,
        of_rank_k=0.65432 + 0.01 * number,
        of_ridge=0.74567,
        over_rank_k=Estimate(0.05802, 0.04321, 0.07219),
        over_ridge=Estimate(-0.03333 + 0.01 * number, -0.04567, -0.01987),
        penalty=1e-3,
    )


def transcoder() -> TrainedAtSite:
    return TrainedAtSite(sae_metrics(2), ridge(0))


SAE_EVALUATION = SAEEvaluation(
    model="codi-mini",
    model_sha256=HASHES["model"],
    held_out="stories:validation",
    data_sha256=HASHES["data"],
    saes=(
        EvaluatedSAE(
            name="runs/a/d512_k16_s0",
            site=SITE,
            trained_as="matryoshka",
            rule="abs",
            k=16,
            d_sae=512,
            seed=0,
            held_out=sae_metrics(1),
            train=sae_metrics(2),
            structure=structure(1),
            spliced=spliced(1),
        ),
        EvaluatedSAE(
            name="runs/a/d1024_k8_s1",
            site=SITE,
            trained_as="topk",
            rule="relu",
            k=8,
            d_sae=1_024,
            seed=1,
            held_out=sae_metrics(3),
            train=sae_metrics(4),
            structure=structure(2),
            spliced=replace(spliced(2), accuracy_mean=spliced(2).accuracy_clean),
        ),
        EvaluatedSAE(
            name="gated-of-another-site",
            site=Site(9, 2),
            trained_as="gated",
            rule=None,
            k=None,
            d_sae=256,
            seed=None,
            held_out=sae_metrics(5),
            train=None,
            structure=None,
            spliced=None,
        ),
    ),
    stability=(
        Stability(
            first="runs/a/d512_k16_s0",
            second="runs/a/d1024_k8_s1",
            mean=0.6123,
            mean_alive=0.7234,
            share_alive=0.5345,
            mean_chance=0.2456,
        ),
    ),
    notes=("a note made by hand",),
)


def sweep_row(site: Site, k: int, seed: int, number: int, with_splice: bool = True) -> SweepRow:
    return SweepRow(
        site=site,
        k=k,
        d_sae=512,
        seed=seed,
        dead_share_train=0.0543 * number,
        held_out=sae_metrics(number),
        structure=structure(number),
        folder=Path("runs/sweep") / str(site) / f"k{k}_s{seed}",
        spliced=spliced(number) if with_splice else None,
    )


# only the numbers of problems stand on the page, so that empty ones serve
_PROBLEMS = tuple(Problem(str(i), "?", 0, ()) for i in range(1_111))
SWEEP_PLAN = SweepPlan(
    sites=(SITE,),
    grid=SweepGrid(ks=(5, 10), d_saes=(512,), seeds=(0, 1), recipe=SAETrainingConfig(d_sae=1, k=1, epochs=19)),
    training=_PROBLEMS,
    training_name="stories:sae",
    held_out=_PROBLEMS[:1_022],
    held_out_name="stories:validation",
    out=Path("runs/sweep"),
    captures=Path("runs/activations"),
)
SWEEP_ROWS = (
    sweep_row(SITE, k=5, seed=0, number=4),
    sweep_row(SITE, k=10, seed=0, number=2),
    sweep_row(SITE, k=10, seed=1, number=6),
)
LONG_SWEEP_ROWS = tuple(
    sweep_row(site, k=k, seed=0, number=1 + (k * step) % 13, with_splice=False)
    for site, step in ((Site(9, 2), 3), (SITE, 5))
    for k in range(1, 33)
)
