"""`codi-int doctor`: what a checkpoint is, what was assumed about it, and whether it is run rightly."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from codi_int.cli import _choices as c
from codi_int.cli import _options as o
from codi_int.cli._console import Report, tell
from codi_int.cli._fitting import Column, Page, table
from codi_int.cli._job import keep_as, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed
from codi_int.cli._signature import with_options

if TYPE_CHECKING:
    from codi_int.model.describe import ModelDescription
    from codi_int.model.parity import Parity

LONGEST_VALUE = 60
"""characters of a setting on the page"""


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(o.KeptOptions):
    """What no file tells about the model, and what to do with it."""

    base: Annotated[
        str | None, o.where(metavar="NAME", help="Base model of an official checkpoint: folder or hub name.")
    ] = None
    lora_alpha: Annotated[
        float | None,
        o.where(
            parser=o.number("--lora-alpha"),
            metavar="X",
            help="LoRA's alpha, which no file tells.  [default: 32, or as known]",
        ),
    ] = None
    remove_eos: Annotated[
        bool | None,
        o.where(
            "--remove-eos/--keep-eos",
            help="Whether no eos stands before the bot token.  [default: removed, or as known]",
        ),
    ] = None
    thoughts: Annotated[
        int | None,
        o.where(
            parser=o.whole("--thoughts", least=0),
            metavar="N",
            help="Thoughts, which no file tells.  [default: 6, or as known]",
        ),
    ] = None
    parity: Annotated[
        int, o.evidence(parser=o.whole("--parity", least=0), metavar="N", help="Compare so many with a plain loop.")
    ] = 0
    dtype: Annotated[c.ModelType, o.where(metavar="TYPE", help="float32, bfloat16 or float16, of the weights.")] = (
        "float32"
    )
    save: Annotated[
        Path | None, o.output(metavar="FOLDER", help="Write the model here, merged: other commands take it.")
    ] = None
    limit: int | None = field(default=None, init=False)
    """--parity says how many problems"""


@with_options
def doctor(options: DoctorOptions) -> None:
    """Look at a model before you trust it: what was found, what was assumed, sizes, memory, hashes.

    Example: codi-int doctor --model codi-mini --parity 8
    """
    folder = run_folder(options)

    def work(report: Report) -> Checkup:
        checkup = examine(options)
        # the model is all that is read, and looking at it is all the work: there is nothing to claim it before
        folder.claim(model=checkup.model.sha256)
        return checkup

    checkup = run_job(
        work,
        document=Checkup.to_dict,
        page=Checkup.page,
        as_json=options.as_json,
        out=folder,
        keep=keep_as("doctor.json", Checkup.to_dict),
    )
    # exit code 1 and not 2: the user made no mistake, the model did not pass; a script can tell the two apart
    if not checkup.healthy:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Checkup:
    """A model's description, and how far it is from the plain loop."""

    model: "ModelDescription"
    """what it is"""
    parity: "Parity | None"
    """the comparison; None where none was asked for"""

    @property
    def healthy(self) -> bool:
        """False where a float32 model differs from the plain loop; other types differ by rounding."""
        return self.parity is None or self.parity.agrees or self.model.dtype != "float32"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        parity = None if self.parity is None else {**asdict(self.parity), "agrees": self.parity.agrees}
        return {"schema": "codi-int/doctor@1", "model": asdict(self.model), "parity": parity}

    def page(self) -> Page:
        """For people."""
        parts: list[RenderableType] = [Text(self.model.name, style="bold"), "", _facts(self.model)]
        parts += ["", _assumptions(self.model)]
        return Page(*parts, *([] if self.parity is None else ["", _parity(self.parity, self.model.dtype)]))


def examine(options: DoctorOptions) -> Checkup:
    """Load a model, describe it, compare it, keep it."""
    from codi_int.data.problems import load_problems
    from codi_int.model.describe import describe_model
    from codi_int.model.loading import load_model
    from codi_int.model.parity import check_parity

    problems = load_problems(options.data, options.parity) if options.parity else ()
    model = load_model(
        options.model,
        base=options.base,
        lora_alpha=options.lora_alpha,
        remove_eos=options.remove_eos,
        n_thoughts=options.thoughts,
        device=options.device,
        dtype=options.dtype,
    )
    parity = check_parity(model, problems) if problems else None
    checkup = Checkup(describe_model(model), parity)
    # after the description: what is described is the model as it was loaded, not as it was written
    if options.save is not None:
        model.save(options.save)
        tell(f"Saved in {options.save}: give it as --model.")
    return checkup


