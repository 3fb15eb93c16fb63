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
SECOND = FeatureProfile(
    rank=2, feature=31, firing_rate=0.2117, n_firing=905, n_problems=4_274, mean_activation=3.3, max_activation=9.87
)
THIRD = FeatureProfile(
    rank=3, feature=7, firing_rate=0.0117, n_firing=50, n_problems=4_274, mean_activation=0.0213, max_activation=0.111
)


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
        TopProblem("held-out-63", 44.83, "Tom has 2 bags.", steps=("<<2*4=8>>", "<<8-3=5>>"), answer=5, correct=True),
        TopProblem("held-out-1263", -43.06, "Ann has 8.", steps=("<<2*4=8>>", "<<8*6=48>>"), answer=48, correct=False),
    ),
    groups=(
        ActivationGroup(
            kind="operation",
            name="addition",
            n=1_410,
            n_firing=402,
            firing_rate=0.28511,
            low=0.21613,
            high=0.36314,
            share_of_firing=0.26138,
            base_rate=0.32993,
            mean_activation=12.43,
        ),
        ActivationGroup(
            kind="pattern",
            name="division then multiplication",
            n=42,
            n_firing=0,
            firing_rate=0.0,
            low=0.0,
            high=0.08375,
            share_of_firing=0.0,
            base_rate=0.00983,
            mean_activation=None,
        ),
        ActivationGroup(
            kind="pattern",
            name="multiplication then addition",
            n=72,
            n_firing=28,
            firing_rate=0.38889,
            low=0.28524,
            high=0.5042,
            share_of_firing=0.0182,
            base_rate=0.01685,
            mean_activation=16.5,
        ),
        ActivationGroup(
            kind="value",
            name="17",
            n=6,
            n_firing=4,
            firing_rate=0.66667,
            low=0.3,
            high=0.90323,
            share_of_firing=0.0026,
            base_rate=0.0014,
            mean_activation=-5.04,
        ),
    ),
    promotes=(DirectionToken(" 12", 12, 0.72513), DirectionToken(" 8", 8, 0.11634)),
    suppresses=(DirectionToken(" books", 90, 0.37041),),
    nearest=(Neighbour(408, 0.5139), Neighbour(125, -0.3311)),
)
SILENT = FeatureDetail(
    profile=FeatureProfile(
        rank=0, feature=9, firing_rate=0.0, n_firing=0, n_problems=4_274, mean_activation=0.0, max_activation=0.0
    ),
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
