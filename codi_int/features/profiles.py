"""What a feature does on some problems: how often it fires, how strongly, what its decoder row says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from codi_int.data.answers import is_right
from codi_int.data.problems import as_problems, name_of_problems
from codi_int.errors import DataError, SAEError
from codi_int.features.decoder import nearest_features, read_directions
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress
from codi_int.records import Alias, flatten
from codi_int.sae.base import SAE, check_fits
from codi_int.sae.metrics import ROWS_AT_ONCE, explained_variance
from codi_int.sae.store import as_sae
from codi_int.shown import Shown
from codi_int.types import Latents, Problem, Site

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "codi-int/features-rank@1"
MOST_DENSE = 2**26
"""latents of a chunk of rows that are held at once, those that are 0 too"""
TOKENS = 3
"""of the vocabulary that a profile names"""


@dataclass(frozen=True)
class CausalEffect:
    """What removing the feature did, from a kept screen."""

    accuracy: float
    """change of accuracy; confirmed features: on the problems that confirm"""
    p_adjusted: float | None
    """of the change of accuracy, corrected over the screen; None where nothing was tested"""
    logprob: float
    """mean change of the clean answer's log-probability, nats"""
    conclusion: str | None
    """changed, equivalent, untested or unresolved"""
    confirmed: bool | None
    """whether accuracy's change was found again on problems that selected nothing; None where it was not selected"""
    screen: str
    """name of the problems that it was screened on"""


@dataclass(frozen=True)
class FeatureProfile:
    """One alive feature on one set of problems."""

    rank: int
    """1 for the feature that fires most often; equal ones by index"""
    feature: int
    """its index"""
    firing_rate: float
    """share of the problems on which it fires, that is on which its latent is not 0"""
    n_firing: int
    """how many problems these are"""
    n_problems: int
    """of how many"""
    mean_activation: float
    """mean magnitude of its latent where it fires"""
    max_activation: float
    """largest magnitude"""
    mean_signed: float = 0.0
    """mean of its latent where it fires, with its sign"""
    max_signed: float = 0.0
    """the latent of largest magnitude, with its sign; of two that are equal the first problem's"""
    reads_as: tuple[str, ...] = ()
    """tokens that the logit lens reads off its decoder row, the likeliest first; empty without a model"""
    nearest: int | None = None
    """the feature whose decoder row is most alike; None where there is no other"""
    nearest_cosine: float | None = None
    """cosine of the two rows"""
    causal: CausalEffect | None = None
    """what removing it did; None where no screen was given"""

    effect_accuracy = Alias[float | None]("causal.accuracy")
    effect_p_adjusted = Alias[float | None]("causal.p_adjusted")
    effect_logprob = Alias[float | None]("causal.logprob")
    conclusion = Alias[str | None]("causal.conclusion")
    confirmed = Alias[bool | None]("causal.confirmed")

    columns = (
        *("rank", "feature", "firing_rate", "n_firing", "n_problems", "mean_activation", "max_activation"),
        *("mean_signed", "max_signed", "reads_as", "nearest", "nearest_cosine"),
        *("effect_accuracy", "effect_p_adjusted", "effect_logprob", "conclusion", "confirmed"),
    )


