"""The training passes against plain Hugging Face calls, in which everything is read again from the start."""

import pytest
import torch
from torch.testing import assert_close

from codi_int.data.stories import load_stories
from codi_int.model.codi import Projection
from codi_int.training.batches import batches_by_length
from codi_int.training.network import TrainingNetwork
from codi_int.training.objective import read_question_and_chain, think, written_logits
from codi_int.training.recipe import Recipe, Stage
from codi_int.training.trainer import build_model

RECIPE = Recipe(stages=(Stage("joint", 1, 0.001, 0.001),), n_layers=3, d_model=24, d_mlp=32, prj_dim=24, n_heads=3)


@pytest.fixture(scope="module")
def parts():
    model = build_model(RECIPE).eval()
    torch.manual_seed(1)
    projection = Projection(24, 24).eval()
    batch = max(batches_by_length(list(load_stories("validation", 60)), 4), key=lambda b: b.question.shape[0])
    return model, projection, batch


def hidden_states(model, **inputs):
    return model(**inputs, output_hidden_states=True).hidden_states


def test_the_written_chain_is_what_the_plain_model_reads(parts):
    model, _, batch = parts
    net = TrainingNetwork(model)
    logits = written_logits(net, read_question_and_chain(net, batch), batch)
    for row in range(batch.question.shape[0]):
        n = int(batch.written_mask[row].sum())
        ids = torch.cat((batch.question[row], batch.written[row, : n - 1]))[None]
        plain = model(input_ids=ids).logits[0, batch.question.shape[1] - 1 :]
        assert_close(logits[row, :n], plain, atol=1e-5, rtol=1e-4)


def test_the_thoughts_are_those_of_a_plain_loop_over_growing_inputs(parts):
    model, projection, batch = parts
    net = TrainingNetwork(model)
    answer = think(net, projection, read_question_and_chain(net, batch), batch, 6)
    embed = model.get_input_embeddings()
    bot = torch.full_like(batch.question[:, :1], 4)
    inputs = embed(torch.cat((batch.question, bot), dim=1))
    for _ in range(6):
        last = hidden_states(model, inputs_embeds=inputs)[-1][:, -1:]
        inputs = torch.cat((inputs, projection(last)), dim=1)
    inputs = torch.cat((inputs, embed(batch.answer[:, :6])), dim=1)
    plain = hidden_states(model, inputs_embeds=inputs)
    for layer in range(RECIPE.n_layers - 1):
        assert_close(answer.hidden[layer], plain[layer + 1][:, -6:], atol=1e-5, rtol=1e-4)
    assert_close(answer.final, plain[-1][:, -6:], atol=1e-5, rtol=1e-4)


def test_gradients_are_those_of_the_plain_model(parts):
    model, _, batch = parts
    net = TrainingNetwork(model)
    written_logits(net, read_question_and_chain(net, batch), batch)[:, 0].square().sum().backward()
    ours = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model(input_ids=batch.question).logits[:, -1].square().sum().backward()
    plain = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert set(ours) == set(plain)
    for name in plain:
        assert_close(ours[name], plain[name], atol=1e-4, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")
    model.zero_grad()
