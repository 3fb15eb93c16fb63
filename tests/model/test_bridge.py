"""The export to TransformerLens: its activations equal ours at every hook of every layer."""

from typing import Any

import pytest
import torch

from codi_int.types import Problem


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def exported(request: pytest.FixtureRequest, make_model: Any, problems: list[Any]) -> Any:
    model = make_model(request.param)
    same_length = [p for p in problems if len(p.question) == len(problems[0].question)][:3]
    return model, same_length, model.to_transformer_lens()


def test_activations_equal_ours_at_every_name(exported: Any) -> None:
    model, problems, bridge = exported
    run = model.run_with_cache(problems)
    ids = torch.tensor([model.encode_question(p) for p in problems])
    inputs = torch.cat([model.stack.token_embedding()(ids), run.batch.thoughts], 1)
    logits, cache = bridge.run_with_cache(inputs)
    for name in run.cache:
        if name == "hook_thought":
            continue
        torch.testing.assert_close(
            run.cache[name], cache[name], rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    torch.testing.assert_close(model.stack.unembed(run.cache["ln_final.hook_out"]), logits, rtol=1e-4, atol=1e-4)


def test_heads_equal_ours(exported: Any) -> None:
    """TransformerLens' own `attn.hook_result`, which its bridge works out where it is asked to."""
    model, problems, bridge = exported
    names = [name for name in model.stack.hook_names() if name.endswith("attn.hook_result")]
    run = model.run_with_cache(problems, names)
    ids = torch.tensor([model.encode_question(p) for p in problems])
    inputs = torch.cat([model.stack.token_embedding()(ids), run.batch.thoughts], 1)
    bridge.set_use_attn_result(True)
    try:
        _, cache = bridge.run_with_cache(inputs)
    finally:
        bridge.set_use_attn_result(False)
    for name in names:
        torch.testing.assert_close(run.cache[name], cache[name], rtol=1e-4, atol=1e-4)


def bpe(in_front: str | None, behind: str | None = None) -> Any:
    """A small byte-level tokenizer, as GPT-2, Llama 3 and Qwen2 have them, which may write tokens around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    special = ["<|endoftext|>", "<|begin|>", "<|end|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=special, initial_alphabet=alphabet)
    core.train_from_iterator(["Tom has 3 apples and 5 more."] * 3, trainer)
    written = " ".join(filter(None, (in_front, "$A", behind)))
    if written != "$A":
        ids = [(token, core.token_to_id(token)) for token in special]
        core.post_processor = processors.TemplateProcessing(single=written, special_tokens=ids)
    return core


TOKENIZERS = {
    "stories": ("PreTrainedTokenizerFast", None, {}),
    "llama3": ("PreTrainedTokenizerFast", bpe("<|begin|>"), {"bos_token": "<|begin|>", "eos_token": "<|end|>"}),
    "gpt2": ("PreTrainedTokenizerFast", bpe(None), {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}),
    "gpt2-class": ("GPT2TokenizerFast", bpe(None), {}),
    "qwen2": ("PreTrainedTokenizerFast", bpe(None), {"eos_token": "<|end|>", "pad_token": "<|endoftext|>"}),
    "qwen2-class": ("Qwen2TokenizerFast", bpe(None), {"eos_token": "<|end|>", "pad_token": "<|endoftext|>"}),
    "eos-behind": ("PreTrainedTokenizerFast", bpe("<|begin|>", "<|end|>"), {"eos_token": "<|end|>"}),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("remove_eos", [True, False])
def test_tokens_of_a_question_are_ours_without_those_before_the_thoughts(
    kind: str, remove_eos: bool, make_model: Any, problems: list[Any]
) -> None:
    import transformers

    name, core, special = TOKENIZERS[kind]
    model = make_model("qwen2" if "qwen2" in kind else "gpt2" if "gpt2" in kind else "llama", remove_eos=remove_eos)
    if core is not None:
        cls = getattr(transformers, name)
        model.tokenizer = cls(tokenizer_object=core, **special)
    bridge = model.to_transformer_lens()
    for problem in (*problems, Problem("a", "Tom", 1, ()), Problem("b", " Tom has  3. ", 1, ())):
        ours = model.encode_question(problem)[: -1 if remove_eos else -2]
        # `encode_question` trims the text, which a tokenizer has no part in
        text = problem.question.strip().replace("  ", " ")
        assert bridge.to_tokens(text)[0].tolist() == list(ours)


def test_the_export_leaves_the_model_alone(exported: Any) -> None:
    model, problems, bridge = exported
    before = model.think(problems).thoughts
    bridge(torch.tensor([[5, 6, 7]]))
    assert torch.equal(model.think(problems).thoughts, before)
    assert not any("_original_component" in name for name in model.hf.state_dict())


def test_a_hook_function_works_on_both(exported: Any) -> None:
    model, problems, bridge = exported

    def cut(z: torch.Tensor, hook: Any) -> torch.Tensor:
        z = z.clone()
        z[:, :, 2] = 0
        return z

    name = "blocks.1.attn.hook_z"
    with model.hooks({name: cut}):
        run = model.run_with_cache(problems, "ln_final.hook_out")
    ids = torch.tensor([model.encode_question(p) for p in problems])
    inputs = torch.cat([model.stack.token_embedding()(ids), run.batch.thoughts], 1)
    theirs = bridge.run_with_hooks(inputs, fwd_hooks=[(name, cut)])
    torch.testing.assert_close(model.stack.unembed(run.cache["ln_final.hook_out"]), theirs, rtol=1e-4, atol=1e-4)
