"""What probes read from: residuals, thoughts or latents of every site, the question's words, a position at random."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from codi_int.errors import ConfigError
from codi_int.model.hooked import CodiModel
from codi_int.probes.ridge import Array
from codi_int.sae.base import SAE
from codi_int.types import Problem, Site, ThoughtBatch

Source = Literal["residuals", "thoughts", "latents"]
SOURCES: tuple[Source, ...] = ("residuals", "thoughts", "latents")


def sites_of(model: CodiModel, source: Source) -> tuple[Site, ...]:
    """Every site that a source has: all layers and positions, or the thoughts that are fed."""
    if source == "thoughts":
        # what is projected after the last thought is never fed
        return tuple(Site(None, position, "thought") for position in range(model.n_thoughts))
    return tuple(Site(layer, p) for layer in range(model.n_layers) for p in range(model.n_thoughts + 1))


def check_source(source: str, sites: Sequence[Site], saes: Mapping[Site, SAE]) -> None:
    """ConfigError for a source that does not exist, or does not go together with its sites and SAEs."""
    if source not in SOURCES:
        raise ConfigError(f"source {source!r} does not exist.", f"It is one of {', '.join(SOURCES)}.")
    if not sites:
        raise ConfigError("There is no site to probe.", "Name at least one.")
    thoughts = [site for site in sites if site.component == "thought"]
    if (source == "thoughts") != (len(thoughts) == len(sites)):
        raise ConfigError(
            f"source {source} does not go with the site {sites[0]}.",
            "Thoughts are sites such as P3.thought; residuals and latents are others.",
        )
    if source == "latents" and (missing := [site for site in sites if site not in saes]):
        raise ConfigError(f"Latents are asked for at {missing[0]}, which has no SAE.", "Give saes={site: sae}.")


def rows_at(batch: ThoughtBatch, site: Site, problems: NDArray[np.int64], sae: SAE | None = None) -> Array:
    """What a probe reads at a site, of some problems. [n, d]"""
    values = batch.at(site).values[torch.from_numpy(problems).to(batch.thoughts.device)]
    with torch.no_grad():
        values = values if sae is None else sae.encode(values).dense()
    return np.asarray(values.double().cpu().numpy())


def at_random_positions(batch: ThoughtBatch, sites: Sequence[Site], problems: NDArray[np.int64], seed: int) -> Array:
    """For each problem what one of some sites holds, drawn anew for each: what does not depend on the position."""
    rows = np.stack([rows_at(batch, site, problems) for site in sites])
    drawn = np.random.default_rng([seed, 2]).integers(len(sites), size=problems.size)
    return np.asarray(rows[drawn, np.arange(problems.size)])


def words_of(model: CodiModel, problems: Sequence[Problem]) -> Array:
    """How often each token stands in the question: all that can be read without its order. [n, tokens that occur]"""
    ids = [np.array(model.encode_question(problem)) for problem in problems]
    known, places = np.unique(np.concatenate(ids), return_inverse=True)
    rows = np.repeat(np.arange(len(ids)), [one.size for one in ids])
    counts = np.zeros((len(ids), known.size))
    np.add.at(counts, (rows, places), 1.0)
    return counts
