"""An effect taken apart by path, against hooks that cut the other path."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from statsmodels.stats.multitest import multipletests

from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Ablate, Amplify
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.paths import PATHS, split_effect
from codi_int.types import Problem, Site

SITE, OTHER, TOP = Site(2, 3), Site(1, 4), Site(3, 2)
FEATURES = tuple(range(12))


@pytest.fixture(scope="module")
def engine(engine_at: Callable[..., FeatureInterventionEngine]) -> FeatureInterventionEngine:
    return engine_at(SITE, OTHER, TOP)


def correct(engine: FeatureInterventionEngine, problems: Sequence[Problem], path: str, factor: float) -> np.ndarray:
    """Which problems are right when a hook multiplies the features, with one path cut."""
    sae, columns = engine.saes[SITE], list(FEATURES)

    def hook(resid: torch.Tensor, context: object) -> torch.Tensor:
        return resid + (factor - 1) * (sae.encode(resid).dense()[:, columns] @ sae.W_dec[columns])

    with torch.no_grad(), engine.model.hooks({SITE: hook}, propagate=path):  # type: ignore[arg-type]
        answers = engine.model.answer(problems)
    return np.array([a.answer == p.answer for a, p in zip(answers, problems, strict=True)])


def test_each_path_does_what_a_hook_on_it_does(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    found = split_effect(engine, Amplify(FEATURES, 4), right, site=SITE)
    clean = correct(engine, right, "both", 1.0)
    after = {path: correct(engine, right, path, 4.0) for path in PATHS}
    for path in PATHS:
        effect = getattr(found, path)
        assert effect.n_broken == (clean & ~after[path]).sum(), path
        assert effect.n_fixed == (~clean & after[path]).sum(), path
    assert found.both.n_broken > 3
    departures = [
        int(b) - int(c) - int(r) + int(x) for b, c, r, x in zip(*(after[path] for path in PATHS), clean, strict=True)
    ]
    assert found.interaction.estimate == pytest.approx(np.mean(departures))
    assert found.interaction.n_departing == np.count_nonzero(departures)


def test_both_paths_are_the_engines_own_effect(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    found = split_effect(engine, Ablate(17), right, site=SITE)
    own = engine.run(Ablate(17), right, controls=0, site=SITE).effect
    # other rows share its batches: what is continuous agrees to rounding
    rounded = dict.fromkeys(("logprob", "probability", "margin", "n_effective", "share_of_largest"))
    # what may be concluded, and what could have been found, is the family's
    rounded |= dict.fromkeys(("conclusion", "minimum_detectable"))
    assert replace(found.both, verdict="", **rounded) == replace(own, verdict="", **rounded)
    assert found.both.n_effective == pytest.approx(own.n_effective, rel=0.01)
    assert own.logprob is not None
    assert found.both.logprob.estimate == pytest.approx(own.logprob.estimate, abs=1e-5)  # other rows share its batches
    nats = [effect.logprob.estimate for effect in (found.both, found.cache, found.recurrence)]
    assert found.interaction_logprob.estimate == pytest.approx(nats[0] - nats[1] - nats[2], abs=1e-9)
    assert found.to_dict()["schema"] == "codi-int/roads@1"
    wide = split_effect(engine, Ablate(17), right, site=SITE, bound=0.4)
    assert [getattr(wide, path).bound for path in PATHS] == [0.4] * 3
    with pytest.raises(ConfigError, match="at most 0"):
        split_effect(engine, Ablate(17), right, site=SITE, bound=0.7)


def test_what_cannot_be_split_is_refused(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    for edit, site, says in (
        (Ablate(4), TOP, "cannot reach the answer"),  # above the last block nothing is left for the cache
        (Ablate(31), SITE, "changes nothing on these problems"),
        (AtSites({SITE: Ablate(4), OTHER: Ablate(4)}), SITE, "several"),
    ):
        with pytest.raises(ConfigError, match=says):
            split_effect(engine, edit, right, site=site)


def test_paths_and_their_interaction_are_one_family(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    found = split_effect(engine, Amplify(FEATURES, 4), right, site=SITE, bound=0.4)
    tested = [found.both, found.cache, found.recurrence, found.interaction]
    adjusted = multipletests([one.p_value for one in tested], method="holm")[1]
    assert found.interaction.p_adjusted == pytest.approx(adjusted[-1])
    sure = multipletests([one.p_equivalence for one in tested], method="holm")[1]
    assert found.interaction.p_equivalence_adjusted == pytest.approx(sure[-1])
    for effect, p, q in zip(tested[:3], adjusted, sure, strict=False):
        word = "changed" if p < 0.05 else "equivalent" if q < 0.05 else "unresolved"
        assert effect.conclusion == word  # type: ignore[union-attr]
    assert found.both.conclusion == "changed"
    assert "after Holm over 4 paths and their interaction" in found.both.verdict
    word = "changed" if adjusted[-1] < 0.05 else "equivalent" if sure[-1] < 0.05 else "unresolved"
    assert (found.additivity, found.bound) == (word, 0.4)
    assert found.to_dict()["additivity"] == word
