"""What surrounds an edit: the clean pass, and what the undisturbed model has at the edit's site."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from codi_int.interventions.engine.clean import CleanPass
from codi_int.interventions.engine.planning import SiteState, no_sae
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import ResumePoint
from codi_int.sae.base import SAE
from codi_int.types import Site


@dataclass(frozen=True)
class SiteContext:
    """An edit's surroundings: everything that does not depend on which features it names."""

    place: SiteState
    """the (first) site, its SAE, and what the undisturbed model has there"""
    clean: CleanPass
    """the undisturbed model"""
    resume_point: ResumePoint
    """how changes go on from the site"""

    def holding(self, model: CodiModel) -> AbstractContextManager[Any]:
        """A block in which the model's later positions do what they do in this context's clean pass."""
        found = self.clean.background
        return nullcontext() if found is None else model.under(found.session)

    @property
    def condition(self) -> str:
        """What a verdict says first of the later positions; empty where they are free."""
        found = self.clean.background
        return "" if found is None else found.held.condition

    @property
    def site(self) -> Site:
        """Where."""
        return self.place.site

    @property
    def activations(self) -> Float[Tensor, "n d_model"]:
        """At the site, of the clean pass."""
        return self.place.activations

    @property
    def sae(self) -> SAE:
        """With what; SAEError at a site without an SAE."""
        # an edit of the residual needs no SAE, so this is an error only once somebody asks
        if self.place.sae is None:
            raise no_sae(self.site, "features were asked for")
        return self.place.sae

    @property
    def latents(self) -> Float[Tensor, "n d_sae"]:
        """Of the clean activations; SAEError at a site without an SAE."""
        if self.place.latents is None:
            raise no_sae(self.site, "features were asked for")
        return self.place.latents
