"""Edits made of edits: several at one site, or one at each of several sites."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError, FeatureError, SiteError
from codi_int.interventions.edits.adapt import as_edit, named_edit
from codi_int.interventions.edits.basic import Edit, can_move, check_edit
from codi_int.interventions.edits.naming import edit_kind, set_fields
from codi_int.types import Site

# in the order in which a block computes them; `reach_order` counts on it
_IN_A_BLOCK = ("resid_pre", "head", "attn_out", "resid_mid", "mlp_out", "resid_post")
_AFTER_BLOCKS = ("final_norm", "thought")


@dataclass(frozen=True)
class Together:
    """Several edits of latents at one site, as one edit."""

    edits: tuple[Any, ...]
    """the edits; no two of them may name the same feature, so their order does not matter"""

    def __post_init__(self) -> None:
        if not self.edits:
            raise ConfigError("An edit made of no edits changes nothing.", "Give at least one.")
        set_fields(self, edits=tuple(map(named_edit, self.edits)))
        # Protocol check: `Edit` asks for `label` and `edit`, which an edit of the residual lacks.
        for edit in self.edits:
            if not isinstance(edit, Edit):
                raise ConfigError(
                    f"{edit!r} cannot stand among several edits of one site: it edits no latents.",
                    "Give an edit of the residual a site, or a run, of its own.",
                )
        _check_disjoint(self.edits)

    @property
    def parts(self) -> tuple[Any, ...]:
        """The edits that it is made of."""
        return self.edits

    @property
    def kind(self) -> str:
        """The kind that all parts share, or `several`."""
        return _common_kind(self.edits)

    @property
    def features(self) -> tuple[int, ...]:
        """The features that the parts name, one part after the other."""
        return tuple(feature for edit in self.edits for feature in as_edit(edit).features)

    @property
    def movable(self) -> bool:
        """Whether every part can be done to other features."""
        return all(can_move(edit) for edit in self.edits)

    @property
    def label(self) -> str:
        """The edit in words."""
        return " and ".join(edit.label for edit in self.edits)

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents after all parts."""
        return self.edit_from(latents, latents)

    def edit_from(self, latents: Float[Tensor, "n d_sae"], clean: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The same, where parts that take values from the clean run find them in `clean`."""
        # One after the other on the same latents; the parts name different features, so none sees another's change.
        for edit in self.edits:
            change = as_edit(edit).latents
            assert change is not None, "checked when the edits were put together"
            latents = change(latents, clean)
        return latents

    def moved_to(self, features: Sequence[int]) -> "Together":
        """The same edits on as many other features."""
        return Together(_move_parts(self.edits, features))


@dataclass(frozen=True)
class AtSites:
    """One edit at each of several sites, made in the order in which the model reaches them.

    At every site the edit gets what arrives there under the edits before it, as a hook would, and the clean values of
    problems that nothing touched yet; means and resampled values are taken from these same values. Interchanges take
    theirs from the clean run.
    """

    edits: Mapping[Any, Any] | Iterable[tuple[Any, Any]]
    """site to its edit, or to a tuple of edits of its latents; kept as pairs in the order of the sites"""

    def __post_init__(self) -> None:
        given = list(self.edits.items() if isinstance(self.edits, Mapping) else self.edits)
        pairs = [
            (Site.parse(site), Together(tuple(edit)) if isinstance(edit, (tuple, list)) else named_edit(edit))
            for site, edit in given
        ]
        if not pairs:
            raise ConfigError("An edit at no site changes nothing.", "Give a table of sites and edits.")
        for site, edit in pairs:
            if isinstance(edit, AtSites):
                raise ConfigError(f"The edit for {site} names sites of its own.", "Give all sites in one table.")
            check_edit(edit)
        # Given in any order, made in the model's: what arrives at a site depends on the sites before it.
        pairs.sort(key=lambda pair: reach_order(pair[0]))
        # sorted, so that a site named twice stands beside itself
        for (site, _), (following, _) in pairwise(pairs):
            if site == following:
                raise SiteError(f"Site {site} is named twice.", f"Put its edits together: {{{site}: (edit, edit)}}.")
        # frozen: this is the one moment to bring what was given into its final form
        object.__setattr__(self, "edits", tuple(pairs))

    @property
    def pairs(self) -> tuple[tuple[Site, Any], ...]:
        """Sites with their edits, in the order in which the model reaches them."""
        assert isinstance(self.edits, tuple)
        return self.edits

    @property
    def parts(self) -> tuple[Any, ...]:
        """The edits, in the order of the sites."""
        return tuple(edit for _, edit in self.pairs)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites, in the order in which the model reaches them."""
        return tuple(site for site, _ in self.pairs)

    @property
    def kind(self) -> str:
        """The kind that all parts share, or `several`."""
        return _common_kind(self.parts)

    @property
    def features(self) -> tuple[int, ...]:
        """The features of all sites, one site after the other; each counts in the SAE of its own site."""
        return tuple(feature for edit in self.parts for feature in as_edit(edit).features)

    @property
    def movable(self) -> bool:
        """Whether the edit of every site can be done to other features."""
        return all(can_move(edit) for edit in self.parts)

    @property
    def label(self) -> str:
        """The edit in words; with its sites where there are several."""
        if len(self.pairs) == 1:
            return str(self.parts[0].label)
        # a dict keeps its order: one edit at many sites is named once, with the sites behind it
        where: dict[str, list[str]] = {}
        for site, edit in self.pairs:
            where.setdefault(edit.label, []).append(str(site))
        return "; ".join(f"{label} at {', '.join(sites)}" for label, sites in where.items())

    def moved_to(self, features: Sequence[int]) -> "AtSites":
        """The same edits on as many other features."""
        return AtSites(tuple(zip(self.sites, _move_parts(self.parts, features), strict=True)))


def as_table(edit: Any, site: Site) -> AtSites:
    """An edit as a table of sites, of which it may have but one; HookError for what is no edit."""
    if isinstance(edit, AtSites):
        return edit
    check_edit(edit)
    return AtSites(((site, edit),))


def reach_order(site: Site) -> tuple[int, bool, int, int, int]:
    """A key that sorts sites into the order in which the model computes them."""
    if site.layer is None:
        # False sorts before True: what a position makes after its last block comes after all of its layers.
        return site.position, True, 0, _AFTER_BLOCKS.index(site.component), 0
    # heads side by side, in the order of their numbers
    part = site.component if site.head is None else "head"
    return site.position, False, site.layer, _IN_A_BLOCK.index(part), site.head or 0


def _check_disjoint(edits: Sequence[Edit]) -> None:
    """FeatureError where two edits name one feature: which of them is meant?"""
    owner: dict[int, Edit] = {}
    # Only within one site: feature 7 of another site's SAE is another feature.
    for edit in edits:
        if as_edit(edit).takes_all and len(edits) > 1:
            raise FeatureError(
                f"{edit.label!r} takes all features and leaves none for another edit of the same site.",
                "Make it the only edit of its site.",
            )
        for feature in as_edit(edit).features:
            if feature in owner:
                raise FeatureError(
                    f"Feature {feature} is named twice at one site: {owner[feature].label!r} and {edit.label!r}.",
                    "Leave one of them out.",
                )
            owner[feature] = edit


def _move_parts(edits: Sequence[Any], features: Sequence[int]) -> tuple[Any, ...]:
    out, start = [], 0
    for edit in edits:
        # as many as the part names, in the order of `features`, of which this is the inverse
        stop = start + len(edit.features)
        out.append(edit.moved_to(features[start:stop]))
        start = stop
    return tuple(out)


def _common_kind(edits: Sequence[Any]) -> str:
    kinds = {edit_kind(edit) for edit in edits}
    return kinds.pop() if len(kinds) == 1 else "several"
