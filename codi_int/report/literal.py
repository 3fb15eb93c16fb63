"""Names and texts from outside, as they may stand on a terminal, a page or a figure: literally, controls shown."""

import unicodedata
from collections.abc import Mapping
from typing import Any

# What moves a terminal's cursor or turns the reading direction is shown, not sent: Cc are control characters (escape
# sequences begin with one), Cs halves of surrogate pairs (they cannot be encoded), Zl and Zp line separators.
SHOWN = {"Cc", "Cs", "Zl", "Zp"}
# Format characters that re-order what follows; others (joiners of emoji and of scripts) belong to the text.
LONGEST = 400
"""characters of one text in a figure; matplotlib draws a text glyph by glyph, ten seconds for some 100,000"""
TURNING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


def show_controls(text: str) -> str:
    r"""The text with control characters written out, as `\x1b`; line ends and tabs stay, for pages are made of them."""
    if text.isascii() and text.isprintable():  # nearly every text, at a tenth of the time
        return text
    return "".join(map(_shown, text))


def literal_document(value: Any) -> Any:
    """A JSON document as figures take it: controls of all texts written out, keys too, and long texts cut."""
    if isinstance(value, str):
        return show_controls(value if len(value) <= LONGEST else value[: LONGEST - 1] + "…")
    if isinstance(value, Mapping):
        return {literal_document(key): literal_document(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [literal_document(inner) for inner in value]
    return value


def _shown(character: str) -> str:
    if character in "\n\t" or (unicodedata.category(character) not in SHOWN and character not in TURNING):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
