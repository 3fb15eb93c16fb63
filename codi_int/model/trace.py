"""What a model does with single problems, in a form that people can read."""

from collections.abc import Sequence
from dataclasses import dataclass

from codi_int.model.hooked import BATCH_SIZE, CodiModel
from codi_int.model.vocabulary import unknown_id
from codi_int.progress import Progress
from codi_int.types import Number, Problem


@dataclass(frozen=True)
class ThoughtTrace:
    """One problem, thought through."""

    problem_id: str
    """which problem"""
    question: str
    """what the model read"""
    n_tokens: int
    """tokens of the question, <bot> included"""
    n_unknown: int
    """tokens of it that are outside the vocabulary"""
    thought_norms: tuple[float, ...]
    """length of each vector that the model fed itself"""
    thought_steps: tuple[float, ...]
    """cosine between each thought and the one before it, from the second thought on"""
    answer: Number | None
    """the number that was answered; None where none was"""
    text: str
    """what was written after the thoughts"""
    written: str | None = None
    """what the model writes without thoughts, where that was asked for"""


def trace_problems(
    model: CodiModel,
    problems: Sequence[Problem],
    written: bool = False,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> tuple[ThoughtTrace, ...]:
    """Think about some problems and describe each.

    Args:
        written: also let the model write its chain of thought in words, see `CodiModel.write_chain`.
        progress: called after every batch of thoughts.
    """
    from torch.nn.functional import cosine_similarity

    batch = model.think(problems, answers=True, batch_size=batch_size, progress=progress)
    norms = batch.thoughts.float().norm(dim=-1).tolist()
    cosines = cosine_similarity(batch.thoughts[:, 1:].float(), batch.thoughts[:, :-1].float(), dim=-1).tolist()
    chains = [c.text for c in model.write_chain(problems, batch_size=batch_size)] if written else [None] * len(problems)
    unknown = unknown_id(model)
    encoded = [model.encode_question(problem) for problem in problems]
    return tuple(
        ThoughtTrace(
            problem_id=problem.id,
            question=problem.question,
            n_tokens=len(encoded[i]),
            n_unknown=0 if unknown is None else encoded[i].count(unknown),
            thought_norms=tuple(norms[i]),
            thought_steps=tuple(cosines[i]),
            answer=batch.completions[i].answer,
            text=batch.completions[i].text,
            written=chains[i],
        )
        for i, problem in enumerate(problems)
    )
