"""Which problems an edit broke, for a report: their text with its steps, and what was answered before and after."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from codi_int.report.html.blocks import Flip, Flips

if TYPE_CHECKING:
    from codi_int.types import Number, Outcome, Problem, Result

MOST_FLIPS = 100
"""of each kind that are shown: the counts say how many there are, and the kept table has them all"""
LONGEST = 4_000
"""characters of a problem's text"""
KINDS: tuple[Literal["broken", "fixed", "changed"], ...] = ("broken", "fixed", "changed")


def flips_of(result: "Result") -> Flips:
    """The flips of a result; a note says it where its problems are not at hand as they were."""
    from codi_int.runs.compare import problems_of

    if "intervened" not in result.outcomes:
        return Flips((), (), "The run has no answers of single problems.")
    # of `replace` what the SAE itself costs is no effect of the edit
    before = "reconstructed" if result.experiment.splice == "replace" else "clean"
    pairs = list(zip(result.outcomes[before], result.outcomes["intervened"], strict=True))
    found = {kind: [pair for pair in pairs if kind_of(*pair) == kind] for kind in KINDS}
    changed = [pair for kind in KINDS for pair in found[kind][:MOST_FLIPS]]
    if not changed:
        return Flips((), (), "No answer changed.")
    known = problems_of(result)
    problems = {} if known is None else {problem.id: problem for problem in known}
    counts = [(kind, len(found[kind])) for kind in KINDS]
    note = f"Before: the {before} arm; after: the intervened arm."
    if known is None:
        note += f" {result.experiment.data} is not at hand as it was, so the problems have no text here."
    if any(n > MOST_FLIPS for _, n in counts):
        note += f" The first {MOST_FLIPS} of each kind; outcomes.parquet has them all."
    return Flips([_flip(*pair, problems) for pair in changed], counts, note)


def kind_of(before: "Outcome", after: "Outcome") -> Literal["broken", "fixed", "changed"] | None:
    """What became of a problem; None where its answer is the same."""
    if before.correct != after.correct:
        return "broken" if before.correct else "fixed"
    # two right answers may be written in two ways, which is no change
    return "changed" if before.answer != after.answer and not before.correct else None


def _flip(before: "Outcome", after: "Outcome", problems: "Mapping[str, Problem]") -> Flip:
    problem = problems.get(before.problem_id)
    return Flip(
        problem_id=before.problem_id,
        what=kind_of(before, after) or "changed",
        before=answer_text(before.answer),
        after=answer_text(after.answer),
        true="" if problem is None else answer_text(problem.answer),
        question="" if problem is None else cut(problem.question),
        steps=() if problem is None else step_texts(problem),
    )


def step_texts(problem: "Problem") -> Sequence[str]:
    """The written calculation, a line for each step."""
    from codi_int.data.steps import SIGN_OF

    return [f"{step.left:,} {SIGN_OF[step.operation]} {step.right:,} = {step.result:,}" for step in problem.steps]


def answer_text(answer: "Number | None") -> str:
    """An answer as it is read: whole ones with separators."""
    return "no number" if answer is None else f"{answer:,}"


def cut(text: str) -> str:
    """A text that a page can show."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"
