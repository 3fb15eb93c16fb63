"""Records of features made by hand for the golden pages; see `golden_records`."""

from dataclasses import replace

import torch

from codi_int.features.decoder import DirectionToken, Neighbour
from codi_int.features.details import ActivationGroup, FeatureDetail, TopProblem
from codi_int.features.pairs import SwapPair, SwapPairs
from codi_int.features.profiles import CausalEffect, FeatureProfile, Profiles
from codi_int.features.rule_table import RuleCell, RuleComparison
from codi_int.features.specialization_records import (
    PropertyEvidence,
    Rule,
    RulePlan,
    Share,
    Specialization,
    SpecializationRow,
)
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


def _share(difference: float, p_adjusted: float) -> Share:
    return Share(
        n=1_398,
        n_firing=207,
        n_present=341,
        n_both=154,
        share=0.74396,
        base_rate=0.24392,
        difference=difference,
        low=difference - 0.0613,
        high=difference + 0.0578,
        p_value=0.00031,
        p_adjusted=p_adjusted,
    )


def _evidence(kind: str, name: str, difference: float, strong: bool) -> PropertyEvidence:
    return PropertyEvidence(
        kind=kind,
        name=name,
        selected=_share(0.61, 0.0001),
        confirmation=_share(difference, 0.00721),
        confirmed=True,
        strong=strong,
    )


def _cell(rule: Rule, population: str, n: int, found: int, strong: int | None = None) -> RuleCell:
    share = found / n if n else None
    return RuleCell(
        rule=rule,
        population=population,
        n=n,
        n_specialized=found,
        share=share,
        low=None if share is None else share * 0.91,
        high=None if share is None else share * 1.13,
        n_operation=found // 2,
        n_value=found // 3,
        n_highly=found // 5,
        n_length=found // 7,
        n_untested=131,
        n_single=found // 4,
        n_strong=strong,
        n_also_tested=found // 6,
    )


ROWS = (
    SpecializationRow(
        rank=1,
        feature=449,
        firing_rate=0.36,
        n_firing=1_538,
        n_active=1_207,
        type="operation-specialized",
        label="multiplication then addition",
        properties=(_evidence("pattern", "multiplication then addition", difference=0.5013, strong=True),),
    ),
    SpecializationRow(
        rank=2,
        feature=31,
        firing_rate=0.2117,
        n_firing=905,
        n_active=804,
        type="value-specialized",
        label="number 12",
        properties=(_evidence("value", "12", difference=0.0921, strong=False),),
    ),
)
TESTED = Specialization(
    rule="tested",
    site=Site(14, 3),
    model="codi-mini",
    sae=NAME,
    data=DATA,
    n_problems=4_274,
    n_chains=3_998,
    rows=ROWS,
    plan=RulePlan(),
    n_tested=36_483,
    n_properties=126,
    n_selected=2_264,
    n_confirmed=555,
    confirmed_on="stories:confirmation",
    n_confirming=1_495,
    notes=("12 chains are too few for two folds that confirm each other.",),
)
RULES = RuleComparison(
    rules=(TESTED, TESTED, TESTED),
    band=(0.01, 0.1),
    cells=(
        _cell("published", "alive", n=421, found=96),
        _cell("published-ties-counted", "alive", n=421, found=56),
        _cell("tested", "alive", n=421, found=218, strong=176),
        _cell("published", "0.01 to 0.1", n=231, found=8),
        _cell("published-ties-counted", "0.01 to 0.1", n=0, found=0),
        _cell("tested", "0.01 to 0.1", n=231, found=120, strong=99),
    ),
)

PAIR = SwapPair(
    feature=372,
    other=424,
    claim="division:addition",
    n_firing=1_262,
    n_firing_other=224,
    n_both=5,
    n_touched=481,
    n_informative=154,
    n_needed=106,
    power=0.94727,
    problems_needed=1_030,
    difference=0.2408,
    difference_other=0.243,
)
PAIRS = SwapPairs(
    rule="tested",
    site=Site(14, 3),
    model="codi-mini",
    sae=NAME,
    data=DATA,
    n_problems=4_274,
    n_pairs=18_476,
    rows=(PAIR,),
)
WEAK = replace(PAIR, claim="value:12:50", n_informative=7, power=0.00213, problems_needed=None)
NO_POWER = replace(PAIRS, rule="published", n_pairs=1, rows=(WEAK,))
