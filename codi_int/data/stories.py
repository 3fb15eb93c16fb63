"""A seeded generator of word problems like GSM8K's, small enough for a small model to learn.

Every story has 1 to 4 steps on whole numbers from 0 to 99, or of the longer kind 1 to 6 steps up to 999, and is a pure
function of (kind, stream, index). A story is a chain of calculations on one running quantity, or branches: two
quantities are computed apart and then put together or compared. The held-out stories come from a stream of their own,
without repetition; the training stream leaves out every text that is held out.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count

from codi_int.catalog import CONFIRMATION as CONFIRMATION
from codi_int.catalog import CONFIRMATION_SIZE, SHIFTED_SPLITS, STORY_SPLITS
from codi_int.data import wordings as w
from codi_int.data.chains import chain_of
from codi_int.data.story_kinds import SHORT, StoryKind
from codi_int.data.story_numbers import calculate, choices, cumulative, number_weights, opening_pairs
from codi_int.errors import DataError
from codi_int.types import OPERATIONS, Operation, Problem, Step

SPLIT_SIZES = STORY_SPLITS


FINGERPRINTS = {
    "validation": "5a64db559551edf9",
    "sae": "8eb846e69fed35bb",
    "confirmation": "e3f74eb37dae6c1c",
    "confirmation/2": "71e401cacc2606a6",
    "shifted-operands": "ff6a21f03d3f0457",
    "shifted-steps": "8d799f911e57933d",
    "shifted-wording": "2fd698024a102165",
}
"""of the held-out splits: results on stories are comparable only between versions that agree on these"""

MORE_STEPS = 5
"""of `shifted-steps`: one more than any story of training"""


@dataclass
class _Teller:
    """A story while it is being told."""

    rng: random.Random
    names: list[str]
    thing: str
    containers: list[str]
    sentences: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    rare: bool = False
    """operands are numbers that stories hardly ever use"""
    reworded: bool = False
    """every sentence is said in other words"""
    kind: StoryKind = SHORT
    """how long it may be, and which numbers it may have"""

    def pick(self, options: tuple[str, ...]) -> str:
        return self.rng.choice(options)

    def say(self, template: str, subject: str, other: str, **values: object) -> None:
        c, k = self.containers
        said = self.words(template).format(s=subject, q=other, t=self.thing, c=c, k=k, **values)
        # other wordings have who it is about in the middle, too
        self.sentences.append(said.replace(" They ", " they ") if self.reworded else said)

    def words(self, template: str) -> str:
        """A sentence as it is, or in other words."""
        return w.REWORDED.get(template, template) if self.reworded else template

    def calculate(self, left: int, operation: Operation, right: int) -> int:
        value = calculate(left, operation, right, self.kind.max_number)
        assert value is not None
        self.steps.append(Step(left, operation, right, value))
        return value

    def opening(self, subject: str, operation: Operation, other: str) -> int:
        pairs, weights = opening_pairs(operation, self.rare, self.kind)
        left, right = self.rng.choices(pairs, cum_weights=cumulative(weights))[0]
        # a wording with a unit of its own renames the thing that is counted, which only the first sentence may do
        sentence = self.rng.choice([s for s in w.OPENINGS[operation] if not (s.unit and self.sentences)])
        self.say(sentence.text, subject, other, a=left, b=right)
        self.thing = sentence.unit or self.thing
        return self.calculate(left, operation, right)

    def continuation(self, value: int, subject: str, other: str) -> tuple[int, str, str]:
        """Carry on from `value`; returns the new value, who has it and somebody else."""
        drawn = [self.kind.draw_weights[o] * self.room(value, o) for o in OPERATIONS]
        operation = self.rng.choices(OPERATIONS, drawn)[0]
        rights, weights = choices(value, operation, self.rare, self.kind)
        right = self.rng.choices(rights, cum_weights=cumulative(weights))[0]
        wordings = [
            s
            for s in w.CONTINUATIONS[operation]
            if s.right in (None, right)
            and not (self.thing == "dollars" and (s.unit or "buys" in s.text))
            and not (subject == "They" and (s.to_other or "{s} sells" in s.text))
        ]
        sentence = self.rng.choice(wordings)
        text = self.words(sentence.text)
        self.say(_agree(text) if subject == "They" else text, subject, other, b=right)
        self.thing = sentence.unit or self.thing
        value = self.calculate(value, operation, right)
        return (value, other, subject) if sentence.to_other else (value, subject, other)

    def room(self, value: int, operation: Operation) -> float:
        """How much weight an operation keeps after `value`: none where no operand fits."""
        rights, weights = choices(value, operation, self.rare, self.kind)
        # near the ends of the range few operands are left; less weight keeps the same few facts from coming again
        return min(1.0, sum(weights) / 300) if rights else 0.0


def _agree(template: str) -> str:
    """A sentence about one person, said of several."""
    for one, many in (
        ("{s} buys", "{s} buy"),
        ("{s} gives", "{s} give"),
        ("{s} loses", "{s} lose"),
        ("{s} splits", "{s} split"),
        ("{s} shares", "{s} share"),
        ("{s} does", "{s} do"),
        ("gives {s}", "gives them"),
        ("and keeps", "and keep"),
        ("{s} then gets", "{s} then get"),
        ("{s} also finds", "{s} also find"),
        ("{s} keeps", "{s} keep"),
        ("{s} gets", "{s} get"),
        ("{s} has", "{s} have"),
        ("{s} also gets", "{s} also get"),
    ):
        template = template.replace(one, many)
    return template


def _operation(t: _Teller) -> Operation:
    return t.rng.choices(OPERATIONS, [t.kind.draw_weights[o] for o in OPERATIONS])[0]


def _chain(t: _Teller, n_steps: int, subject: str, other: str, spare: str) -> tuple[int, str]:
    """A quantity that goes through `n_steps` calculations; returns it and who has it in the end."""
    value = t.opening(subject, _operation(t), other)
    for _ in range(n_steps - 1):
        value, subject, other = t.continuation(value, subject, other)
        other = spare if t.rng.random() < 0.3 and spare != subject else other
    return value, subject


def _sequential(t: _Teller, n_steps: int) -> None:
    _, subject = _chain(t, n_steps, t.names[0], t.names[1], t.names[2])
    t.say(t.pick(w.QUESTIONS), subject, "")


def _combine(t: _Teller, left: tuple[int, str], right: tuple[int, str], n_more: int) -> bool:
    """Put two quantities together or compare them; False where the numbers do not allow it."""
    (a, first), (b, second) = left, right
    # a sum can go on, a difference ends the story; neither may leave the kind's numbers, for others have no tokens
    can_add, can_subtract = a + b <= t.kind.max_number, a > b
    if not can_add and not (can_subtract and n_more == 0):
        return False
    if can_add and (n_more or not can_subtract or t.rng.random() < 0.5):
        value = t.calculate(a, "addition", b)
        if n_more == 0:
            t.say(t.pick(w.TOGETHER), first, second)
            return True
        t.say(t.pick(w.POOLING), first, second)
        for _ in range(n_more):
            value, _, _ = t.continuation(value, "They", t.names[4])
        t.say(_plural_question(t.pick(w.QUESTIONS)), "they", "")
        return True
    t.calculate(a, "subtraction", b)
    t.say(t.pick(w.DIFFERENCE), first, second)
    return True


def _plural_question(template: str) -> str:
    return template.replace("does", "do").replace("{s} has", "{s} have")


def _branching(t: _Teller, n_steps: int) -> bool:
    """Two quantities, computed apart; False where the numbers did not fit (the caller tries again)."""
    if n_steps >= 3 and t.rng.random() < 0.35:
        return _two_products(t, n_steps - 3)
    n_more = _steps_behind(t, n_steps)
    n_left = t.rng.randint(1, n_steps - 1 - n_more)
    n_right = n_steps - 1 - n_more - n_left
    left = _chain(t, n_left, t.names[0], t.names[1], t.names[1])
    if t.thing == "dollars":
        return False
    if n_right:
        right = _chain(t, n_right, t.names[2], t.names[3], t.names[3])
    else:
        weights = number_weights(t.kind, t.rare)
        right = (t.rng.choices(list(weights)[1:], list(weights.values())[1:])[0], t.names[2])
        t.say(t.pick(w.HOLDING), right[1], "", a=right[0])
    return t.thing != "dollars" and _combine(t, left, right, n_more)


def _steps_behind(t: _Teller, n_steps: int) -> int:
    """How many steps come after two quantities were put together."""
    if t.kind.even_joins:
        return t.rng.randint(0, max(0, n_steps - 3))
    return 1 if n_steps == 4 and t.rng.random() < 0.4 else 0


def _two_products(t: _Teller, n_more: int) -> bool:
    pairs, weights = opening_pairs("multiplication", t.rare, t.kind)
    (a, b), (d, e) = t.rng.choices(pairs, cum_weights=cumulative(weights), k=2)
    if a * b + d * e > t.kind.max_number:
        return False
    subject, other = t.names[:2]
    t.say(t.pick(w.TWO_PRODUCTS), subject, other, a=a, b=b, d=d, e=e)
    value = t.calculate(t.calculate(a, "multiplication", b), "addition", t.calculate(d, "multiplication", e))
    for _ in range(n_more):
        value, subject, other = t.continuation(value, subject, other)
    t.say(t.pick(w.QUESTIONS), subject, "")
    return True


def story(stream: str, index: int, shift: str = "", kind: StoryKind = SHORT) -> Problem:
    """Story number `index` of a stream: the same on every machine.

    Args:
        stream: its name, such as `train`; streams of other kinds have other seeds.
        index: from 0 on.
        kind: how long stories are, and which numbers they have.
        shift: what is unlike training: operands, steps or wording; nothing by default.
    """
    stream = kind.stream_prefix + stream
    # seeded by text: Python hashes it with SHA-512, the same in every version and process, unlike hash()
    rng = random.Random(f"{stream}:{index}")
    n_steps = rng.choices(list(kind.step_weights), list(kind.step_weights.values()))[0]
    n_steps = MORE_STEPS if shift == "steps" else n_steps
    while True:
        teller = _Teller(
            rng,
            names=rng.sample(w.NAMES, 5),
            thing=rng.choice(w.THINGS),
            containers=rng.sample(w.CONTAINERS, 2),
            rare=shift == "operands",
            reworded=shift == "wording",
            kind=kind,
        )
        # numbers that do not fit are drawn again from the same generator, so a story is still a function of its index
        if n_steps > 1 and rng.random() < 0.4:
            if not _branching(teller, n_steps):
                continue
        else:
            _sequential(teller, n_steps)
        question = " ".join(teller.sentences)
        return Problem(f"{stream}-{index}", question, teller.steps[-1].result, tuple(teller.steps))


class _HeldOut:
    """The held-out stories in order, no text twice, told as far as they were asked for."""

    def __init__(self, kind: StoryKind) -> None:
        self._kind = kind
        self._told: list[Problem] = []
        self._seen: set[str] = set()
        self._indices = count()

    def first(self, number: int) -> list[Problem]:
        """The first so many."""
        while len(self._told) < number:
            # a stream of its own: no index of the training stream is ever held out, only equal texts are
            candidate = story("held-out", next(self._indices), kind=self._kind)
            if candidate.question not in self._seen:
                self._seen.add(candidate.question)
                self._told.append(candidate)
        return self._told[:number]


@cache
def _held_out_stories(kind: StoryKind) -> _HeldOut:
    return _HeldOut(kind)


def held_out(kind: StoryKind = SHORT) -> dict[str, tuple[Problem, ...]]:
    """The held-out splits, `validation` first, no text twice."""
    return {split: _held_out_split(split, None, kind) for split in SPLIT_SIZES}


@cache
def _held_out_split(split: str, limit: int | None = None, kind: StoryKind = SHORT) -> tuple[Problem, ...]:
    """A held-out split or its beginning, without telling the stories behind it."""
    names = list(SPLIT_SIZES)
    start = sum(SPLIT_SIZES[name] for name in names[: names.index(split)])
    size = SPLIT_SIZES[split] if limit is None else min(limit, SPLIT_SIZES[split])
    return tuple(_held_out_stories(kind).first(start + size)[start:])


@cache
def confirmation_stories(draw: int = 1, kind: StoryKind = SHORT) -> tuple[Problem, ...]:
    """Stories that selected nothing: draw 1 is `confirmation`, draw 2 `confirmation/2` and so on.

    No text of `validation`, `sae` or an earlier draw, and from two steps on no calculation chain of `validation` or
    `sae`. One-step stories keep theirs: there are only some hundreds of likely single calculations, and without these
    the split would be another population.
    """
    taken = [story for split in held_out(kind).values() for story in split]
    texts = {story.question for story in taken}
    texts.update(story.question for earlier in range(1, draw) for story in confirmation_stories(earlier, kind))
    chains = {chain_of(story) for story in taken if len(story.steps) > 1}
    stories: list[Problem] = []
    stream = CONFIRMATION if draw == 1 else f"{CONFIRMATION}/{draw}"
    for index in count():
        candidate = story(stream, index, kind=kind)
        if candidate.question in texts or chain_of(candidate) in chains:
            continue
        texts.add(candidate.question)
        stories.append(candidate)
        if len(stories) == CONFIRMATION_SIZE:
            return tuple(stories)
    raise AssertionError  # the stream has no end


@cache
def shifted_stories(split: str) -> tuple[Problem, ...]:
    """Stories unlike those of training in one way: `shifted-operands`, `shifted-steps` or `shifted-wording`.

    Operands that training hardly ever has (both of an opening, and every further one where some such number fits), five
    steps where training has up to four, or every sentence in other words of the same vocabulary. No text of another
    split, and from two steps on no calculation chain of `validation` or `sae`.
    """
    taken = [one for part in held_out().values() for one in part]
    texts = {one.question for one in taken}
    chains = {chain_of(one) for one in taken if len(one.steps) > 1}
    stories: list[Problem] = []
    for index in count():
        candidate = story(split, index, split.removeprefix("shifted-"))
        if candidate.question in texts or chain_of(candidate) in chains:
            continue
        texts.add(candidate.question)
        stories.append(candidate)
        if len(stories) == SHIFTED_SPLITS[split]:
            return tuple(stories)
    raise AssertionError  # the stream has no end


def _confirmation_draw(split: str) -> int | None:
    """Which draw a split's name means; None where it names another split."""
    name, _, number = split.partition("/")
    if name != CONFIRMATION:
        return None
    if "/" not in split:
        return 1
    # one name for one set of stories: neither /1 nor /02
    return int(number) if re.fullmatch(r"[2-9]|[1-9]\d{1,3}", number) else None


