"""Training on the longer stories: numbers of two tokens, more thoughts, a model to begin with."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.testing import assert_close

from codi_int.catalog import ASSETS
from codi_int.data.stories import load_stories
from codi_int.data.story_kinds import LONG
from codi_int.data.story_tokenizer import encode_words, number_tokens, vocabulary
from codi_int.errors import ConfigError
from codi_int.model.codi import Projection
from codi_int.model.loading import load_model
from codi_int.training.batches import COLON, DrillStream, StoryStream, batches_by_length
from codi_int.training.initial import build_projection
from codi_int.training.network import TrainingNetwork
from codi_int.training.objective import number_right, read_question_and_chain, story_loss, think
from codi_int.training.recipe import Recipe, Stage
from codi_int.training.trainer import RunOptions, Trainer, build_model, export

RECIPE = Recipe(
    stages=(Stage("joint", 2, 0.001, 0.001, keep=(1.0, 1.0, 1.0, 1.0, 1.0, 0.5)),),
    n_layers=2,
    d_model=24,
    d_mlp=32,
    prj_dim=24,
    n_heads=3,
    n_thoughts=9,
    batch_size=4,
    bfloat16=False,
    stories="stories-6",
)
WORDS = vocabulary(999)


def mixed_batch():
    """Stories of one length whose answers have one token and two."""
    for batch in batches_by_length(list(load_stories("validation", 300, LONG)), 4):
        if sorted(batch.number_length.tolist()) == [1, 1, 2, 2]:
            return batch
    raise AssertionError


def test_a_batch_holds_numbers_of_one_and_two_tokens():
    batch = mixed_batch()
    for row in range(4):
        written = [WORDS[i] for i in batch.written[row][batch.written_mask[row]]]
        answer = [WORDS[i] for i in batch.answer[row]]
        n = int(batch.number_length[row])
        number = answer[COLON + 1 : COLON + 1 + n]
        assert answer[:5] == ["<eot>", "The", "answer", "is", ":"]
        assert answer[COLON + 1 + n] == "<eos>"
        assert set(answer[COLON + 2 + n :]) <= {"<pad>"}
        assert written[-5 - n :] == answer[1 : COLON + 2 + n]
        assert WORDS[batch.written[row, batch.written_colon[row]]] == ":"
        assert [WORDS[i] for i, one in zip(batch.answer[row, 1:], batch.number_mask[row], strict=True) if one] == number
        fixed = [WORDS[i] for i, one in zip(batch.answer[row, 1:], batch.fixed_mask[row], strict=True) if one]
        assert fixed == ["The", "answer", "is", ":", "<eos>"]


def test_the_loss_on_an_answer_is_the_unlikeliness_of_the_whole_number():
    """Against Hugging Face's model over embeddings, a story at a time and without padding."""
    model = build_model(RECIPE).eval()
    torch.manual_seed(1)
    projection, batch = Projection(24, 24).eval(), mixed_batch()
    found = story_loss(TrainingNetwork(model), projection, batch, RECIPE, joint=True)
    embed, number, fixed, right = model.get_input_embeddings(), [], [], []
    for row in range(4):
        ids = torch.cat((batch.question[row], torch.tensor([WORDS.index("<bot>")])))
        x = embed(ids)[None]
        for _ in range(RECIPE.n_thoughts):
            state = model(inputs_embeds=x, output_hidden_states=True).hidden_states[-1][:, -1:]
            x = torch.cat((x, projection(state)), dim=1)
        n = int(batch.number_length[row])
        answer = batch.answer[row, : COLON + 2 + n]
        logits = model(inputs_embeds=torch.cat((x, embed(answer[:-1])[None]), dim=1)).logits[0, -len(answer) + 1 :]
        ce = F.cross_entropy(logits, answer[1:], reduction="none")
        number.append(ce[COLON : COLON + n].sum())
        fixed += [*ce[:COLON], ce[COLON + n]]
        right.append(bool((logits[COLON : COLON + n].argmax(-1) == answer[1:][COLON : COLON + n]).all()))
    expected = torch.stack(number).mean() + RECIPE.fixed_word_weight * torch.stack(fixed).mean()
    assert_close(found.latent, expected.detach(), atol=1e-4, rtol=1e-4)
    assert float(found.right) == sum(right) / 4


def test_drill_lines_count_every_token_of_a_result():
    batch = next(DrillStream(0, 6, 4, LONG))  # what is held out is told first, which takes a while
    assert len({int((row != 0).sum()) for row in batch.ids}) > 1  # lines of several lengths
    for ids, weights in zip(batch.ids, batch.weights, strict=True):
        marks = "".join(WORDS[i] for i in ids).replace("__", "").split("<<")[1:]
        assert len(marks) == 4
        counted = [WORDS[i] for i, weight in zip(ids, weights, strict=True) if weight == 1]
        results = [mark.split("=")[1].removesuffix("<pad>" * mark.count("<pad>")).rstrip(">") for mark in marks]
        assert counted == [WORDS[i] for result in results for i in encode_words(result)]
        assert all(weight == 0 for i, weight in zip(ids, weights, strict=True) if WORDS[i] == "<pad>")


