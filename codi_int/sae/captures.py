"""Captured activations on disk: one safetensors file per layer, `[position, problem, d_model]`, and a JSON sidecar.

`capture_to_disk` thinks about a few problems at a time and writes their rows into place, so that memory stays
bounded and a killed run goes on where it stopped. `open_capture` checks everything before it hands out a row.
Questions are taken in the order of their length, so that full batches need no padding.
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from codi_int.data.problems import problems_sha256
from codi_int.errors import ConfigError, DataError
from codi_int.files import explain_output_errors, read_json_object, write_json
from codi_int.model.chain import Padding
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress
from codi_int.sae.config import check_choice, check_count
from codi_int.sae.memory import check_disk
from codi_int.shown import Shown
from codi_int.types import Problem, Site, SiteActivations, SiteLike
from codi_int.units import Unit, UnitRunner, run_here

SIDECAR = "capture.json"
# numpy has no bfloat16: its 16 bits are written as integers and named in the header by what they mean
NUMPY_TYPES = {"float32": "<f4", "bfloat16": "<i2"}
SAFETENSORS_TYPES = {"float32": "F32", "bfloat16": "BF16"}


@dataclass(frozen=True)
class CaptureInfo:
    """The sidecar: what was captured, and how far it got."""

    model: str
    """name of the model"""
    model_sha256: str
    """hash of its weights"""
    data: str
    """name of the problems"""
    data_sha256: str
    """hash of the problems"""
    problem_ids: tuple[str, ...]
    """one for each row"""
    layers: tuple[int, ...]
    """layers that have a file"""
    positions: tuple[int, ...]
    """positions along the first axis of every file"""
    d_model: int
    """width of a row"""
    dtype: str
    """float32 or bfloat16"""
    padding: str
    """padding mode of the model"""
    n_done: int
    """rows that are written, in the order in which problems are thought about; all of them when it is complete"""
    component: str = "resid_post"
    """which tensor of the blocks; the name of the tensor in every file"""

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self.n_done == len(self.problem_ids)


@dataclass(frozen=True, repr=False)
class Capture(Shown):
    """A complete capture that can be read."""

    folder: Path
    """where it lies"""
    info: CaptureInfo
    """what it holds"""

    def at(self, site: SiteLike) -> SiteActivations:
        """The activations at one site in float32; only that slab of the file is read.

        Raises:
            DataError: a site that was not captured.
        """
        site = Site.parse(site)
        layer = self.check_site(site)
        with safe_open(layer_file(self.folder, layer), framework="pt") as file:
            # position is the first axis, so that a site is one contiguous piece of the file
            values: Tensor = file.get_slice(self.info.component)[self.info.positions.index(site.position)]
        return SiteActivations(site, self.info.problem_ids, values.float())

    def check_site(self, site: Site) -> int:
        """The layer of a site that was captured; DataError for any other."""
        known = site.layer in self.info.layers and site.position in self.info.positions
        if site.component != self.info.component or site.layer is None or not known:
            raise DataError(
                f"{site} is not in {self.folder}: layers {_listed(self.info.layers)}, positions "
                f"{_listed(self.info.positions)}, {self.info.component} only.",
                "Capture it, or choose another site.",
            )
        return site.layer


def layer_file(folder: Path, layer: int) -> Path:
    """The file of one layer."""
    return folder / f"layer{layer:02d}.safetensors"


def capture_to_disk(
    model: CodiModel,
    problems: Sequence[Problem],
    folder: str | Path,
    data: str = "",
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    dtype: str = "float32",
    padding: Padding = "masked",
    rows_at_once: int = 256,
    progress: Progress | None = None,
    runner: UnitRunner | None = None,
    component: str = "resid_post",
) -> Capture:
    """Capture one component at every chosen layer and position; the same call again goes on after a kill.

    Args:
        data: name of the problems, for the sidecar.
        layers: None takes all.
        positions: None takes all, 0 (<bot>) to the last thought.
        dtype: `float32`, or `bfloat16` for half the disk.
        rows_at_once: problems in memory at a time.
        progress: called after every chunk; the stage is `thoughts`.
        component: which tensor of the blocks, as a site names it.
        runner: has problems thought about elsewhere, by workers whose tasks `chunk_runner` does; None for here.

    Raises:
        ConfigError: no problems, an unknown dtype; more than fits on the disk (before anything is written).
        SiteError: a layer or position that the model does not have.
        DataError: the folder holds a capture of something else.
        OutputError: a folder that cannot be written to.
    """
    check_choice("dtype", dtype, tuple(NUMPY_TYPES))
    check_count("rows_at_once", rows_at_once)
    if not problems:
        raise ConfigError("There are no problems to capture.", "Give at least one.")
    wanted = describe_capture(
        model,
        problems,
        data,
        layers,
        positions,
        dtype=dtype,
        padding=padding,
        component=component,
    )
    for layer in wanted.layers:
        for position in wanted.positions:
            model.check_site(Site(layer, position, component))
    folder = Path(folder)
    info = _begin(folder, wanted)
    order = _order(model, problems, padding)
    starts = range(info.n_done, len(problems), rows_at_once)
    units = [Unit(f"problems {at} to {at + len(order[at : at + rows_at_once]) - 1}", at) for at in starts]
    written: set[int] = set()

    def keep(unit: Unit, rows: list[Float[Tensor, "positions chunk d_model"]]) -> None:
        nonlocal info
        places = order[unit.task : unit.task + rows_at_once]
        with explain_output_errors(folder, kept=f"The first {info.n_done:,} problems are kept"):
            for layer, of_layer in zip(info.layers, rows, strict=True):
                _write_rows(layer_file(folder, layer), info, places, of_layer)
        written.add(unit.task)
        # counted is what is written without a gap: workers end in any order, and a later run begins at the first gap
        while info.n_done in written:
            info = replace(info, n_done=min(info.n_done + rows_at_once, len(problems)))
        _write_sidecar(folder, info)
        if progress:
            progress("thoughts", info.n_done, len(problems))

    (runner or run_here(chunk_runner(model, problems, wanted, rows_at_once)))(units, keep)
    return Capture(folder, info)


def describe_capture(
    model: CodiModel,
    problems: Sequence[Problem],
    data: str,
    layers: Sequence[int] | None,
    positions: Sequence[int] | None,
    dtype: str = "float32",
    padding: Padding = "masked",
    component: str = "resid_post",
) -> CaptureInfo:
    """The sidecar of a capture that has not begun; see `capture_to_disk`."""
    return CaptureInfo(
        model=model.name,
        model_sha256=model.sha256,
        data=data,
        data_sha256=problems_sha256(problems),
        problem_ids=tuple(problem.id for problem in problems),
        layers=tuple(range(model.n_layers) if layers is None else layers),
        positions=tuple(range(model.n_thoughts + 1) if positions is None else positions),
        d_model=model.d_model,
        dtype=dtype,
        padding=padding,
        n_done=0,
        component=component,
    )


def chunk_runner(
    model: CodiModel, problems: Sequence[Problem], wanted: CaptureInfo, rows_at_once: int = 256
) -> Callable[[int], list[Float[Tensor, "positions chunk d_model"]]]:
    """What thinks about some problems, here or in a worker; the rows of each layer, from the first problem's number."""
    padding = cast(Padding, wanted.padding)
    component = wanted.component
    sites = [Site(layer, position, component) for layer in wanted.layers for position in wanted.positions]
    order = _order(model, problems, padding)

    def do(start: int) -> list[Tensor]:
        places = order[start : start + rows_at_once]
        batch = model.think([problems[place] for place in places], capture=sites, padding=padding)
        return [
            torch.stack([batch.at(Site(layer, position, component)).values for position in wanted.positions])
            .detach()
            .cpu()
            for layer in wanted.layers
        ]

    return do


