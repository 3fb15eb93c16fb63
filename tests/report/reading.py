"""A report read back with the standard library's parser, which knows nothing of the template."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import chain

EMPTY = {"meta", "link", "br", "img", "input", "hr", "image", "path", "use", "rect", "circle", "line", "polygon"}
ADDRESSES = ("href", "src", "xlink:href", "action", "srcset", "poster", "data", "formaction")


@dataclass
class ReadPage(HTMLParser):
    """What a browser would find in a page."""

    texts: list[str] = field(default_factory=list)
    """outside of style and script"""
    scripts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    """the cells of every row of every table"""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        where = self.open[-1] if self.open else ""
        if where in ("script", "style"):
            (self.scripts if where == "script" else self.styles).append(data)
            return
        self.texts.append(data)
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def values(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes in self.tags if found == tag and name in attributes]

    def addresses(self) -> Iterator[str]:
        """Everything that a browser could follow or load."""
        for value in chain.from_iterable((a.get(name) for name in ADDRESSES) for _, a in self.tags):
            if value is not None:
                yield value


def read_page(html: str) -> ReadPage:
    """The page, every element of which is closed."""
    page = ReadPage()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def check_alone(html: str) -> ReadPage:
    """That a page loads nothing, runs nothing but its own script, and says so to the browser."""
    page = read_page(html)
    policy = next(
        a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert len(page.scripts) == len(page.styles) == 1
    # a page of the same dashboard, or report, lies in the same folder
    beside = re.compile(r"(report|features[\w.-]*)\.html(#.*)?")
    outside = [one for one in page.addresses() if not one.startswith(("#", "data:image/png;base64,"))]
    outside = [one for one in outside if not beside.fullmatch(one)]
    assert outside == []
    # what would run or style without a hash, and so be dropped by the policy
    loose = [(tag, name) for tag, a in page.tags for name in a if name.startswith("on") or name == "style"]
    assert loose == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)), "an identifier twice"
    return page
