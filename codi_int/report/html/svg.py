"""Matplotlib's SVG as it can stand inside a page: it follows the page's colours and needs no style of its own.

Black ink becomes `currentColor`, white the page's own colour and pale grey that of its lines, by class; other colours
stay, and so does ink on a coloured cell (`style.INK_ON_BRIGHT`). Style attributes become presentation attributes, for
the page's content security policy allows no style but its own; identifiers get a prefix, for one page has several
figures.
"""

import re
from xml.etree import ElementTree

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
DROPPED = {f"{SVG}metadata", f"{SVG}style"}
INKS = {"#000000", "#262626", "#444444", "black"}
PAPERS = {"#ffffff", "white"}
PALES = {"#d0d0d0"}
"""of bands and grids (`style.PALE`), which would glare on a dark page"""
PRESENTATION = {
    *("fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray"),
    *("stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "opacity", "text-anchor"),
    *("clip-path", "image-rendering", "font-size", "font-weight", "font-style", "dominant-baseline"),
}
"""properties that are attributes as well"""
FONT = re.compile(r"(?:(italic|oblique)\s+)?(?:(\d{3}|bold)\s+)?([\d.]+)px")
POINTS_TO_PIXELS = 96 / 72
"""CSS' pixels in a point"""


def inline_svg(text: str, prefix: str, label: str) -> str:
    """The SVG for a page.

    Args:
        text: what matplotlib wrote, letters as text (`svg.fonttype: none`).
        prefix: begins every identifier; another one for each figure of a page.
        label: what a screen reader says of it.
    """
    root = ElementTree.fromstring(text)
    _drop(root)
    for element in root.iter():
        _restyle(element)
        _prefix(element, prefix)
    width = float(root.attrib.pop("width").removesuffix("pt")) * POINTS_TO_PIXELS
    root.attrib.pop("height")
    # the two lines of matplotlib's own style sheet, which would hold for the whole page
    root.attrib |= {"width": f"{width:.0f}", "stroke-linejoin": "round", "stroke-linecap": "butt"}
    root.attrib |= {"role": "img", "aria-label": label}
    ElementTree.register_namespace("", SVG.strip("{}"))
    return ElementTree.tostring(root, encoding="unicode")


def _drop(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag in DROPPED:
            element.remove(child)
        else:
            _drop(child)


def _restyle(element: ElementTree.Element) -> None:
    """Its style as attributes, black and white as the page's colours."""
    pairs = (part.split(":", 1) for part in element.attrib.pop("style", "").split(";") if ":" in part)
    style = {name.strip(): value.strip() for name, value in pairs}
    if found := FONT.match(style.pop("font", "")):
        slant, weight, size = found.groups()
        style |= {"font-size": size}
        style |= ({"font-style": slant} if slant else {}) | ({"font-weight": weight} if weight else {})
    element.attrib |= {name: value for name, value in style.items() if name in PRESENTATION}
    classes = []
    for name in ("fill", "stroke"):
        value = element.attrib.get(name, "").lower()
        if value in INKS:
            element.set(name, "currentColor")
        elif value in PAPERS:
            # an attribute cannot name a variable everywhere, a class can
            classes.append(f"paper-{name}")
        elif value in PALES:
            classes.append(f"pale-{name}")
    # what says no colour is black by SVG's rule, letters and closed shapes alike
    if element.tag == f"{SVG}text" and "fill" not in element.attrib:
        element.set("fill", "currentColor")
    if classes:
        element.set("class", " ".join(classes))


def _prefix(element: ElementTree.Element, prefix: str) -> None:
    for name, value in list(element.attrib.items()):
        if name == "id":
            element.set(name, f"{prefix}-{value}")
        elif name in ("href", f"{XLINK}href"):
            del element.attrib[name]
            element.set("href", f"#{prefix}-{value[1:]}" if value.startswith("#") else value)
        elif value.startswith("url(#"):
            element.set(name, value.replace("url(#", f"url(#{prefix}-"))
