"""`codi-int features specialize`: which features are specialists, by three rules side by side; of one or more sites."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._feature_runs import SitesOptions, profile_sides
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.files import write_csv, write_json

if TYPE_CHECKING:
    from codi_int.cli._fitting import Page
    from codi_int.features.rule_table import RuleComparison
    from codi_int.features.site_rules import RulesBySite

NAME, CELLS = "features-specialize", "features-specialize-cells"


@dataclass(frozen=True, kw_only=True)
class SpecializeOptions(SitesOptions):
    """Which SAEs, on which problems, and what counts."""

    confirm: Annotated[
        str,
        o.evidence(
            metavar="NAME",
            help="Where what is selected is tested again: default (stories:confirmation for stories, else folds), "
            "folds, or other problems.",
            autocompletion=_complete.data,
        ),
    ] = "default"
    margin: Annotated[
        float,
        o.evidence(
            parser=o.number("--margin", least=0.0),
            metavar="SHARE",
            help="A confirmed property is strong where it is so far above its base rate, declared beforehand.",
        ),
    ] = 0.2
    band: Annotated[
        str, o.evidence(metavar="FROM-TO", help="Firing rates of the common band of the table's second half.")
    ] = "0.01-0.1"
    top: Annotated[
        int, o.output(parser=o.whole("--top", least=0), metavar="N", help="Specialists of the tested rule to list.")
    ] = 20


@with_options
def specialize(options: SpecializeOptions) -> None:
    """Which features are specialists: by the published rule, with ties counted, and tested. With n in every cell.

    Several layers and positions: every combination that has an SAE, as one family: what is selected and confirmed is so
    over all features of all sites. Example: codi-int features specialize --layer 3,14 --position 1-6
    """
    band, folder = _band(options.band), run_folder(options, free=("top",))

    def work(report: Any) -> "RuleComparison | RulesBySite":
        from codi_int.features.rule_table import compare_rules
        from codi_int.features.site_rules import compare_sites
        from codi_int.features.specialization_records import RulePlan

        plan = RulePlan(margin=options.margin)
        sides = profile_sides(options, folder, report, options.confirm)
        if len(sides) == 1:
            return compare_rules(*sides[0], plan, band)
        return compare_sites(sides, plan, band, lambda done, total: report("rules", done, total))

    run_job(
        work,
        document=lambda found: found.to_dict(),
        page=lambda found: _page(found, options.top),
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _page(found: "RuleComparison | RulesBySite", top: int) -> "Page":
    from codi_int.cli._specialization_pages import site_rules_page, specialize_page
    from codi_int.features.rule_table import RuleComparison

    return specialize_page(found, top) if isinstance(found, RuleComparison) else site_rules_page(found, top)


def _band(text: str) -> tuple[float, float]:
    """`0.01-0.1` as two shares."""
    found = re.fullmatch(r"(\d*\.?\d+)-(\d*\.?\d+)", text)
    low, high = (float(found[1]), float(found[2])) if found else (1.0, 0.0)
    if not 0.0 <= low < high <= 1.0:
        raise ConfigError(f"--band takes two firing rates from 0 to 1, got {text}.", "Write --band 0.01-0.1.")
    return low, high


def _keep(found: "RuleComparison | RulesBySite", out: Path) -> Kept:
    from codi_int.features.rule_table import RuleComparison
    from codi_int.features.site_rules import table_row

    document = found.to_dict()
    write_json(out / f"{NAME}.json", document)
    if isinstance(found, RuleComparison):
        rows, cells = [table_row(row) for row in document["rows"]], document["cells"]
    else:
        rows, cells = document["rows"], found.cells()
    write_csv(out / f"{NAME}.csv", rows, list(rows[0]) if rows else ["rank", "feature"])
    write_csv(out / f"{CELLS}.csv", cells, list(cells[0]))
    return Kept((f"{NAME}.json", f"{NAME}.csv", f"{CELLS}.csv"), [(document, out)])
