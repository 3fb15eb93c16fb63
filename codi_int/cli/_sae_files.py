"""What `codi-int sae import` and `sae export` do once their options are read. Loaded when they run."""

from pathlib import Path
from typing import Any

from codi_int.cli._console import print_json, progress, stdout, tell
from codi_int.cli._fitting import Column, table
from codi_int.errors import ConfigError, SAEError
from codi_int.sae.base import SAE, check_fits
from codi_int.sae.evaluate import site_of
from codi_int.sae.published import export_published, import_published, published_site
from codi_int.sae.store import load_sae, save_sae

SCHEMA = "codi-int/sae-file@1"


def import_and_print(
    source: Path, out: Path, rule: str, model: str | None, place: tuple[int | None, int | None], as_json: bool
) -> None:
    """Read an SAE from elsewhere, note where it belongs, keep it in `out` and print what it is."""
    with progress():
        sae = _imported(source, rule, model, place)
    save_sae(sae, out)
    _tell(sae, out, as_json)


def _imported(source: Path, rule: str, model: str | None, place: tuple[int | None, int | None]) -> SAE:
    """The SAE with a note of where it belongs."""
    sae = load_sae(source) if source.is_dir() else import_published(source, rule)
    if place != (None, None):
        site = site_of(str(source), sae, *place)
        # a site in the file is a fact, one on the command line a claim: where both are there they have to agree
        if sae.site not in (None, site):
            raise SAEError(f"{source} was trained at {sae.site}, not at {site}.", "Leave --layer and --position out.")
        sae.annotate(site=site)
    if model is not None:
        _belongs(sae, model)
    return sae


def export_and_print(name: str, out: Path, format: str, as_json: bool) -> None:
    """Write an SAE for another tool and print what it is."""
    sae = load_sae(name)
    if format == "published":
        if out.suffix != ".pt":
            raise ConfigError(f"--out {out} is no .pt file.", "The published layout is one file, such as L14.P3.pt.")
        export_published(sae, out)
        # that layout has a position and a layer and nothing else: the site of a fed thought cannot be written in it
        if sae.site is not None and not published_site(sae.site):
            tell(f"warning: the published layout has no words for {sae.site}; it was left out.")
    else:
        save_sae(sae, out)
    _tell(sae, out, as_json)


def _belongs(sae: SAE, name: str) -> None:
    """Note the model; SAEError where the SAE cannot belong to it."""
    from codi_int.model.loading import load_model

    model = load_model(name)
    if sae.site is not None:
        check_fits(sae, model, model.check_site(sae.site))
    # without a site only the width can be compared; a wrong width would fail much later, inside an edit
    elif sae.d_in != model.d_model:
        raise SAEError(
            f"The SAE was trained on activations of width {sae.d_in}; d_model of {model.name} is {model.d_model}.",
            "Name the model that it was trained on.",
        )
    # the hash and not the name alone: a model that is trained on keeps its name, and the SAE would no longer fit
    sae.annotate(model=model.name, model_sha256=model.sha256)


def _tell(sae: SAE, out: Path, as_json: bool) -> None:
    """What the SAE is, as a table or JSON."""
    config, known = sae.config, sae.config.provenance
    facts: dict[str, Any] = {
        "folder": str(out),
        "architecture": config.architecture,
        "rule": config.rule if config.architecture == "topk" else None,
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "k": config.k,
        "site": str(known.site) if known.site else known.hook_name,
        "model": known.model,
        "sha256": sae.sha256,
    }
    if as_json:
        print_json({"schema": SCHEMA, **facts})
        return
    out_table = table("SAE", Column("", text=True))
    for key, value in facts.items():
        # digits of a hash that tell it from another; more do not fit beside their name
        shown = sae.sha256[:12] if key == "sha256" else f"{value:,}" if isinstance(value, int) else str(value)
        out_table.add_row("SHA-256 begins" if key == "sha256" else key, "unknown" if value is None else shown)
    stdout().print(out_table)
