"""`codi-int features specialize`: which features are specialists, by three rules side by side."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._feature_runs import FeatureOptions, profile_sides
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.files import write_csv, write_json

if TYPE_CHECKING:
    from codi_int.features.rule_table import RuleComparison

NAME, CELLS = "features-specialize", "features-specialize-cells"


@dataclass(frozen=True, kw_only=True)
class SpecializeOptions(FeatureOptions):
    """Which SAE, on which problems, and what counts."""

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

    Example: codi-int features specialize --layer 14 --position 3
    """
    from codi_int.cli._specialization_pages import specialize_page

    band, folder = _band(options.band), run_folder(options, free=("top",))

    def work(report: Any) -> "RuleComparison":
        from codi_int.features.rule_table import compare_rules
        from codi_int.features.specialization_records import RulePlan

        plan = RulePlan(margin=options.margin)
        profiles, confirming = profile_sides(options, folder, report, options.confirm)
        return compare_rules(profiles, confirming, plan, band)

    run_job(
        work,
        document=lambda found: found.to_dict(),
        page=lambda found: specialize_page(found, options.top),
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _band(text: str) -> tuple[float, float]:
    """`0.01-0.1` as two shares."""
    found = re.fullmatch(r"(\d*\.?\d+)-(\d*\.?\d+)", text)
    low, high = (float(found[1]), float(found[2])) if found else (1.0, 0.0)
    if not 0.0 <= low < high <= 1.0:
        raise ConfigError(f"--band takes two firing rates from 0 to 1, got {text}.", "Write --band 0.01-0.1.")
    return low, high


def _keep(found: "RuleComparison", out: Path) -> Kept:
    document = found.to_dict()
    write_json(out / f"{NAME}.json", document)
    rows = [table_row(row) for row in document["rows"]]
    write_csv(out / f"{NAME}.csv", rows, list(rows[0]) if rows else ["rank", "feature"])
    write_csv(out / f"{CELLS}.csv", document["cells"], list(document["cells"][0]))
    return Kept((f"{NAME}.json", f"{NAME}.csv", f"{CELLS}.csv"), [(document, out)])


def table_row(row: dict[str, Any]) -> dict[str, Any]:
    """A feature's row for a table: of its properties the one that it is called by, with its numbers."""
    plain = {name: value for name, value in row.items() if name != "properties"}
    first = next((one for one in row["properties"] if one["confirmed"]), None)
    names = ("n_firing", "n_both", "share", "base_rate", "difference", "low", "high", "p_value", "p_adjusted")
    plain["n_confirmed"] = sum(one["confirmed"] for one in row["properties"])
    plain["property"] = None if first is None else first["name"]
    again = {} if first is None else first["confirmation"]
    return plain | {f"confirmation_{name}": again.get(name) for name in names}
