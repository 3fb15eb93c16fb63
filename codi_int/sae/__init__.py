"""Sparse autoencoders: TopK and its kin, their training, measures and files.

What needs a model or a whole grid is imported from its module: `activations`, `captures`, `spliced`, `sweep`,
`site_sweep`, `evaluate`, `stability`, `compare`, `recipe_files`.
"""

from codi_int.sae.base import SAE, check_fits
from codi_int.sae.config import Provenance, SAEConfig
from codi_int.sae.kernels import EncodedTopK, decode_topk, encode_topk
from codi_int.sae.many import SAEJob, train_many
from codi_int.sae.metrics import SAEMetrics, measure
from codi_int.sae.published import import_published
from codi_int.sae.recipe import Anneal, AuxK, SAETrainingConfig, Sparsity, adaptive_d_sae
from codi_int.sae.store import as_sae, bundled_saes, load_sae, save_sae
from codi_int.sae.thresholded import GatedSAE, JumpReLUSAE, StandardSAE
from codi_int.sae.topk import TopKSAE
from codi_int.sae.training import train_sae, train_topk
from codi_int.sae.training_start import EpochRecord, TrainedSAE

__all__ = [
    "SAE",
    "Anneal",
    "AuxK",
    "EncodedTopK",
    "EpochRecord",
    "GatedSAE",
    "JumpReLUSAE",
    "Provenance",
    "SAEConfig",
    "SAEJob",
    "SAEMetrics",
    "SAETrainingConfig",
    "Sparsity",
    "StandardSAE",
    "TopKSAE",
    "TrainedSAE",
    "adaptive_d_sae",
    "as_sae",
    "bundled_saes",
    "check_fits",
    "decode_topk",
    "encode_topk",
    "import_published",
    "load_sae",
    "measure",
    "save_sae",
    "train_many",
    "train_sae",
    "train_topk",
]
