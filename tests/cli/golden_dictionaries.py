"""Records of several dictionaries for the golden pages; the rules are those of `golden_records`."""

from codi_int.interventions.screens.dictionaries import (
    AgainstRow,
    AgreementRow,
    DictionaryComparison,
    DictionaryNote,
    FoundRow,
    SeedComparison,
    SeedRow,
    StrongestRow,
)
from codi_int.records import Estimate
from tests.cli.golden_records import ENVIRONMENT, HASHES, SITE


def estimate(value: float, below: float, above: float, p_adjusted: float | None = None) -> Estimate:
    """With its own distance to either end."""
    p_value = None if p_adjusted is None else p_adjusted / 3
    return Estimate(value, value - below, value + above, p_value=p_value, p_adjusted=p_adjusted)


def note(name: str, kind: str, seed: int | None, n: int) -> DictionaryNote:
    return DictionaryNote(
        name=name,
        kind=kind,
        seed=seed,
        sae=f"saes/{name}",
        sae_sha256=HASHES["sae"],
        n_features=1_024 + n,
        n_living=1_001 + 7 * n,
        explained_variance=estimate(0.9127 - 0.0213 * n, 0.0071, 0.0054),
    )


def seed_row(feature: int, dictionary: str, number: int) -> SeedRow:
    return SeedRow(
        feature=feature,
        dictionary=dictionary,
        partner=20 + number,
        cosine=0.6151 + 0.0517 * number,
        overlap=0.3327 + 0.0931 * number,
        matched=number > 2,
        n_touched=300 + number,
        n_touched_partner=400 + number,
        accuracy=-0.01234 / (1 + feature % 7),
        accuracy_partner=-0.00211 * number,
        probability=-0.01517 + feature / 1e5,
        probability_partner=0.00171 * number,
    )


def agreement_row(dictionary: str, pairs: str, measure: str, number: int) -> AgreementRow:
    by_chance = None if pairs == "matched" else estimate(0.0517 * number, 0.021, 0.043)
    return AgreementRow(
        dictionary=dictionary,
        pairs=pairs,
        measure=measure,
        n=1_100 - 50 * number,
        concordance=estimate(0.1173 * number, 0.0811, 0.0917),
        rank_correlation=estimate(0.0813 * number, 0.0333, 0.0444),
        chance=by_chance,
        beyond_chance=None if by_chance is None else estimate(0.0656 * number, 0.1212, 0.1717),
    )


def found_row(feature: int, dictionary: str, number: int, there: bool, partner: bool = True) -> FoundRow:
    return FoundRow(
        feature=feature,
        dictionary=dictionary,
        partner=60 + number if partner else None,
        cosine=0.7031 + 0.0419 * number,
        overlap=0.4417 + 0.1129 * number,
        matched=number < 3 and partner,
        own=estimate(-0.01872, 0.0061, 0.0082),
        other=estimate(-0.00413 * number, 0.0047, 0.0039, p_adjusted=0.00312 * number) if partner else None,
        difference=estimate(-0.0157 + 0.0035 * number, 0.0091, 0.0103) if partner else None,
        there=there,
        n=1_283,
        n_broken=20 + number,
        n_fixed=number,
    )


SEEDS = SeedComparison(
    site=SITE,
    model="codi-mini",
    data="stories:validation",
    n_problems=1_319,
    seed=3,
    own=note("own", "own", 71, 0),
    others=(note("seed 1", "seed", 1, 1), note("saes/two", "seed", 2, 2)),
    rows=(
        seed_row(121, "seed 1", 1),
        seed_row(449, "seed 1", 2),
        seed_row(7, "seed 1", 3),
        seed_row(121, "saes/two", 4),
        seed_row(449, "saes/two", 5),
        seed_row(7, "saes/two", 6),
    ),
    agreements=(
        agreement_row("seed 1", "all", "probability", 5),
        agreement_row("seed 1", "matched", "accuracy", 2),
        AgreementRow(
            dictionary="saes/two",
            pairs="all",
            measure="accuracy",
            n=812,
            concordance=Estimate(0.0, None, None),
            rank_correlation=Estimate(0.0, None, None),
            chance=None,
            beyond_chance=None,
        ),
    ),
    found=(
        found_row(121, "seed 1", 1, there=False),
        found_row(121, "saes/two", 4, there=False, partner=False),
        found_row(449, "seed 1", 2, there=True),
        found_row(449, "saes/two", 3, there=False),
        found_row(7, "seed 1", 5, there=True),
        found_row(7, "saes/two", 6, there=True),
    ),
    found_on="stories:confirmation",
    environment=ENVIRONMENT,
)


def against_row(name: str, number: int) -> AgainstRow:
    return AgainstRow(
        name=name,
        kind=name,
        sae=f"saes/{name}",
        sae_sha256=HASHES["sae"],
        explained_variance=estimate(0.9273 / number, 0.0067, 0.0049),
        n_features=2_048,
        n_living=1_700 + number,
        n_tested=1_200 + number,
        n_selected=11 + number,
        n_confirmed=5 + number,
        n_confirmed_logprob=30 + number,
        edit_size=7.61 * number,
        median=estimate(0.0000517 * number, 0.00002, 0.00003),
        upper=estimate(0.00329 * number, 0.0011, 0.0007),
        largest=0.0201 * number,
    )


def strongest_row(dictionary: str, n: int, difference: Estimate) -> StrongestRow:
    return StrongestRow(
        dictionary=dictionary,
        n_strongest=n,
        own=estimate(-0.01633 / n, 0.0052, 0.0061),
        other=estimate(-0.00919 / n, 0.0043, 0.0037),
        difference=difference,
        n=1_283,
    )


AGAINST = DictionaryComparison(
    site=SITE,
    model="codi-mini",
    data="stories:validation",
    n_problems=1_319,
    seed=4,
    rows=tuple(against_row(name, number) for number, name in enumerate(("own", "frozen", "random"), 1)),
    strongest=(
        strongest_row("frozen", 1, estimate(-0.0213, 0.0101, 0.0092)),
        strongest_row("frozen", 3, estimate(-0.0117, 0.0085, 0.0076)),
        strongest_row("frozen", 10, estimate(0.0012, 0.0044, 0.0055)),
        strongest_row("random", 1, estimate(0.0157, 0.0066, 0.0078)),
    ),
    ranked_on="stories:validation",
    measured_on="stories:confirmation",
    environment=ENVIRONMENT,
)
