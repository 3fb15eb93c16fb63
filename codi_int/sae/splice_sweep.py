"""What every SAE of a sweep costs the model; kept with the SAE, so that a killed run does not measure it again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress
from codi_int.sae.grid import SweepRow
from codi_int.sae.spliced import SplicedMetrics, measure_spliced_all
from codi_int.sae.store import load_sae, save_sae
from codi_int.sae.sweep_table import spliced_measures
from codi_int.types import Problem

COUNT = "n_problems_spliced"


def splice_rows(
    model: CodiModel,
    rows: Sequence[SweepRow],
    problems: Sequence[Problem],
    progress: Progress | None = None,
) -> tuple[SweepRow, ...]:
    """The rows of a sweep with `spliced` filled in; the measures are also noted in each SAE's `cfg.json`.

    Args:
        problems: held-out problems; SAEs that were measured on as many before are not measured again.
        progress: called after every batch; the stage is `spliced at` the site.
    """
    done = [replace(row, spliced=_noted(row, len(problems))) for row in rows]
    # site by site: the clean pass and the mean are shared by all SAEs of a site
    for site in dict.fromkeys(row.site for row in rows):
        numbers = [i for i, row in enumerate(done) if row.site == site and row.spliced is None]
        if not numbers:
            continue
        saes = [load_sae(done[i].folder, device=str(model.device)) for i in numbers]
        measured = measure_spliced_all(model, saes, site, problems, progress)
        for i, sae, found in zip(numbers, saes, measured, strict=True):
            # undefined shares are left out, for measures are numbers; `_noted` does not need them, they are derived
            known = {key: value for key, value in spliced_measures(found).items() if value is not None}
            sae.annotate(measures={**sae.config.provenance.measures, **known})
            save_sae(sae, done[i].folder)
            done[i] = replace(done[i], spliced=found)
    return tuple(done)


def _noted(row: SweepRow, n_problems: int) -> SplicedMetrics | None:
    """The measures that an earlier run has noted; None where there are none."""
    known: Mapping[str, float] = load_sae(row.folder).config.provenance.measures
    names = [name for name in SplicedMetrics.__dataclass_fields__ if name != "n_problems"]
    # the count alone stands for the problems: others of the same number would not be noticed here
    if known.get(COUNT) != n_problems or not set(names) <= set(known):
        return None
    return SplicedMetrics(n_problems, **{name: known[name] for name in names})
