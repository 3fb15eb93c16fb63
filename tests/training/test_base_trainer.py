"""CODI made of a pretrained model: a tiny Llama, trained on the CPU."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner, Result

from codi_int.cli.main import make_app
from codi_int.data.problems import write_jsonl
from codi_int.data.stories import load_stories
from codi_int.errors import CodiError, ConfigError
from codi_int.model.loading import load_model
from codi_int.training.base_recipe import BaseRecipe
from codi_int.training.base_trainer import BaseTrainer, train_base
from codi_int.training.lora import LoRALinear, add_lora, merge_all

STORIES = load_stories("validation", 60)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and the commonest pairs, as Llama's; knows nothing of <bot>."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([f"{one.question} The answer is: {one.answer}" for one in STORIES], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with two key heads for four query heads, and problems beside it."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder / "llama"))
    tokenizer.save_pretrained(str(folder / "llama"))
    write_jsonl(STORIES, folder / "data.jsonl")
    return folder


@pytest.fixture
def recipe(folder: Path) -> BaseRecipe:
    return BaseRecipe(
        base=str(folder / "llama"),
        data=str(folder / "data.jsonl"),
        batches=4,
        batch_size=4,
        lora_r=4,
        learning_rate=3e-3,
        n_thoughts=3,
    )


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_it_learns_a_batch_by_heart(tune: str, recipe: BaseRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = BaseTrainer(replace(recipe, tune=tune, batches=40, renewed=0.0))
    batch = trainer.problems.batch(0)
    monkeypatch.setattr(trainer.problems, "batch", lambda number: batch)
    frozen = trainer.model.model.layers[0].mlp.up_proj
    before = (frozen.layer if tune == "lora" else frozen).weight.detach().clone()
    losses = [trainer.step() for _ in range(25)]
    assert float(losses[-1].latent) < 0.7 * float(losses[0].latent)
    assert float(losses[-1].written) < 0.8 * float(losses[0].written)
    after = (frozen.layer if tune == "lora" else frozen).weight
    assert torch.equal(before, after) == (tune == "lora")
    assert all(p.grad is not None for p in trainer.parameters)


def test_the_losses_are_those_of_plain_loops(recipe: BaseRecipe) -> None:
    """Row by row without padding, the whole sequence anew at every step, and cross-entropy by hand."""
    trainer = BaseTrainer(recipe)
    batch = trainer.problems.batch(0)
    with torch.no_grad():
        losses = trainer.losses(batch)
        written, latent, count_w, count_l = 0.0, 0.0, 0, 0
        for row in range(4):
            question = batch.question[row][batch.question_mask[row]]
            answer = batch.answer[row][batch.answer_mask[row]]
            whole = batch.written[row][batch.written_mask[row]]
            assert torch.equal(whole[: len(question) - 1], question[:-1])
            scores = trainer.model(inputs_embeds=trainer._embed(whole[None])).logits[0].log_softmax(-1)
            for place in range(len(question) - 1, len(whole)):
                written -= float(scores[place - 1, whole[place]])
                count_w += 1
            x = trainer._embed(question[None])
            for _ in range(3):
                state = trainer.model(inputs_embeds=x, output_hidden_states=True).hidden_states[-1][:, -1:]
                x = torch.cat([x, trainer.projection(state)], 1)
            scores = trainer.model(inputs_embeds=torch.cat([x, trainer._embed(answer[None])], 1)).logits[0]
            for place in range(1, len(answer)):
                latent -= float(scores[x.shape[1] + place - 1].log_softmax(-1)[answer[place]])
                count_l += 1
    assert float(losses.written) == pytest.approx(written / count_w, rel=1e-4)
    assert float(losses.latent) == pytest.approx(latent / count_l, rel=1e-4)
    text = trainer.tokenizer.decode(batch.answer[0, : int(batch.colons[0, 0]) + 1])
    assert text == "<eot>The answer is:"
    assert trainer.tokenizer.decode(batch.written[0, : int(batch.colons[0, 1]) + 1]).endswith("The answer is:")


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_what_is_saved_is_what_was_trained(tune: str, recipe: BaseRecipe, tmp_path: Path) -> None:
    trainer = BaseTrainer(replace(recipe, tune=tune))
    train_base(trainer, tmp_path)
    batch = trainer.problems.batch(0)
    mask = batch.question_mask[:1]
    with torch.no_grad():
        state = trainer.model(
            inputs_embeds=trainer._embed(batch.question[:1][mask][None]), output_hidden_states=True
        ).hidden_states[-1][:, -1]
        thought = trainer.projection(state)
    trainer.export(tmp_path / "model", "made")
    model = load_model(tmp_path / "model")
    assert (model.name, model.n_thoughts, model.config.provenance["progress"]) == ("made", 3, {"batch": 4})
    with torch.no_grad():
        found = model.prefill(batch.question[:1][mask][None])
        torch.testing.assert_close(found.hidden, state, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.next_thought(found), thought, rtol=1e-4, atol=1e-4)
    assert model.encode_question(STORIES[0])[-1] == trainer.special.bot
    assert len(model.answer(STORIES[:3])) == 3


def test_lora_begins_as_nothing_and_is_merged_exactly() -> None:
    torch.manual_seed(0)
    block = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(5, 7), "other": torch.nn.Linear(5, 7)})
    x = torch.randn(3, 5)
    before = block["q_proj"](x)
    add_lora(block, 2, 4.0, seed=0)
    lora = block["q_proj"]
    assert isinstance(lora, LoRALinear)
    assert isinstance(block["other"], torch.nn.Linear)
    assert torch.equal(lora(x), before)
    assert [name for name, p in block.named_parameters() if p.requires_grad] == ["q_proj.A", "q_proj.B"]
    torch.nn.init.normal_(lora.B)
    by_hand = before + 2.0 * x @ lora.A.T @ lora.B.T
    torch.testing.assert_close(lora(x), by_hand)
    merge_all(block)
    torch.testing.assert_close(block["q_proj"](x), by_hand)


def test_a_stopped_run_goes_on_to_the_same_weights(recipe: BaseRecipe, tmp_path: Path) -> None:
    whole, first = BaseTrainer(recipe), BaseTrainer(recipe)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    train_base(whole, tmp_path / "whole")
    assert train_base(first, tmp_path / "parts", stop_after_seconds=0.0) == 1
    second = BaseTrainer(recipe)
    assert second.resume(tmp_path / "parts")
    train_base(second, tmp_path / "parts")
    assert second.batch == 4
    for ours, theirs in zip(second.parameters, whole.parameters, strict=True):
        assert torch.equal(ours, theirs)
    with (tmp_path / "parts" / "curve.csv").open() as file:
        assert [int(row["batch"]) for row in csv.DictReader(file)] == [1, 4]


def test_every_problem_comes_once_before_any_comes_again(recipe: BaseRecipe) -> None:
    trainer = BaseTrainer(replace(recipe, batch_size=20, renewed=1.0))
    epochs: list[list[Any]] = [[], []]
    for number in range(6):
        epochs[number // 3] += trainer.problems.batch(number).question.tolist()
    texts = [[trainer.tokenizer.decode(row, skip_special_tokens=True) for row in epoch] for epoch in epochs]
    digitless = [sorted("".join("#" if c.isdigit() else c for c in text) for text in epoch) for epoch in texts]
    assert len(texts[0]) == 60
    assert [t.replace("##", "#") for t in digitless[0]] == [t.replace("##", "#") for t in digitless[1]]
    assert len(set(texts[0]) & set(texts[1])) < 30  # other numbers


def run(*words: str) -> Result:
    return CliRunner().invoke(make_app(), ["train-codi", *words])


def test_the_command_leaves_a_model(folder: Path, tmp_path: Path) -> None:
    words = ["--base", str(folder / "llama"), "--data", str(folder / "data.jsonl"), "--batches", "2"]
    words += ["--batch-size", "4", "--out", str(tmp_path / "run")]
    ran = run(*words, "--tune", "full")
    assert ran.exit_code == 0, ran.output
    assert load_model(tmp_path / "run" / "model").name == "codi-llama"
    other = run(*words, "--tune", "lora")
    assert isinstance(other.exception, ConfigError)
    assert "another recipe: tune is full there, lora here" in other.exception.rule


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--base", "nowhere"), "There is no folder nowhere."),
        (("--base", "{folder}"), "has no config.json"),
        (("--base", "{folder}/gpt2"), "is a 'gpt2' model; its blocks are not Llama's."),
        (("--base", "{folder}/llama", "--recipe", "codi-mini"), "--base and --recipe are two ways of training."),
        (("--base", "{folder}/llama", "--tune", "half"), "tune='half' does not exist."),
        (("--base", "{folder}/llama", "--dtype", "float16"), "dtype='float16' cannot be trained in."),
        (("--base", "{folder}/llama", "--data", "{folder}/bare.jsonl"), "has written steps that end in its answer."),
        (("--base", "{folder}/llama", "--data", "{folder}/data.jsonl", "--batch-size", "61"), "a batch is 61."),
        (("--base", "{folder}/empty", "--data", "{folder}/data.jsonl"), "cannot be read"),
        (("--base", "{folder}/llama", "--data", "nothing"), "There is no data set 'nothing'."),
    ],
)
def test_what_cannot_be_trained_is_said_in_two_lines(
    words: tuple[str, ...], message: str, folder: Path, tmp_path: Path
) -> None:
    gpt2, empty, bare = folder / "gpt2", folder / "empty", folder / "bare.jsonl"
    if not gpt2.exists():
        GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1)).save_pretrained(str(gpt2))
        write_jsonl([replace(one, steps=()) for one in STORIES[:8]], bare)
        empty.mkdir()
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            (empty / file).write_text((folder / "llama" / file).read_text())
    ran = run(*(word.format(folder=folder) for word in words), "--out", str(tmp_path / "run"))
    assert isinstance(ran.exception, CodiError), ran.output
    rule, remedy = str(ran.exception).splitlines()
    assert message in rule
    assert remedy
    assert not (tmp_path / "run" / "model").exists()
