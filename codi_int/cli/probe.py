"""`codi-int probe`: what can be read where, and whether the answer needs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import Report, tell
from codi_int.cli._job import Kept, keep_on_interrupt, run_folder, run_job
from codi_int.cli._numbers import counted
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.files import read_json_object, write_csv, write_json
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.model.hooked import CodiModel
    from codi_int.probes.records import ProbeMap, ProbeRow
    from codi_int.sae.base import SAE
    from codi_int.types import Site

FINISHED = "finished-probes.json"
"""rows of an interrupted run"""


@dataclass(frozen=True, kw_only=True)
class ProbeOptions(o.KeptOptions):
    """What is read, where, and what it is held against."""

    target: Annotated[
        str,
        o.what(
            metavar="TARGET",
            help="operation:N, result:N, left:N or right:N (of step N), n_steps, answer or correct.",
        ),
    ]
    source: Annotated[
        c.ProbeSource, o.what("--from", metavar="SOURCE", help="residuals, thoughts (those fed) or latents.")
    ] = "residuals"
    method: Annotated[c.ProbeMethod, o.what(help="ridge is in closed form; logistic is for classes.")] = "ridge"
    ks: Annotated[
        tuple[int, ...],
        o.what("--k", metavar="N", help="Also sparse probes on so many latents: 1,4,16."),
        partial(o.whole_numbers, option="--k"),
    ] = ()
    layers: o.AllLayers = ()
    positions: o.AllPositions = ()
    sae: o.Sae = None
    folds: Annotated[
        int, o.evidence(parser=o.whole("--folds", least=2), metavar="N", help="Parts tested one after the other.")
    ] = 5
    controls: Annotated[
        int, o.evidence(parser=o.whole("--controls", least=1), metavar="N", help="Labellings of the control task.")
    ] = 3
    causal: Annotated[
        int,
        o.evidence(
            "--directions",
            parser=o.whole("--directions", least=0),
            metavar="N",
            help="Random subspaces beside the probe's own, whose removal is tried; 0 removes nothing.",
        ),
    ] = 20
    confirm: Annotated[
        str,
        o.evidence(
            metavar="NAME",
            help="Where the most selective probe is tested again: default (stories:confirmation for stories), none, or "
            "other problems.",
            autocompletion=_complete.data,
        ),
    ] = "default"
    wrong: Annotated[
        int,
        o.evidence(
            parser=o.whole("--wrong", least=1),
            metavar="N",
            help="Of --target correct on stories: draw fresh ones until so many are answered wrongly.",
        ),
    ] = 400
    seed: Annotated[
        int, o.evidence(parser=o.whole("--seed", least=0, most=o.MOST_SEED), metavar="N", help="Of everything random.")
    ] = 0


@with_options
def probe(options: ProbeOptions) -> None:
    """Fit linear probes site by site: what can be read where, beyond a control task, and does the answer need it?

    No calculation is both fitted to and tested on; the penalty is chosen inside each fold. Selectivity is the score
    minus that of random labels. With --out an interrupted run goes on where it stopped.

    Example: codi-int probe --target operation:1 --layer 10 --position 1-3
    """
    from codi_int.cli._probe_pages import probe_page
    from codi_int.probes.records import ProbeMap
    from codi_int.probes.targets import parse_target

    # said before anything is loaded
    target = parse_target(options.target)
    if options.method == "logistic" and target.kind == "numbers":
        raise ConfigError(f"--method logistic cannot read {target}, which is a number.", "Use --method ridge.")
    if options.ks and options.source != "latents":
        raise ConfigError("--k is for sparse probes on latents.", "Add --from latents, or leave out --k.")
    if options.source == "thoughts" and options.layers:
        raise ConfigError("--layer does not go with --from thoughts: they belong to no layer.", "Leave out --layer.")
    folder = run_folder(options, growing=("layers", "positions", "ks"))
    run_job(
        lambda report: _run(options, folder, report),
        document=ProbeMap.to_dict,
        page=probe_page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _run(options: ProbeOptions, folder: RunFolder, report: Report) -> "ProbeMap":
    from codi_int.cli._sites import open_model
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.probes.probing import ProbeCheckpoint
    from codi_int.probes.probing import probe as probe_model
    from codi_int.probes.task import ProbeSettings

    settings = ProbeSettings(
        source=options.source,
        method=options.method,
        ks=options.ks,
        folds=options.folds,
        control_draws=options.controls,
        confirm=options.confirm,
        causal=options.causal,
        wrong=options.wrong,
        seed=options.seed,
    )
    problems = load_problems(options.data, options.limit)
    model = open_model(options.model, options.device)
    sites, saes = _sites(options, model)
    hashes = {"model": model.sha256, "data": problems_sha256(problems)}
    if saes:
        hashes["sae"] = ",".join(sae.sha256 for sae in saes.values())
    folder.claim(**hashes)
    done = _finished(folder)
    if done:
        tell(f"Going on: {_rows_are(done)} finished in {options.out}.")

    def kept() -> str:
        return f"{_rows_are(_finished(folder))} kept in {options.out}" if folder.path else ""

    with keep_on_interrupt(kept):
        return probe_model(
            model,
            problems,
            options.target,
            sites=sites,
            saes=saes,
            settings=settings,
            checkpoint=ProbeCheckpoint(done, None if folder.path is None else partial(_keep_rows, folder.path)),
            progress=report,
        )


def _sites(options: ProbeOptions, model: "CodiModel") -> "tuple[tuple[Site, ...], dict[Site, SAE]]":
    """The sites asked for, and the SAEs whose latents are read; SiteError where the model does not have one."""
    from codi_int.cli._sites import saes_for
    from codi_int.probes.activations import sites_of
    from codi_int.sae.store import load_sae
    from codi_int.types import Site

    for layer in options.layers:
        model.check_site(Site(layer, 0))
    for position in options.positions:
        model.check_site(Site(0, position))
    sites = tuple(
        site
        for site in sites_of(model, options.source)
        if (not options.layers or site.layer in options.layers)
        and (not options.positions or site.position in options.positions)
    )
    if options.source != "latents":
        return sites, {}
    names = saes_for(options.model, options.sae, list(sites))
    saes = {site: load_sae(name, device=options.device) for site, name in names.items()}
    return tuple(saes), saes


def _rows_are(rows: "Sequence[ProbeRow]") -> str:
    return f"{counted(len(rows), 'row')} {'is' if len(rows) == 1 else 'are'}"


def _finished(folder: RunFolder) -> "tuple[ProbeRow, ...]":
    """Rows that an interrupted run has left; the folder is known to be this run's."""
    from codi_int.probes.records import ProbeRow
    from codi_int.records import unflatten

    path = None if folder.path is None else folder.path / FINISHED
    if path is None or not path.is_file():
        return ()
    rows = read_json_object(path, remedy="Remove it, or give another folder.")["rows"]
    return tuple(unflatten(ProbeRow, row) for row in rows)


def _keep_rows(out: Path, rows: "Sequence[ProbeRow]") -> None:
    from codi_int.records import flatten

    write_json(out / FINISHED, {"rows": flatten(list(rows))})


def _keep(found: "ProbeMap", out: Path) -> Kept:
    document, rows = found.to_dict(), found.table_rows()
    write_json(out / "probe.json", document, indent=1)
    write_csv(out / "probe.csv", rows, list(rows[0]))
    names = ("probe.json", "probe.csv")
    return Kept(names, [(document, out)], [*names, FINISHED])
