"""Sparse autoencoders: TopK and its kin, their training, measures and files."""

from codi_int.sae.base import SAE, check_fits
from codi_int.sae.config import Provenance, SAEConfig
from codi_int.sae.kernels import EncodedTopK, encode_topk
from codi_int.sae.metrics import SAEMetrics, measure
from codi_int.sae.store import bundled_saes, load_sae, save_sae
from codi_int.sae.topk import TopKSAE
from codi_int.sae.training import EpochRecord, SAETrainingConfig, TrainedSAE, train_topk

__all__ = [
    "SAE",
    "EncodedTopK",
    "EpochRecord",
    "Provenance",
    "SAEConfig",
    "SAEMetrics",
    "SAETrainingConfig",
    "TopKSAE",
    "TrainedSAE",
    "bundled_saes",
    "check_fits",
    "encode_topk",
    "load_sae",
    "measure",
    "save_sae",
    "train_topk",
]