def test_a_stream_keeps_shares_of_up_to_six_steps():
    batch = next(StoryStream(0, 4, keep=(0.0, 0.0, 0.0, 0.0, 0.0, 1.0), kind=LONG))
    assert batch.n_steps.tolist() == [6] * 4
    batch = next(StoryStream(0, 4, keep=(0.0, 0.0, 0.0, 0.0), kind=LONG))
    assert set(batch.n_steps.tolist()) <= {5, 6}


def test_training_begins_with_the_weights_of_the_model_that_is_named():
    recipe = Recipe(stages=RECIPE.stages, stories="stories-6", start="codi-mini")
    model = build_model(recipe)
    given = load_file(ASSETS / "codi-mini" / "model.safetensors")
    for name, weight in model.named_parameters():
        old = given[name]
        assert torch.equal(weight[: len(old)], old), name
    embedding = model.get_input_embeddings().weight
    assert embedding.shape == (245, 96)
    # a piece begins near the number that it stands for
    drawn = build_model(replace(recipe, start="")).get_input_embeddings().weight
    near = torch.cosine_similarity(drawn[WORDS.index("05")], drawn[6:106], dim=-1)
    assert int(near.argmax()) == number_tokens()["05"] == 5
    projection = load_file(ASSETS / "codi-mini" / "projection.safetensors")
    for name, weight in build_projection(recipe).named_parameters():
        assert torch.equal(weight, projection[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stories": "stories-9"}, r"stories is 'stories-9'.*\nKinds of stories: stories, stories-6"),
        ({"start": "codi-maxi"}, r"start is 'codi-maxi'.*\nShipped models: codi-mini"),
        ({"stories": "stories"}, r"keep has 6 shares; stories have at most 4 steps.*\nGive four shares"),
    ],
)
def test_a_recipe_names_what_does_not_exist(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        replace(RECIPE, **change)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(("name", "value"), [("stories", 6), ("stories", []), ("start", 1), ("start", "x")])
def test_a_recipes_file_names_what_does_not_exist(tmp_path, name, value):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**RECIPE.to_dict(), name: value}))
    with pytest.raises(ConfigError, match=f"{path}: {name} is ") as caught:
        Recipe.load(path)
    assert len(str(caught.value).splitlines()) == 2


def test_a_model_of_another_shape_is_no_beginning():
    with pytest.raises(ConfigError, match=r"start is codi-mini, whose .* has another shape"):
        build_model(replace(RECIPE, start="codi-mini"))


def test_codi_minis_recipe_is_what_its_files_say():
    recipe = Recipe.load("codi-mini")
    shipped = json.loads((ASSETS / "codi-mini" / "codi.json").read_text())["provenance"]["recipe"]
    assert json.loads(json.dumps(recipe.to_dict())) == shipped
    longer = Recipe.load("codi-mini-6")
    assert (longer.kind, longer.n_thoughts, longer.start) == (LONG, 10, "codi-mini")
    assert {"stories": "stories-6", "start": "codi-mini"}.items() <= longer.to_dict().items()


def test_what_training_counts_as_right_is_what_the_exported_model_answers(tmp_path):
    """The loaded model thinks nine times and writes numbers of two tokens by itself."""
    options = RunOptions(tmp_path, workers=1, evaluate_batches=2, evaluate_stories=40)
    trainer = Trainer(replace(RECIPE, batch_size=2), options, 0, 1)
    trainer.run()
    assert "held_out_latent_6" in (tmp_path / "curve.csv").read_text().splitlines()[0]
    export(tmp_path, trainer.recipe, tmp_path / "model", "longer")
    model = load_model(tmp_path / "model")
    assert (model.n_thoughts, len(model.running_tokenizer)) == (9, 245)
    problems = list(load_stories("validation", 12, LONG))
    # one forward over the true answers, by the loaded model and by the training network
    net = TrainingNetwork(trainer.model)
    for batch in batches_by_length(problems, 1):
        read = read_question_and_chain(net, batch)
        mine = net.logits(think(net, trainer.projection, read, batch, 9).final).detach()
        with torch.no_grad():
            ids = torch.cat((batch.question, torch.tensor([[model.config.bot_id]])), dim=1)
            state = model.prefill(ids, torch.ones_like(ids), ("one",))
            for _ in range(model.n_thoughts):
                state = model.step_thought(state)
            theirs = model.teacher_force(state, batch.answer[:, 1:-1])
        assert_close(mine, theirs, atol=2e-4, rtol=2e-3)
        assert number_right(mine, batch).tolist() == number_right(theirs, batch).tolist()
