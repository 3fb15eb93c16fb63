"""From the report of a run to the features that it is about, on the dashboard beside it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from codi_int.report.html.blocks import Cell, RunReport, TableBlock
from codi_int.types import Result

FEATURE, SITE = "feature", "site"
"""headings of the columns that name a feature"""


def link_features(made: RunReport, found: Any, dashboard: str) -> RunReport:
    """The report with links to a dashboard.

    Args:
        made: the report.
        found: what it is of: a screen, whose rows get links, or a result, whose features are named below its answer.
        dashboard: name of the page beside it, which finds every address.
    """
    kind = type(found).__name__
    if kind == "Screen":
        own = str(found.site)
        known = {(str(row.site), str(row.feature)) for row in found.rows if row.n_touched}
        blocks = [_linked(one, own, known, dashboard) if isinstance(one, TableBlock) else one for one in made.blocks]
        return replace(made, blocks=blocks)
    # of several sites it is not said which feature is of which
    if not isinstance(found, Result) or len(found.experiment.sites) > 1:
        return made
    place = str(found.experiment.site)
    links = [Cell(f"feature {one} at {place}", _address(dashboard, place, one)) for one in found.experiment.features]
    return replace(made, links=links)


def _linked(table: TableBlock, own: str, known: set[tuple[str, str]], dashboard: str) -> TableBlock:
    """Features that fire get a link; those of a table that names them otherwise, and dead ones, do not."""
    if FEATURE not in table.headings:
        return table
    column = list(table.headings).index(FEATURE)
    site = list(table.headings).index(SITE) if SITE in table.headings else None
    rows: list[Sequence[Cell]] = []
    for row in table.rows:
        where, feature = own if site is None else row[site].text, row[column]
        link = _address(dashboard, where, feature.text) if (where, feature.text) in known else ""
        rows.append([replace(cell, link=link) if i == column else cell for i, cell in enumerate(row)])
    return replace(table, rows=rows)


def _address(dashboard: str, site: str, feature: object) -> str:
    return f"{dashboard}#{quote(site, safe='/.:')}/{feature}"