def problems_fingerprint(split: str, kind: StoryKind = SHORT) -> str:
    """The first 16 hex digits of a held-out split's SHA-256 over its questions and answers."""
    lines = "".join(f"{p.question}\t{p.answer}\n" for p in load_stories(split, kind=kind))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


@cache
def held_out_texts(kind: StoryKind = SHORT) -> frozenset[str]:
    """Every question text that training must never see."""
    return frozenset(problem.question for split in held_out(kind).values() for problem in split)


def training_stories(start: int = 0, kind: StoryKind = SHORT) -> Iterator[Problem]:
    """The endless training split from index `start`, without the held-out texts."""
    forbidden = held_out_texts(kind)
    # forbidden by text, not by numbers: the same calculation in other words may be trained on
    for index in count(start):
        candidate = story("train", index, kind=kind)
        if candidate.question not in forbidden:
            yield candidate


def load_stories(split: str, limit: int | None = None, kind: StoryKind = SHORT) -> tuple[Problem, ...]:
    """The first `limit` stories of a split (`train`, `sae`, `validation`, `confirmation`, `confirmation/2`, ...).

    Raises:
        DataError: the split does not exist, or `train` is asked for without a limit.
    """
    if split == "train":
        if limit is None:
            raise DataError(f"{kind.name}:train has no end.", "Give a limit, for instance limit=10000 (--limit 10000).")
        stream = training_stories(kind=kind)
        return tuple(next(stream) for _ in range(limit))
    draw = _confirmation_draw(split)
    if draw is not None:
        return confirmation_stories(draw, kind)[:limit]
    # stories unlike training exist for the model that ships with its SAEs alone
    shifted = SHIFTED_SPLITS if kind is SHORT else {}
    if split in shifted:
        return shifted_stories(split)[:limit]
    if split not in SPLIT_SIZES:
        known = ", ".join(("train", *SPLIT_SIZES, *shifted, CONFIRMATION))
        raise DataError(
            f"{kind.name}:{split} does not exist: {kind.name} has no split {split!r}.",
            f"Splits: {known}, {CONFIRMATION}/2, {CONFIRMATION}/3, ...",
        )
    return _held_out_split(split, limit, kind)
