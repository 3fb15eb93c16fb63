"""The site that `make docs` builds from these pages, without a network: Sphinx, MyST and furo.

The pages are Markdown as a code host shows it, so two things are worked out here. The index is the one list of pages:
its headings and links become the navigation. And links that leave docs/ (to code, to the README) lead to copies of
those files in the site.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COPIES = "files"
"""folder of the site that holds what lies outside of docs/"""

project = "codi-int"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "codi-int"
exclude_patterns = ["Thumbs.db", ".DS_Store"]
highlight_language = "text"
"""blocks without a language are what commands print"""
myst_heading_anchors = 6


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """A toctree of each list of the index, under the list's heading."""
    if docname != "index":
        return
    trees: list[str] = []
    for part in re.split(r"^(?=\*\*)", source[0], flags=re.MULTILINE):
        caption = re.match(r"\*\*(.+?)\*\*", part)
        pages = re.findall(r"\]\((?!\.\.|[a-z]+:)([\w/-]+)\.md\)", part)
        if pages:
            # the pages before the first heading have none
            head = f":caption: {caption[1]}\n" if caption else ""
            trees.append("```{toctree}\n:hidden:\n" + head + "\n" + "\n".join(dict.fromkeys(pages)) + "\n```\n")
    source[0] += "\n" + "\n".join(trees)


def lead_outside(app: Sphinx, doctree: nodes.document) -> None:
    """Links to files outside of docs/ lead to copies of them; a link to none is left, and becomes a warning."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    up = "../" * app.env.docname.count("/")
    for node in [*doctree.findall(pending_xref), *doctree.findall(download_reference)]:
        path, _, anchor = str(node.get("reftarget", "")).partition("#")
        target = (here / path).resolve()
        if not target.exists():  # MyST names pages without their ending
            target = target.with_name(target.name + ".md")
        if not path or not target.is_file() or target.is_relative_to(DOCS) or not target.is_relative_to(ROOT):
            continue
        name = target.relative_to(ROOT).as_posix()
        outside = getattr(app, "outside", None)
        if outside is None:
            outside = app.outside = set()  # type: ignore[attr-defined]
        outside.add(name)
        uri = f"{up}{COPIES}/{name}.txt" + (f"#{anchor}" if anchor else "")
        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=False))


def copy_outside(app: Sphinx, exception: Exception | None) -> None:
    """The copies, as plain text, which every browser shows."""
    if exception is None:
        for name in sorted(getattr(app, "outside", ())):
            copy = Path(app.outdir) / COPIES / f"{name}.txt"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", lead_outside)
    app.connect("build-finished", copy_outside)
    # copies are known to the build that read all pages
    return {"parallel_read_safe": False, "env_version": 1}
