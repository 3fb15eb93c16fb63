"""What a report holds, as plain records: whoever makes them knows the run, and the template knows neither."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ONE_LINE = 24
"""characters of a cell that does not wrap"""


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str
    """line ends stay"""
    kind: Literal["line", "small", "heading"] = "line"
    """`small`: how something was measured; `heading`: the title of what follows"""


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    """what stands in it"""
    link: str = ""
    """address within the page, such as `#L10.P5/121`, or a page beside it; empty for none"""
    covers: str = ""
    """of a link to a page of features: those that it has, such as `L10.P5/0-511`"""


@dataclass(frozen=True)
class Filter:
    """What a reader may ask of the rows of a table."""

    column: int
    """which column is asked"""
    label: str
    """what the field is called"""
    options: Sequence[str] = ()
    """what a cell may say, one of which is chosen; empty for a column of numbers, of which a range is chosen"""


@dataclass(frozen=True)
class TableBlock:
    """A table that a reader can sort."""

    headings: Sequence[str]
    """of its columns"""
    rows: Sequence[Sequence[Cell]]
    """one cell for each column"""
    text_columns: frozenset[int] = frozenset({0})
    """columns that are flush left"""
    hints: Sequence[str] = ()
    """what each heading stands for, where that alone does not say it; empty for none"""
    caption: str = ""
    """a line below"""
    filters: Sequence[Filter] = ()
    """fields above it"""

    @property
    def wrapped(self) -> frozenset[int]:
        """Columns of words that need several lines: those with a long text."""
        return frozenset(i for i in self.text_columns if any(len(row[i].text) > ONE_LINE for row in self.rows))


@dataclass(frozen=True)
class Picture:
    """A figure as inline SVG."""

    name: str
    """as its file is called"""
    svg: str
    """from `inline_svg`: nothing in it comes from outside unescaped"""


@dataclass(frozen=True)
class Flip:
    """A problem whose answer an edit changed."""

    problem_id: str
    """of the problem"""
    what: Literal["broken", "fixed", "changed"]
    """right before and wrong after, the reverse, or another wrong answer"""
    before: str
    """the answer of the arm that the effect is measured against"""
    after: str
    """the answer of the intervened arm"""
    true: str = ""
    """the true answer; empty where the problems are not at hand"""
    question: str = ""
    """its text"""
    steps: Sequence[str] = ()
    """the written calculation"""


@dataclass(frozen=True)
class Flips:
    """Which problems an edit broke, and which it fixed."""

    shown: Sequence[Flip]
    """at most `MOST_FLIPS` of each kind"""
    counts: Sequence[tuple[str, int]]
    """how many there are of each kind"""
    note: str = ""
    """why there are none, or why they have no text"""


Block = Words | TableBlock | Picture | Flips


@dataclass(frozen=True)
class RunReport:
    """One run."""

    key: str
    """its address within the page"""
    title: str
    """what was done"""
    question: str
    """that it answers"""
    conditions: Sequence[str]
    """on what, and how"""
    answers: Sequence[str]
    """the findings in words"""
    conclusion: str = ""
    """one of the four words, where the run has a single effect"""
    blocks: Sequence[Block] = ()
    """tables and lines, in the order of the command's page"""
    pictures: Sequence[Picture] = ()
    """its figures"""
    left_out: Sequence[str] = ()
    """what they do not show"""
    flips: Flips | None = None
    """None where the run has no answers of single problems"""
    notes: Sequence[str] = ()
    """what a reader should know besides"""
    manifest: Sequence[tuple[str, str]] = ()
    """what it was made from"""
    manifest_text: str = ""
    """the whole manifest as JSON"""
    links: Sequence[Cell] = ()
    """to the features that it is about"""


@dataclass(frozen=True)
class StepText:
    """A step of a written calculation."""

    text: str
    """as it is written"""
    marked: bool = False
    """whether it has what the feature is a specialist of"""


@dataclass(frozen=True)
class TopExample:
    """A problem on which a feature fires strongly."""

    problem_id: str
    """of the problem"""
    activation: str
    """the latent, with its sign"""
    question: str
    """its text"""
    steps: Sequence[StepText]
    """the written calculation"""
    answer: str
    """the true one"""


@dataclass(frozen=True)
class FeatureBlock:
    """One feature of an SAE."""

    address: str
    """within the page: `L10.P5/121`"""
    title: str
    """what it is called"""
    facts: Sequence[tuple[str, str]]
    """what is known of it, and under which name"""
    histogram: str
    """from `histogram_svg`: nothing in it comes from outside unescaped"""
    examples: Sequence[TopExample]
    """the strongest first"""
    neighbours: Sequence[Cell]
    """features like it, each with its address"""
    tables: Sequence[TableBlock] = ()
    """what it does in each context, and what its partners in dictionaries of other seeds do"""


@dataclass(frozen=True)
class ReportPage:
    """A page of one run, or of several."""

    title: str
    """of the page"""
    runs: Sequence[RunReport] = ()
    """at least one"""
    overview: TableBlock | None = None
    """the runs side by side, where they are several"""
    notes: Sequence[str] = field(default=())
    """on the page as a whole"""
    features: Sequence[FeatureBlock] = ()
    """of a dashboard"""
    links: Sequence[Cell] = ()
    """to pages that belong to it"""
    finds: bool = False
    """whether a feature on one of the pages that it lists can be gone to by its address"""
