"""The one path from problems to activations: thought about at once, or kept in a capture on disk and read there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from codi_int.errors import DataError
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress
from codi_int.sae.captures import SIDECAR, Capture, capture_to_disk, open_capture, read_sidecar
from codi_int.types import Problem, Site, SiteActivations

TRAIN, HELD_OUT = "train", "held-out"
"""names of the two captures that a sweep keeps"""


@runtime_checkable
class Activations(Protocol):
    """Where the activations of sites can be had: a `Capture`, or a `ThoughtBatch` that holds them."""

    def at(self, site: Site) -> SiteActivations:
        """The activations at one site."""


def activations(
    model: CodiModel,
    problems: Sequence[Problem],
    sites: Sequence[Site],
    data: str = "",
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Activations:
    """The activations of some problems at some sites, in the order of the problems.

    Args:
        data: name of the problems.
        folder: where a capture of them lies or is to lie, so that they are thought about once; None keeps them in
            memory.
        progress: called after every batch or chunk; the stage is `thoughts`.

    Raises:
        SiteError: a site that the model does not have.
        DataError: `folder` holds a capture of another model, other problems or other sites.
        ConfigError: more than the disk holds.
    """
    for site in sites:
        model.check_site(site)
    if folder is not None:
        return _kept(
            model,
            problems,
            sites,
            data=data,
            folder=folder,
            progress=progress,
        )
    return model.think(problems, capture=sites, progress=progress)


def _kept(
    model: CodiModel,
    problems: Sequence[Problem],
    sites: Sequence[Site],
    data: str,
    folder: Path,
    progress: Progress | None,
) -> Capture:
    """The capture in `folder`: opened, gone on with, or made."""
    layers, positions, component = _axes(sites)
    dtype = "float32"
    if (folder / SIDECAR).exists():
        info = read_sidecar(folder)
        if info.complete:
            return _open(model, problems, sites, folder)
        # a half-written one goes on under its own axes, which may be wider than what is asked for here
        layers, positions, dtype, component = info.layers, info.positions, info.dtype, info.component
    return capture_to_disk(
        model,
        problems,
        folder,
        data=data,
        layers=layers,
        positions=positions,
        dtype=dtype,
        progress=progress,
        component=component,
    )


def _open(model: CodiModel, problems: Sequence[Problem], sites: Sequence[Site], folder: Path) -> Capture:
    """A complete capture that holds the sites; DataError for any other."""
    capture = open_capture(folder, model, problems)
    # with official padding the thoughts depend on which questions shared a batch, so no SAE may learn from them
    if capture.info.padding != "masked":
        raise DataError(
            f"{folder} was captured with padding {capture.info.padding!r}; SAEs are trained on 'masked' ones.",
            "Capture again without --padding.",
        )
    for site in sites:
        capture.check_site(site)
    return capture


def _axes(sites: Sequence[Site]) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """Layers, positions and component of a capture of these sites; DataError for sites that captures do not hold."""
    component = sites[0].component
    for site in sites:
        if site.layer is None or site.component != component:
            raise DataError(f"{site} cannot be captured to disk.", "A capture holds one component of some layers.")
    # every layer with every position, which may be more than the sites: a capture is a full grid of the two
    layers = tuple(dict.fromkeys(site.layer for site in sites if site.layer is not None))
    return layers, tuple(dict.fromkeys(site.position for site in sites)), component