@dataclass(frozen=True, repr=False, eq=False)
class Profiles(Shown, Sequence[FeatureProfile]):
    """The alive features of an SAE on some problems, the most frequent first; as a sequence, their profiles."""

    rows: tuple[FeatureProfile, ...]
    """one for each alive feature"""
    latents: Latents
    """of all problems, on the CPU. [n, k]"""
    sae: SAE
    """the SAE itself"""
    problems: Sequence[Problem] = ()
    """in the order of the latents; empty where only activations were given"""
    correct: NDArray[np.bool_] | None = None
    """whether the undisturbed model answers each problem right; None where it was not asked. [n]"""
    site: Site | None = None
    """where the SAE reads"""
    model: CodiModel | None = None
    """whose thoughts it reads; None where only activations were given"""
    data: str = ""
    """name of the problems"""
    explained_variance: float | None = None
    """of the activations by the SAE on these problems; None where all rows are the same"""
    by_feature: dict[int, FeatureProfile] = field(default_factory=dict, repr=False)
    """the same profiles by index"""

    def __post_init__(self) -> None:
        self.by_feature.update({row.feature: row for row in self.rows})

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, key: int) -> FeatureProfile: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[FeatureProfile, ...]: ...

    def __getitem__(self, key: int | slice) -> FeatureProfile | tuple[FeatureProfile, ...]:
        return self.rows[key]

    def __iter__(self) -> Iterator[FeatureProfile]:
        return iter(self.rows)

    @property
    def d_sae(self) -> int:
        """Features of the SAE, dead ones too."""
        return self.latents.d_sae

    @property
    def n_problems(self) -> int:
        """Rows of activations."""
        return int(self.latents.values.shape[0])

    @cached_property
    def alive(self) -> tuple[int, ...]:
        """The alive features, the most frequent first."""
        return tuple(row.feature for row in self.rows)

    @property
    def has_steps(self) -> bool:
        """Whether any problem has a written step."""
        return any(problem.steps for problem in self.problems)

    def column(self, feature: int) -> NDArray[np.float32]:
        """The latent of one feature on every problem, 0 where it does not fire. [n]"""
        check_feature(feature, self.d_sae)
        # a row names a feature at most once
        return torch.where(self.latents.indices == feature, self.latents.values, 0.0).sum(1).numpy()

    def firing(self, features: Sequence[int]) -> NDArray[np.bool_]:
        """Whether each feature fires on each problem. [n, len(features)]"""
        place = torch.full((self.d_sae,), -1)
        place[list(features)] = torch.arange(len(features))
        where = place[self.latents.indices]
        out = torch.zeros(self.n_problems, len(features) + 1, dtype=torch.bool)
        # what is not asked for goes to a column that is cut off; a latent of 0 does not fire
        where = torch.where((where >= 0) & (self.latents.values != 0), where, len(features))
        return out.scatter_(1, where, True)[:, :-1].numpy()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; without the latents."""
        return {
            "schema": SCHEMA,
            "site": flatten(self.site),
            "n_alive": len(self.rows),
            "d_sae": self.d_sae,
            "model": None if self.model is None else self.model.name,
            "sae": self.sae.name,
            "data": self.data,
            "n_problems": self.n_problems,
            "explained_variance": self.explained_variance,
            "rows": [flatten(row) for row in self.rows],
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row per alive feature, as pandas' data frame."""
        import pandas as pd

        return pd.DataFrame([flatten(row) for row in self.rows], columns=list(FeatureProfile.columns))


def check_feature(feature: int, d_sae: int) -> None:
    """SAEError for an index that the SAE does not have."""
    if not 0 <= feature < d_sae:
        raise SAEError(f"Feature {feature} does not exist.", f"The SAE has features 0 to {d_sae - 1}.")


def profile_features(
    sae: SAE | str | Path | Any,
    model: CodiModel,
    problems: Sequence[Problem],
    site: Site | None = None,
    progress: Progress | None = None,
    answers: bool = True,
) -> Profiles:
    """The features of an SAE that fire on some problems, the most frequent first.

    Args:
        sae: an SAE, the name or folder of one, or one of SAELens.
        model: the model whose thoughts it reads.
        problems: on which problems; with or without written steps.
        site: where it reads; may be left out where the SAE knows its own.
        progress: called with (stage, done, total).
        answers: also let the model answer, so that `describe_feature` can tell right from wrong answers; without it
            half the time.

    Returns:
        a sequence of one profile for each alive feature; none for a feature that fires on none of the problems.

    Raises:
        SAEError: an SAE that does not know its site, where none is given, or that belongs elsewhere.
        SiteError: a site that the model does not have.
    """
    found = as_sae(sae, device=str(model.device))
    where = site or found.site
    if where is None:
        raise SAEError("The SAE does not say at which site it was trained.", "Give it: site=Site(14, 3).")
    (profiles,) = profile_sites({where: found}, model, problems, progress, answers)
    return profiles


def profile_sites(
    saes: Mapping[Site, SAE | str | Path | Any],
    model: CodiModel,
    problems: Sequence[Problem],
    progress: Progress | None = None,
    answers: bool = True,
) -> tuple[Profiles, ...]:
    """The same at several sites, which share one pass of the model.

    Args:
        saes: the SAE of each site.
        model, problems, progress, answers: as in `profile_features`.

    Returns:
        the profiles of each site, in the order of `saes`.

    Raises:
        SAEError: no site, or an SAE that belongs elsewhere.
        SiteError: a site that the model does not have.
    """
    if not saes:
        raise SAEError("There is no SAE to profile.", "Give one for each site.")
    found = {site: as_sae(sae, device=str(model.device)) for site, sae in saes.items()}
    for site, sae in found.items():
        check_fits(sae, model, model.check_site(site))
    problems = as_problems(problems)
    batch = model.think(problems, capture=list(found), answers=answers, progress=progress)
    correct = None
    if answers:
        pairs = zip(batch.completions, problems, strict=True)
        correct = np.array([is_right(c.answer, problem.answer) for c, problem in pairs], dtype=np.bool_)
    return tuple(
        replace(
            profile_rows(sae, batch.at(site).values, model),
            problems=problems,
            correct=correct,
            site=site,
            data=name_of_problems(problems),
            by_feature={},
        )
        for site, sae in found.items()
    )


