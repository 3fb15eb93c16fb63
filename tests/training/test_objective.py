"""The parts of the loss against their definitions, written out with plain Hugging Face calls."""

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from codi_int.data.stories import load_stories
from codi_int.data.story_tokenizer import vocabulary
from codi_int.model.codi import Projection
from codi_int.training.batches import COLON, DrillStream, batches_by_length
from codi_int.training.network import TrainingNetwork
from codi_int.training.objective import drill_loss, read_question_and_chain, story_loss, think
from codi_int.training.recipe import Recipe, Stage
from codi_int.training.trainer import build_model

RECIPE = Recipe(stages=(Stage("joint", 1, 0.001, 0.001),), n_layers=2, d_model=24, d_mlp=32, prj_dim=24, n_heads=3)


def setup():
    model = build_model(RECIPE).eval()
    projection = Projection(24, 24).eval()
    batch = max(batches_by_length(list(load_stories("validation", 60)), 4), key=lambda b: b.question.shape[0])
    return model, projection, batch, TrainingNetwork(model)


def test_batches_hold_the_published_texts():
    *_, batch, _ = setup()
    words = vocabulary()
    written = [words[i] for i in batch.written[0][batch.written_mask[0]]]
    answer = [words[i] for i in batch.answer[0]]
    assert answer[:5] == ["<eot>", "The", "answer", "is", ":"]
    assert answer[6] == "<eos>"
    assert written[-6:] == answer[1:]
    assert written.count("<<") == int(batch.n_steps[0]) - 1  # the last step is left out
    assert words[batch.written[0, batch.written_colon[0]]] == ":"
    assert words[batch.answer[0, COLON]] == ":"


def test_written_part_is_the_mean_cross_entropy_over_chain_and_answer():
    model, projection, batch, net = setup()
    losses = story_loss(net, projection, batch, RECIPE, joint=False)
    total, count = 0.0, 0
    for row in range(batch.question.shape[0]):
        n = int(batch.written_mask[row].sum())
        ids = torch.cat((batch.question[row], batch.written[row, :n]))[None]
        labels = ids.clone()
        labels[:, : batch.question.shape[1]] = -100
        total += float(model(input_ids=ids, labels=labels).loss.detach()) * n
        count += n
    assert_close(losses.written, torch.tensor(total / count), atol=1e-5, rtol=1e-5)


def test_joint_loss_is_the_sum_of_its_parts_and_the_teacher_gets_no_gradient_from_the_distance():
    _model, projection, batch, net = setup()
    losses = story_loss(net, projection, batch, RECIPE, joint=True)
    assert_close(losses.total, losses.written + losses.latent + RECIPE.distill_weight * losses.distance)
    read = read_question_and_chain(net, batch)
    answer = think(net, projection, read, batch, RECIPE.n_thoughts)
    rows = torch.arange(batch.question.shape[0])
    colon = batch.question.shape[1] + batch.written_colon
    by_hand = []
    for student, teacher in zip(answer.hidden, read.hidden, strict=True):
        goal = teacher[rows, colon]
        by_hand.append(F.smooth_l1_loss(student[:, COLON] / goal.std(), goal / goal.std()))
    assert_close(losses.distance, torch.stack(by_hand).mean().detach())


def test_drill_counts_the_results_alone():
    _model, _, _, net = setup()
    batch = next(DrillStream(0, 3, 4))
    words = vocabulary()
    row = "".join(words[i] for i in batch.ids[0])
    assert row.startswith("<bos><<")
    results = [words[i] for i, w in zip(batch.ids[0], batch.weights[0], strict=True) if w == 1]
    for mark, result in zip(row.split("<<")[1:], results, strict=True):
        assert mark.endswith(f"={result}>>")
    losses = drill_loss(net, batch)
    assert float(losses.total.detach()) > 1.0
