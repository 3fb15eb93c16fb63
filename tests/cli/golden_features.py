"""Records of features made by hand for the golden pages; see `golden_records`."""

import torch

from codi_int.features.decoder import DirectionToken, Neighbour
from codi_int.features.details import ActivationGroup, FeatureDetail, TopProblem
from codi_int.features.profiles import CausalEffect, FeatureProfile, Profiles
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Latents, Site

NAME, DATA = "codi-mini/L14.P3", "stories:validation"
CAUSAL = CausalEffect(-0.01137, 0.00472, -0.03516, "changed", confirmed=True, screen="stories:sae")
FIRST = FeatureProfile(
    rank=1,
    feature=449,
    firing_rate=0.35986,
    n_firing=1_538,
    n_problems=4_274,
    mean_activation=14.896,
    max_activation=44.85,
    mean_signed=-12.125,
    max_signed=43.21,
    reads_as=("12", "8", "apples"),
    nearest=408,
    nearest_cosine=0.5139,
    causal=CAUSAL,
)
SECOND = FeatureProfile(2, 31, 0.2117, 905, 4_274, mean_activation=3.3, max_activation=9.87)
THIRD = FeatureProfile(3, 7, 0.0117, 50, 4_274, mean_activation=0.0213, max_activation=0.111)


def _profiles() -> Profiles:
    sae = TopKSAE(SAEConfig(d_in=2, d_sae=512, k=1))
    sae.asked_as = NAME
    none = torch.zeros(4_274, 1)
    return Profiles(
        rows=(FIRST, SECOND, THIRD), latents=Latents(none, none.long(), 512), sae=sae, site=Site(14, 3), data=DATA
    )


PROFILES = _profiles()
DETAIL = FeatureDetail(
    profile=FIRST,
    site="L14.P3",
    model="codi-mini",
    sae=NAME,
    data=DATA,
    top=(
        TopProblem("held-out-63", 44.83, "Tom has 2 bags.", ("<<2*4=8>>", "<<8-3=5>>"), 5, correct=True),
        TopProblem("held-out-1263", -43.06, "Ann has 8.", ("<<2*4=8>>", "<<8*6=48>>"), 48, correct=False),
    ),
    groups=(
        ActivationGroup("operation", "addition", 1_410, 402, 0.28511, 0.21613, 0.36314, 0.26138, 0.32993, 12.43),
        ActivationGroup("pattern", "division then multiplication", 42, 0, 0.0, 0.0, 0.08375, 0.0, 0.00983, None),
        ActivationGroup(
            "pattern", "multiplication then addition", 72, 28, 0.38889, 0.28524, 0.5042, 0.0182, 0.01685, 16.5
        ),
        ActivationGroup("value", "17", 6, 4, 0.66667, 0.3, 0.90323, 0.0026, 0.0014, -5.04),
    ),
    promotes=(DirectionToken(" 12", 12, 0.72513), DirectionToken(" 8", 8, 0.11634)),
    suppresses=(DirectionToken(" books", 90, 0.37041),),
    nearest=(Neighbour(408, 0.5139), Neighbour(125, -0.3311)),
)
SILENT = FeatureDetail(
    profile=FeatureProfile(0, 9, 0.0, 0, 4_274, mean_activation=0.0, max_activation=0.0),
    site="L14.P3",
    model="",
    sae=NAME,
    data=DATA,
    top=(),
    groups=(),
    promotes=(),
    suppresses=(),
    nearest=(Neighbour(None, None),),
    missing=("feature 9 fires on none of these problems: nothing is known of where it would.",),
)
