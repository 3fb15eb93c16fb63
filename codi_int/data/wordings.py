"""What the stories are told with: names, things, numbers and the sentences of each operation.

A sentence carries `{s}` (who holds the running quantity), `{q}` (somebody else), `{t}` (the things counted),
`{a}`, `{b}` (the operands), `{c}` (a container). Where `to_other` is set, the result belongs to `{q}` afterwards;
where `unit` is set, the result is counted in that unit.
"""

from dataclasses import dataclass

from codi_int.types import Operation

NAMES = ("Tom", "Ann", "Sam", "Mia", "Ben", "Eva", "Leo", "Zoe", "Max", "Ida", "Ali", "Kim", "Joe", "Liz")
THINGS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stamps", "toys", "cakes", "roses", "beads")
CONTAINERS = ("boxes", "bags", "baskets", "jars", "packs", "trays")

# Weights of the numbers as operands of GSM8K's simple steps (per mille of the operands from 0 to 99, rounded; numbers
# not listed share the rest evenly).
NUMBER_WEIGHTS = {
    1: 20,
    2: 141,
    3: 88,
    4: 69,
    5: 65,
    6: 45,
    7: 25,
    8: 37,
    9: 15,
    10: 55,
    11: 6,
    12: 40,
    13: 5,
    14: 10,
    15: 27,
    16: 14,
    17: 3,
    18: 12,
    20: 47,
    21: 5,
    22: 5,
    24: 17,
    25: 12,
    28: 5,
    30: 31,
    32: 5,
    35: 6,
    36: 8,
    40: 25,
    42: 4,
    45: 6,
    48: 6,
    50: 21,
    60: 29,
    70: 5,
    75: 5,
    80: 13,
    90: 8,
}
REST_WEIGHT = 0.9
"""weight of every number from 0 to 99 that is not in NUMBER_WEIGHTS"""

LARGE_OPERANDS = {
    100: 16,
    120: 10,
    140: 2,
    150: 7,
    160: 3,
    180: 4,
    200: 10,
    240: 4,
    250: 2,
    300: 7,
    360: 2,
    400: 4,
    500: 3,
    600: 3,
}
"""the operands above 99 that at least 1.7 of a thousand operands of GSM8K's steps up to 999 are, per mille; two thirds
of all that are above 99"""

DRAW_WEIGHTS: dict[Operation, float] = {
    "multiplication": 0.52,
    "addition": 0.12,
    "subtraction": 0.17,
    "division": 0.19,
}
"""weights with which operations are drawn, set so that the finished steps have GSM8K's shares (42, 22, 19, 17%):
multiplication often has no room below 100, and combining two quantities adds additions"""
LONG_DRAW_WEIGHTS: dict[Operation, float] = {
    "multiplication": 0.42,
    "addition": 0.16,
    "subtraction": 0.20,
    "division": 0.22,
}
"""the same for stories up to 999, set so that finished steps have the shares of GSM8K's steps up to 999 (38, 24, 21,
17%)"""


@dataclass(frozen=True)
class Sentence:
    """One way to say one calculation."""

    text: str
    """the template"""
    to_other: bool = False
    """the result belongs to `{q}`"""
    unit: str | None = None
    """the result is counted in this unit instead of in `{t}`"""
    right: int | None = None
    """the only right operand that the wording fits (twice, half)"""


OPENINGS: dict[Operation, tuple[Sentence, ...]] = {
    "multiplication": (
        Sentence("{s} buys {a} {c} with {b} {t} in each."),
        Sentence("{s} finds {b} {t} a day for {a} days."),
        Sentence("{s} has {a} {c} of {b} {t}."),
        Sentence("{s} sells {a} {t} for {b} dollars each.", unit="dollars"),
        Sentence("{q} has {a} {t} and {s} has {b} times as many."),
    ),
    "addition": (
        Sentence("{s} has {a} {t} and finds {b} more."),
        Sentence("{s} gets {a} {t} on Monday and {b} {t} on Friday."),
        Sentence("{s} has {a} old {t} and {b} new {t}."),
        Sentence("{q} has {a} {t} and {s} has {b} more than {q}."),
    ),
    "subtraction": (
        Sentence("{s} has {a} {t} and gives {b} to {q}."),
        Sentence("{s} has {a} {t} but loses {b}."),
        Sentence("{s} makes {a} {t} and sells {b} of them."),
        Sentence("{q} has {a} {t} and {s} has {b} fewer than {q}."),
    ),
    "division": (
        Sentence("{q} splits {a} {t} into {b} equal parts and {s} gets one part."),
        Sentence("{s} and other children share {a} {t}, and each of the {b} children gets the same."),
        Sentence("{s} puts {a} {t} into {b} {c} and keeps one of the {c}."),
    ),
}

CONTINUATIONS: dict[Operation, tuple[Sentence, ...]] = {
    "multiplication": (
        Sentence("{q} has {b} times as many as {s}.", to_other=True),
        Sentence("{s} sells all the {t} for {b} dollars each.", unit="dollars"),
        Sentence("{s} then gets {b} times as many."),
        Sentence("{q} has twice as many as {s}.", to_other=True, right=2),
        Sentence("{s} does the same for {b} days."),
    ),
    "addition": (
        Sentence("{s} buys {b} more."),
        Sentence("Then {q} gives {s} {b} {t}."),
        Sentence("{q} has {b} more than {s}.", to_other=True),
        Sentence("{s} also finds {b} {t}."),
    ),
    "subtraction": (
        Sentence("{s} gives {b} to {q}."),
        Sentence("{s} loses {b} of the {t}."),
        Sentence("{q} has {b} fewer than {s}.", to_other=True),
        Sentence("Then {s} sells {b} {t}."),
    ),
    "division": (
        Sentence("{s} splits them into {b} equal parts and keeps one part."),
        Sentence("{q} has half as many as {s}.", to_other=True, right=2),
        Sentence("{s} puts them into {b} {c} and gives one of the {c} to {q}.", to_other=True),
        Sentence("{s} shares them with others, and each of the {b} children gets the same."),
    ),
}