def open_capture(
    folder: str | Path, model: CodiModel | None = None, problems: Sequence[Problem] | None = None
) -> Capture:
    """The capture in `folder`, checked.

    Args:
        model: the model that it must come from; None takes any.
        problems: the problems that it must hold, in this order; None takes any.

    Raises:
        DataError: no capture, a half-written one, files of the wrong size, or one of another model or other problems.
    """
    folder = Path(folder)
    info = read_sidecar(folder)
    if not info.complete:
        raise DataError(
            f"{folder} is half-written: {info.n_done} of {len(info.problem_ids)} problems.",
            "Run the same capture again; it goes on where it stopped.",
        )
    if model is not None and model.sha256 != info.model_sha256:
        raise DataError(
            f"{folder} was captured from {info.model} ({info.model_sha256[:12]}), not from {model.name} "
            f"({model.sha256[:12]}).",
            "Load that model, or capture again.",
        )
    if problems is not None and problems_sha256(problems) != info.data_sha256:
        raise DataError(
            f"{folder} was captured from {len(info.problem_ids)} problems of {info.data or '?'}, not from the "
            f"{len(problems)} that are asked for.",
            "Give the same data and limit, or capture again.",
        )
    _check_files(folder, info)
    return Capture(folder, info)


def _begin(folder: Path, wanted: CaptureInfo) -> CaptureInfo:
    """The sidecar to go on from: the one that is there, or a new one with empty files of full size."""
    if (folder / SIDECAR).exists():
        found = read_sidecar(folder)
        # `n_done` is all that two calls of one capture may differ in
        if replace(found, n_done=0) != wanted:
            raise DataError(f"{folder} holds a capture of something else.", "Give another folder, or empty this one.")
        _check_files(folder, found)
        return found
    check_disk(folder, len(wanted.layers) * _file_size(wanted), "The activations")
    # Not moved into place: the files are filled chunk by chunk, and the sidecar says how far they hold.
    paths = [layer_file(folder, layer) for layer in wanted.layers]
    try:
        with explain_output_errors(folder, needs=len(paths) * _file_size(wanted)):
            folder.mkdir(parents=True, exist_ok=True)
            for path in paths:
                _allocate(path, wanted)
        _write_sidecar(folder, wanted)
    except BaseException:  # Ctrl-C too: blocks that were taken for nothing are given back
        for path in paths:
            with suppress(OSError):
                path.unlink()
        raise
    return wanted