def _facts(model: "ModelDescription") -> RenderableType:
    from codi_int.model.describe import TYPICAL_TOKENS
    from codi_int.model.hooked import BATCH_SIZE

    out = table("", Column("", text=True))
    ids = ", ".join(f"{name} {'none' if i is None else f'{i:,}'}" for name, i in model.special_ids.items())
    # weights and the keys and values of a whole batch; activations of one block are small beside both
    memory = model.weight_bytes + BATCH_SIZE * model.cache_bytes_per_problem
    # documents call the native format by its former name, `own`
    layout = "native format" if model.layout == "own" else f"{model.layout} layout"
    rows = {
        "architecture": f"{model.architecture}, {layout}",
        "layers": f"{model.n_layers}, width {model.d_model:,}, {model.n_heads} heads ({model.n_kv_heads} for keys)",
        "vocabulary": f"{model.vocab_size:,}{', input and output tied' if model.tied_embeddings else ''}",
        "longest text": f"{model.max_positions:,} tokens",
        "projection": model.projection,
        "thoughts": str(model.n_thoughts),
        "special tokens": ids,
        "eos at <bot> and <eot>": "no" if model.remove_eos else "yes",
        "weights": f"{model.n_parameters:,} in {model.dtype} on {model.device}, {_size(model.weight_bytes)}",
        "memory needed": f"about {_size(memory)} for batches of {BATCH_SIZE} problems of {TYPICAL_TOKENS} tokens",
        # as many digits as other pages show, to be compared by eye; --json has all 64
        "SHA-256 begins": model.sha256[:12],
    }
    for name, value in rows.items():
        out.add_row(name, value)
    return out


def _assumptions(model: "ModelDescription") -> RenderableType:
    # what was assumed is listed by itself: it is what a reader has to check, and it must not hide among the found
    read = {name: value for name, value in model.found.items() if name not in model.assumed}
    found = "\n".join(f"found: {name} = {_short(value)}" for name, value in read.items() if value not in (None, [], ""))
    assumed = "\n".join(
        f"assumed: {name} = {value} (no file tells; give it if you know better)"
        for name, value in model.assumed.items()
    )
    return Text("\n".join(part for part in (found, assumed or "assumed: nothing") if part))


def _parity(parity: "Parity", dtype: str) -> RenderableType:
    from codi_int.model.parity import TOLERANCE

    worst = max(parity.worst_by_layer)
    # relative to a state's length: lengths differ by layer, so one absolute bound would fit none of them
    layer = parity.worst_by_layer.index(worst)
    position = parity.worst_by_position.index(max(parity.worst_by_position))
    # two maxima, each over the other: they name one state, unless several are equally far off
    place = f"most in layer {layer}, and most at position {position}"
    states = f"differ by at most {worst:.1e} of their length ({place})" if worst else "are equal bit for bit"
    text = (
        f"against a plain Hugging Face loop on {counted(parity.n_problems, 'problem')}: states {states}, "
        f"{counted(parity.n_answers_equal, 'answer is', 'answers are')} the same"
    )
    # half types round by more than the bound for float32, so no verdict against it
    if dtype != "float32":
        return Text(f"{text}\n{dtype} rounds; the tolerance of {TOLERANCE:.0e} holds for float32.")
    verdict = "the model is run rightly" if parity.agrees else f"MORE THAN {TOLERANCE:.0e}: do not trust this model"
    return Text(f"{text}\n{verdict}", style="bold")


def _short(value: object) -> str:
    """A value on one line; --json has all of it."""
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE].rpartition(',')[0]}, ... (whole in --json)"


def _size(n_bytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{fixed(n_bytes / size, 1)} {unit}"
    return counted(n_bytes, "byte")
