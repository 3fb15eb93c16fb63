"""The story tokenizer: no unknown words, one token per number, equal to the Hugging Face form."""

from codi_int.catalog import ASSETS
from codi_int.data import story_tokenizer as st
from codi_int.data.answers import extract_answer, parse_steps, write_step
from codi_int.data.stories import load_stories
from codi_int.data.story_kinds import LONG
from codi_int.model.tokens import read_light


def test_every_story_is_in_the_vocabulary_and_both_forms_agree():
    tokenizer = st.build_tokenizer()
    for problem in load_stories("validation", 400):
        ids = st.encode_words(problem.question)
        assert tokenizer(problem.question).input_ids == [tokenizer.bos_token_id, *ids]


def test_no_word_of_4000_stories_is_unknown():
    known = set(st.vocabulary())
    words = {token for p in load_stories("train", 4_000) for token in st.split_words(p.question)}
    assert words <= known


def test_numbers_are_single_tokens():
    assert [len(st.encode_words(str(n))) for n in range(100)] == [1] * 100
    assert st.encode_words("<<20*3=60>>") == st.encode_words("<< 20 * 3 = 60 >>")


def test_special_tokens_are_not_split():
    tokenizer = st.build_tokenizer()
    ids = tokenizer(f"{st.BOT}{st.EOT}", add_special_tokens=False).input_ids
    assert ids == st.encode_special(st.BOT, st.EOT)


def test_larger_numbers_are_two_tokens_behind_the_same_vocabulary():
    wide = st.vocabulary(LONG.max_number)
    assert wide[: len(st.vocabulary())] == st.vocabulary()
    assert wide[len(st.vocabulary()) :] == (*(f"{d}__" for d in range(1, 10)), *(f"0{d}" for d in range(10)))
    assert [len(st.encode_words(str(n))) for n in range(100, 1000)] == [2] * 900
    assert st.split_words("<<3*102=306>>") == ["<<", "3", "*", "1__", "02", "=", "3__", "06", ">>"]


def test_every_number_is_read_back_from_its_tokens():
    tokenizer = st.build_tokenizer(LONG.max_number)
    texts = tokenizer.batch_decode([st.encode_words(f"{st.ANSWER_PHRASE} {n}") for n in range(1000)])
    assert [extract_answer(text) for text in texts] == list(range(1000))
    value = st.number_tokens()
    wide = st.vocabulary(LONG.max_number)
    assert all(sum(value[wide[i]] for i in st.encode_words(str(n))) == n for n in range(1000))


def test_hundreds_without_a_rest_of_two_digits_are_no_number():
    tokenizer = st.build_tokenizer(LONG.max_number)
    colon, hundreds = st.encode_words(st.ANSWER_PHRASE), st.encode_words("347")[:1]
    for rest in ([], st.encode_words("5"), hundreds, st.encode_special(st.EOS), st.encode_words("eggs")):
        text = tokenizer.decode([*colon, *hundreds, *rest])
        assert extract_answer(text) is None, text


def test_both_forms_of_the_wider_tokenizer_agree_after_saving(tmp_path):
    tokenizer = st.build_tokenizer(LONG.max_number)
    tokenizer.save_pretrained(tmp_path)
    light = read_light(tmp_path)
    for problem in load_stories("validation", 150, LONG):
        chain = "".join(map(write_step, problem.steps))
        ids = st.encode_words(problem.question + chain)
        assert tokenizer(problem.question + chain).input_ids == [tokenizer.bos_token_id, *ids]
        assert light(problem.question + chain)["input_ids"] == [tokenizer.bos_token_id, *ids]
        assert parse_steps(light.decode(st.encode_words(chain))) == problem.steps


def test_codi_minis_tokenizer_is_byte_for_byte_what_ships(tmp_path):
    st.build_tokenizer().save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (ASSETS / "codi-mini" / name).read_bytes()
