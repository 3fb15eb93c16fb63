"""The CODI loss (arXiv:2502.21074): written chain, latent chain, and the distance between the two.

    loss = CE(written chain and answer) + CE(answer after the thoughts)
           + weight * smooth-L1(student's states, teacher's states) at the token before the answer

The states are the outputs of every block and of the final norm, each layer divided by the standard deviation of the
teacher's; the teacher's are detached. The last step of the written chain is left out, as published: its result is the
answer, and the state before the answer would have nothing left to compute.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from codi_int.data import story_tokenizer as st
from codi_int.training.batches import COLON, DrillBatch, StoryBatch
from codi_int.training.network import Pass, TrainingNetwork
from codi_int.training.recipe import Recipe


@dataclass(frozen=True)
class Losses:
    """The parts of the loss on one batch, in nats where they are cross-entropies."""

    total: Tensor
    """what is minimised"""
    written: Tensor
    """cross-entropy of the written chain and its answer"""
    latent: Tensor
    """cross-entropy of the answer after the thoughts"""
    distance: Tensor
    """smooth-L1 distance between the two chains' states"""
    right: Tensor
    """share of stories answered rightly after the thoughts"""


def drill_loss(net: TrainingNetwork, batch: DrillBatch) -> Losses:
    """Cross-entropy of the results in lines of bare calculations."""
    t = batch.ids.shape[1] - 1
    read = net.read(net.embed(batch.ids[:, :-1]), torch.arange(t), torch.ones(t, t, dtype=torch.bool).tril())
    targets, weights = batch.ids[:, 1:], batch.weights[:, 1:]
    logits = net.logits(read.final)
    ce = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(weights)
    loss = (ce * weights).sum() / weights.sum()
    results = weights == 1
    right = (logits.argmax(-1) == targets)[results].float().mean()
    zero = torch.zeros(())
    return Losses(total=loss, written=loss.detach(), latent=zero, distance=zero, right=right)


def story_loss(net: TrainingNetwork, projection: nn.Module, batch: StoryBatch, recipe: Recipe, joint: bool) -> Losses:
    """The loss on stories; without `joint` only the written chain's part."""
    read = read_question_and_chain(net, batch)
    written = _written_loss(net, read, batch)
    zero = torch.zeros(())
    if not joint:
        return Losses(total=written, written=written.detach(), latent=zero, distance=zero, right=zero)
    answer = think(net, projection, read, batch, recipe.n_thoughts)
    logits = net.logits(answer.final)
    latent = _answer_loss(logits, batch, recipe.fixed_word_weight)
    distance = _distance(answer, read, batch)
    total = written + latent + recipe.distill_weight * distance
    right = number_right(logits, batch).float().mean()
    return Losses(
        total=total,
        written=written.detach(),
        latent=latent.detach(),
        distance=distance.detach(),
        right=right,
    )


def read_question_and_chain(net: TrainingNetwork, batch: StoryBatch) -> Pass:
    """One pass over question, written chain and `<bot>`; `<bot>` does not see the chain."""
    n_question, n_written = batch.question.shape[1], batch.written.shape[1] - 1
    bot = torch.full_like(batch.question[:, :1], st.encode_special(st.BOT)[0])
    ids = torch.cat((batch.question, batch.written[:, :-1], bot), dim=1)
    t = ids.shape[1]
    positions = torch.arange(t)
    # <bot> stands behind the chain in memory and behind the question in position: one pass serves teacher and student
    positions[-1] = n_question
    mask = torch.ones(t, t, dtype=torch.bool).tril()
    # what <bot> could see of the written chain, the thoughts would not have to compute
    mask[-1, n_question : n_question + n_written] = False
    return net.read(net.embed(ids), positions, mask)


def think(net: TrainingNetwork, projection: nn.Module, read: Pass, batch: StoryBatch, n_thoughts: int) -> Pass:
    """The thoughts and behind them the answer's tokens; returns the pass over the answer."""
    n_question, n_written = batch.question.shape[1], batch.written.shape[1] - 1
    # the written chain's keys and values fall away: the thoughts read the question, <bot> and each other
    question, _, own = read.segment.split([n_question, n_written, 1])
    state = read.final[:, -1:]
    for i in range(n_thoughts):
        step = net.extend(projection(state), n_question + 1 + i, question, own)
        state, own = step.final, step.segment
    return net.extend(net.embed(batch.answer[:, :-1]), n_question + 1 + n_thoughts, question, own)


def written_logits(net: TrainingNetwork, read: Pass, batch: StoryBatch) -> Float[Tensor, "batch t_written vocab"]:
    """What is predicted for each token of `batch.written`."""
    # the question's last token predicts the chain's first
    start = batch.question.shape[1] - 1
    return net.logits(read.final[:, start : start + batch.written.shape[1]])


def _written_loss(net: TrainingNetwork, read: Pass, batch: StoryBatch) -> Tensor:
    logits = written_logits(net, read, batch)
    ce = F.cross_entropy(logits.flatten(0, 1), batch.written.flatten(), reduction="none").view_as(batch.written)
    return (ce * batch.written_mask).sum() / batch.written_mask.sum()


def number_right(logits: Float[Tensor, "batch t vocab"], batch: StoryBatch) -> Bool[Tensor, " batch"]:
    """Whether every token of a story's number is the likeliest one, those before it given."""
    right: Tensor = ((logits.argmax(-1) == batch.answer[:, 1:]) | ~batch.number_mask).all(1)
    return right


def _answer_loss(logits: Float[Tensor, "batch t vocab"], batch: StoryBatch, fixed_word_weight: float) -> Tensor:
    targets = batch.answer[:, 1:]
    ce = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    # the words around the number are the same in every answer; at full weight they would drown it early on
    number, fixed = batch.number_mask, batch.fixed_mask
    # of a number of two tokens both count: the sum is how unlikely the whole number is
    return (ce * number).sum(1).mean() + fixed_word_weight * (ce * fixed).sum() / fixed.sum()


def _distance(answer: Pass, read: Pass, batch: StoryBatch) -> Tensor:
    rows = torch.arange(batch.question.shape[0])
    # [batch]: the ":" of "The answer is:", whose next token is the number, in question + chain
    colon = batch.question.shape[1] + batch.written_colon
    distances = []
    for student, teacher in zip(answer.hidden, read.hidden, strict=True):
        # detached: the student comes to the teacher, not the teacher to the student
        goal = teacher[rows, colon].detach()
        # later layers have larger states; divided by their spread, each layer counts alike (arXiv:2502.21074)
        scale = goal.std()
        distances.append(F.smooth_l1_loss(student[:, COLON] / scale, goal / scale))
    return torch.stack(distances).mean()
