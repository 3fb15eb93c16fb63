"""A report as one HTML file: the template with its own style and script, which are the only ones that it may run."""

import base64
import functools
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from codi_int.report.html.blocks import ReportPage
from codi_int.report.literal import show_controls

if TYPE_CHECKING:
    import jinja2

TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
MANY_ROWS = 20
"""rows from which a table has a field to search it"""


def render_report(page: ReportPage) -> str:
    """The page's HTML. Every text in it is escaped; only figures, which are ours, go in as they are."""
    style, script = _asset(STYLE), _asset(SCRIPT)
    # nothing is loaded, sent or framed; style and script are named by their hashes, so no other one runs
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_source(style)}'; script-src '{_source(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _template().render(page=page, style=style, script=script, policy=policy, many_rows=MANY_ROWS)


def _asset(name: str) -> str:
    return (files("codi_int.report.html") / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """How a content security policy names an inline style or script."""
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


@functools.cache
def _template() -> "jinja2.Template":
    import jinja2

    # a name that is missing is a slip of ours, not an empty place
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    return environment.from_string(_asset(TEMPLATE))


def _shown(value: object) -> object:
    """Text with its control characters written out, as on every page of ours."""
    return show_controls(value) if type(value) is str else value