def profile_dictionaries(
    saes: Mapping[Site, Sequence[SAE]],
    model: CodiModel,
    problems: Sequence[Problem],
    progress: Progress | None = None,
) -> Iterator[Profiles]:
    """The same of several SAEs of each site, one after the other, without what the model answers.

    Args:
        saes: one or more for each site.
        model: the model whose thoughts they read.
        problems: on which problems.
        progress: called with (stage, done, total).

    Raises:
        SAEError: an SAE that belongs to another model or site.
        SiteError: a site that the model does not have.
    """
    problems = as_problems(problems)
    for site, several in saes.items():
        for sae in several:
            check_fits(sae, model, model.check_site(site))
    batch = model.think(problems, capture=list(saes), answers=False, progress=progress)
    for site, several in saes.items():
        for sae in several:
            found = profile_rows(sae, batch.at(site).values, model)
            yield replace(found, problems=problems, site=site, data=name_of_problems(problems), by_feature={})


@torch.no_grad()
def profile_rows(sae: SAE, rows: Float[Tensor, "n d_in"], model: CodiModel | None = None) -> Profiles:
    """The same from activations, one row for each problem.

    Args:
        sae: the SAE.
        rows: what it reads.
        model: whose unembedding reads the decoder rows; None leaves `reads_as` empty.

    Raises:
        SAEError: rows of another width than the SAE's.
        DataError: no row at all.
    """
    if rows.ndim != 2 or rows.shape[1] != sae.d_in:
        raise SAEError(
            f"The SAE reads rows of {sae.d_in} numbers, got activations of shape {list(rows.shape)}.",
            "Give the activations of the site that it was trained at.",
        )
    if not len(rows):
        raise DataError("There are no activations to profile.", "Give at least one problem.")
    fired, summed, signed, largest, peak = torch.zeros(5, sae.d_sae, dtype=torch.float64)
    values, indices, missed = [], [], []
    # in chunks: the latents [n, d_sae] of all problems at once would be the largest tensor
    at_once = max(1, min(ROWS_AT_ONCE, MOST_DENSE // sae.d_sae))
    for start in range(0, rows.shape[0], at_once):
        chunk = rows[start : start + at_once].to(sae.W_dec.device)
        latents = sae.encode(chunk)
        missed.append(chunk - sae.decode(latents))
        values.append(latents.values.cpu())
        indices.append(latents.indices.cpu())
        dense = latents.dense().double().cpu()
        size = dense.abs()
        fired += (size != 0).sum(0)
        summed += size.sum(0)
        signed += dense.sum(0)
        top = size.max(0)
        # strictly above: of equal ones the first problem's
        peak = torch.where(top.values > largest, dense.gather(0, top.indices[None])[0], peak)
        largest = torch.maximum(largest, top.values)
    alive = fired.argsort(descending=True, stable=True)[: int((fired > 0).sum())]
    words = read_directions(model, sae.W_dec[alive], TOKENS) if model is not None else [()] * len(alive)
    near = nearest_features(sae.W_dec, alive.tolist(), 1)
    table = torch.stack([fired, summed, signed, largest, peak])[:, alive].T.tolist()
    profiles = []
    for rank, (feature, row, read, (other, *_)) in enumerate(zip(alive.tolist(), table, words, near, strict=True), 1):
        n_firing, total, total_signed, most, most_signed = row
        profiles.append(
            FeatureProfile(
                rank=rank,
                feature=feature,
                firing_rate=int(n_firing) / rows.shape[0],
                n_firing=int(n_firing),
                n_problems=rows.shape[0],
                mean_activation=total / n_firing,
                max_activation=most,
                mean_signed=total_signed / n_firing,
                max_signed=most_signed,
                reads_as=tuple(token.text.strip() for token in read),
                nearest=other.feature,
                nearest_cosine=other.cosine,
            )
        )
    varies = bool((rows != rows[0]).any())
    return Profiles(
        rows=tuple(profiles),
        latents=Latents(torch.cat(values), torch.cat(indices), sae.d_sae),
        sae=sae,
        site=sae.site,
        model=model,
        explained_variance=explained_variance(rows.to(sae.W_dec.device), torch.cat(missed)) if varies else None,
    )