QUESTIONS = (
    "How many {t} does {s} have now?",
    "How many {t} does {s} have?",
    "What is the number of {t} that {s} has?",
)
TOGETHER = (
    "How many {t} do {s} and {q} have together?",
    "How many {t} do {s} and {q} have in total?",
)
DIFFERENCE = ("How many more {t} does {s} have than {q}?",)
POOLING = ("{s} and {q} put all their {t} together.",)
HOLDING = ("{s} has {a} {t}.",)
TWO_PRODUCTS = ("{s} buys {a} {c} with {b} {t} in each and {d} {k} with {e} {t} in each.",)

REWORDED = {
    "{s} buys {a} {c} with {b} {t} in each.": "{s} gets {a} {c} and in each {b} {t}.",
    "{s} finds {b} {t} a day for {a} days.": "Then for {a} days {s} gets {b} {t} each day.",
    "{s} has {a} {c} of {b} {t}.": "{s} keeps {b} {t} in each of {a} {c}.",
    "{s} sells {a} {t} for {b} dollars each.": "{s} gets {b} dollars for each of {a} {t}.",
    "{q} has {a} {t} and {s} has {b} times as many.": "{s} has {b} times as many {t} as {q}, and {q} has {a}.",
    "{s} has {a} {t} and finds {b} more.": "{s} finds {b} {t} and has {a} other {t}.",
    "{s} gets {a} {t} on Monday and {b} {t} on Friday.": "{s} makes {a} {t} on Monday and then {b} more on Friday.",
    "{s} has {a} old {t} and {b} new {t}.": "{s} keeps {a} old {t} and buys {b} new {t}.",
    "{q} has {a} {t} and {s} has {b} more than {q}.": "{s} has {b} more {t} than {q}, and {q} has {a}.",
    "{s} has {a} {t} and gives {b} to {q}.": "{q} gets {b} of the {a} {t} that {s} has.",
    "{s} has {a} {t} but loses {b}.": "{s} loses {b} of {a} {t}.",
    "{s} makes {a} {t} and sells {b} of them.": "{s} buys {a} {t} but sells {b}.",
    "{q} has {a} {t} and {s} has {b} fewer than {q}.": "{s} has {b} fewer {t} than {q}, and {q} has {a}.",
    "{q} splits {a} {t} into {b} equal parts and {s} gets one part.": (
        "{s} gets one of {b} equal parts of the {a} {t} that {q} has."
    ),
    "{s} and other children share {a} {t}, and each of the {b} children gets the same.": (
        "The {b} children split {a} {t} into equal parts, and {s} gets one part."
    ),
    "{s} puts {a} {t} into {b} {c} and keeps one of the {c}.": "{s} splits {a} {t} into {b} {c} and keeps one.",
    "{q} has {b} times as many as {s}.": "{q} gets {b} times the number that {s} has.",
    "{s} sells all the {t} for {b} dollars each.": "{s} gets {b} dollars for each of the {t}.",
    "{s} then gets {b} times as many.": "Then {s} has {b} times as many.",
    "{q} has twice as many as {s}.": "{q} gets twice the number that {s} has.",
    "{s} does the same for {b} days.": "Then for {b} days {s} does the same.",
    "{s} buys {b} more.": "Then {s} gets {b} more.",
    "Then {q} gives {s} {b} {t}.": "{q} then gives {b} more {t} to {s}.",
    "{q} has {b} more than {s}.": "{q} has as many as {s} and {b} more.",
    "{s} also finds {b} {t}.": "{s} also gets {b} other {t}.",
    "{s} gives {b} to {q}.": "{q} gets {b} of them.",
    "{s} loses {b} of the {t}.": "Then {s} loses {b}.",
    "{q} has {b} fewer than {s}.": "{q} has as many as {s} but {b} fewer.",
    "Then {s} sells {b} {t}.": "{s} gives {b} {t} to others.",
    "{s} splits them into {b} equal parts and keeps one part.": "{s} keeps one of {b} equal parts.",
    "{q} has half as many as {s}.": "{q} gets half the number that {s} has.",
    "{s} puts them into {b} {c} and gives one of the {c} to {q}.": "{q} gets one of {b} {c} that {s} puts them into.",
    "{s} shares them with others, and each of the {b} children gets the same.": (
        "The {b} children split them into equal parts, and {s} gets one part."
    ),
    "How many {t} does {s} have now?": "What number of {t} does {s} have now?",
    "How many {t} does {s} have?": "What number of {t} does {s} have?",
    "What is the number of {t} that {s} has?": "What is the number of all the {t} that {s} has now?",
    "How many {t} do {s} and {q} have together?": "What number of {t} do {s} and {q} have together?",
    "How many {t} do {s} and {q} have in total?": "What is the total number of {t} that {s} and {q} have?",
    "How many more {t} does {s} have than {q}?": "What number of {t} does {s} have more than {q}?",
    "{s} and {q} put all their {t} together.": "Then {s} and {q} put them all together.",
    "{s} has {a} {t}.": "{s} keeps {a} {t}.",
    "{s} buys {a} {c} with {b} {t} in each and {d} {k} with {e} {t} in each.": (
        "{s} has {a} {c} of {b} {t} and {d} {k} of {e} {t}."
    ),
}
"""every sentence in other words that the training's vocabulary has; operands, holders and results stay what they are"""
