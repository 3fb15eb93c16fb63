"""`codi-int capture`: activations of many problems on disk."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _choices as c
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, Page, table
from codi_int.cli._job import Kept, keep_on_interrupt, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed
from codi_int.cli._signature import with_options
from codi_int.cli._workers import check_engine, open_workers
from codi_int.progress import rename_stage
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.runs.workers import Bench
    from codi_int.sae.captures import Capture


@dataclass(frozen=True, kw_only=True)
class CaptureOptions(o.EngineOptions, o.ModelOptions):
    """What to keep, and where."""

    reinitialize: o.Reinitialize = None
    out: Annotated[Path, o.output(metavar="FOLDER", help="Folder of the capture.")]
    force: o.Force = False
    layers: o.AllLayers = ()
    positions: o.AllPositions = ()
    component: o.Component = "resid_post"
    data: o.Data = "stories:sae"
    dtype: Annotated[c.CaptureType, o.output(help="bfloat16 takes half the disk.")] = "float32"
    padding: Annotated[c.Padding, o.what(help="official: padding leaks as published.")] = "masked"


@with_options
def capture(options: CaptureOptions) -> None:
    """Keep the activations of problems: one safetensors file per layer, [position, problem, d_model].

    Without --layer and --position all of them. A stopped capture goes on where it was.
    Example: codi-int capture --layer 14 --position 3 --out runs/activations/train
    """
    from codi_int.sae.captures import SIDECAR, layer_file, read_sidecar

    def kept() -> str:
        # asked of the disk at the moment of Ctrl-C: nothing is kept where the run stopped before its first batch
        if not (options.out / SIDECAR).exists():
            return ""
        info = read_sidecar(options.out)
        return f"{info.n_done:,} of {len(info.problem_ids):,} problems are kept in {options.out}"

    check_engine(options, options.out)
    folder = run_folder(options, own=(SIDECAR,))

    def work(report: Report) -> "Capture":
        with keep_on_interrupt(kept):
            return _run(options, folder, report)

    def keep(found: "Capture", out: Path) -> Kept:
        # the capture has written its files; they are not named, for the page does it
        return Kept((), files=[SIDECAR, *(layer_file(out, layer).name for layer in found.info.layers)])

    run_job(work, document=capture_document, page=capture_page, as_json=options.as_json, out=folder, keep=keep)


def _run(options: CaptureOptions, folder: RunFolder, report: Report) -> "Capture":
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.model.loading import load_model
    from codi_int.sae.captures import capture_to_disk

    problems = load_problems(options.data, options.limit)
    model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
    folder.claim(model=model.sha256, data=problems_sha256(problems))
    with open_workers(options, folder, "codi_int.cli.capture:open_units") as runner:
        return capture_to_disk(
            model,
            problems,
            options.out,
            data=options.data,
            layers=options.layers or None,
            positions=options.positions or None,
            dtype=options.dtype,
            padding=options.padding,
            component=options.component,
            progress=rename_stage(report, "problems captured"),
            runner=runner,
        )


def open_units(options: CaptureOptions) -> "Bench":
    """Everything that a worker needs to think about problems; see `codi_int.runs.workers`."""
    from codi_int.cli._console import begin_worker
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.model.loading import load_model
    from codi_int.runs.workers import Bench
    from codi_int.sae.captures import chunk_runner, describe_capture

    begin_worker()
    problems = load_problems(options.data, options.limit)
    model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
    layers, positions = options.layers or None, options.positions or None
    wanted = describe_capture(
        model,
        problems,
        options.data,
        layers,
        positions,
        padding=options.padding,
        component=options.component,
    )
    return Bench(chunk_runner(model, problems, wanted), {"model": model.sha256, "data": problems_sha256(problems)})


def capture_document(capture: "Capture") -> dict[str, Any]:
    """The sidecar without the problems' ids, and what it takes."""
    from codi_int.sae.captures import layer_file

    info = asdict(capture.info)
    # all ids would be most of the document; the hash of the data says the same
    n_problems = len(info.pop("problem_ids"))
    n_bytes = sum(layer_file(capture.folder, layer).stat().st_size for layer in capture.info.layers)
    known = {key: value for key, value in info.items() if key != "n_done"}
    return {"schema": "codi-int/capture@1", **known, "n_problems": n_problems, "bytes": n_bytes}


def capture_page(capture: "Capture") -> Page:
    """Where the activations lie, their shape and where they come from."""
    from codi_int.sae.captures import SIDECAR, layer_file

    info, document = capture.info, capture_document(capture)
    head = Text(
        f"Activations of {info.model} on {counted(document['n_problems'], 'problem')} of {info.data}", style="bold"
    )
    out = table("file", "position x problem x d_model", Column("dtype", rank=2), Column("MiB", rank=1))
    # position first: one position of all problems is one contiguous piece of the file, which training reads
    shape = [len(info.positions), document["n_problems"], info.d_model]
    for layer in info.layers:
        path = layer_file(capture.folder, layer)
        sizes = " x ".join(f"{size:,}" for size in shape)
        out.add_row(path.name, sizes, info.dtype, fixed(path.stat().st_size / 2**20, 1))
    where = f"{fixed(document['bytes'] / 2**20, 1)} MiB in {capture.folder}, described in {SIDECAR}"
    hashes = f"SHA-256 begins: model {info.model_sha256[:12]}, data {info.data_sha256[:12]}, padding {info.padding}"
    positions = f"{info.component} at positions {', '.join(map(str, info.positions))}"
    return Page(*(head, "", out, ""), Text(f"{where}\n{positions}"), Text(hashes, style="dim"))