def _allocate(path: Path, info: CaptureInfo) -> None:
    """A file of full size, header written, whose blocks are its own."""
    with path.open("wb") as file:
        file.write(_header(info))
        file.truncate(_file_size(info))
        # A hole would meet a disk that fills up meanwhile as SIGBUS, on a write to the memory map: no exception, no
        # message. So the blocks are taken now.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, _file_size(info))


def _order(model: CodiModel, problems: Sequence[Problem], padding: Padding) -> list[int]:
    """Where the problems stand, in the order in which they are thought about.

    Shorter questions come first, for batches hold questions of one length; with official padding the order is the
    problems' own, because there the batches make a difference.
    """
    places = list(range(len(problems)))
    return places if padding == "official" else sorted(places, key=lambda i: len(model.encode_question(problems[i])))


def _shape(info: CaptureInfo) -> tuple[int, int, int]:
    return len(info.positions), len(info.problem_ids), info.d_model


def _header(info: CaptureInfo) -> bytes:
    """Length and JSON header of a safetensors file with one tensor."""
    n_bytes = int(np.prod(_shape(info))) * np.dtype(NUMPY_TYPES[info.dtype]).itemsize
    entry = {"dtype": SAFETENSORS_TYPES[info.dtype], "shape": list(_shape(info)), "data_offsets": [0, n_bytes]}
    text = json.dumps({info.component: entry}).encode()
    # safetensors wants the data to begin at a multiple of 8 bytes, and lets blanks fill up its header
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _file_size(info: CaptureInfo) -> int:
    return len(_header(info)) + int(np.prod(_shape(info))) * np.dtype(NUMPY_TYPES[info.dtype]).itemsize


def _write_rows(
    path: Path, info: CaptureInfo, places: Sequence[int], rows: Float[Tensor, "positions chunk d_model"]
) -> None:
    """Put some problems' rows into place."""
    kind = np.dtype(NUMPY_TYPES[info.dtype])
    file = np.memmap(path, dtype=kind, mode="r+", offset=len(_header(info)), shape=_shape(info))
    rows = rows.detach().cpu()
    plain = rows.bfloat16().view(torch.int16) if info.dtype == "bfloat16" else rows.float()
    # [positions, chunk, d_model]: rows lie in the problems' own order, whatever order they are thought about in
    file[:, list(places)] = plain.numpy()
    # before the sidecar counts these rows, so that it never claims more than was handed to the system
    file.flush()


def capture_bytes(n_layers: int, n_positions: int, n_problems: int, d_model: int, dtype: str = "float32") -> int:
    """Disk that a capture takes, without its headers."""
    return n_layers * n_positions * n_problems * d_model * np.dtype(NUMPY_TYPES[dtype]).itemsize


def _write_sidecar(folder: Path, info: CaptureInfo) -> None:
    """Replace the sidecar whole, so that a kill leaves the old one or the new one."""
    write_json(folder / SIDECAR, asdict(info), durable=True)


def read_sidecar(folder: Path) -> CaptureInfo:
    """The sidecar of a folder; DataError where there is none."""
    try:
        raw = read_json_object(folder / SIDECAR)
        lists = {key: tuple(raw[key]) for key in ("problem_ids", "layers", "positions")}
        info = CaptureInfo(**{**raw, **lists})
        # `type is int`, for JSON's true is an int to isinstance
        counts = (*info.layers, *info.positions, info.d_model, info.n_done)
        if info.dtype not in NUMPY_TYPES or any(type(count) is not int or count < 0 for count in counts):
            raise ValueError
        return info
    except (DataError, ValueError, TypeError, KeyError):
        raise DataError(f"{folder} holds no capture: {SIDECAR} is missing or broken.", "Capture again.") from None


def _check_files(folder: Path, info: CaptureInfo) -> None:
    """DataError unless every layer's file is there, of full size and with the right header."""
    for layer in info.layers:
        path = layer_file(folder, layer)
        size = path.stat().st_size if path.is_file() else 0
        if size != _file_size(info) or path.open("rb").read(len(_header(info))) != _header(info):
            raise DataError(f"{path} is missing, truncated or no file of this capture.", "Capture again.")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
