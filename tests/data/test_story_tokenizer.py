"""The story tokenizer: no unknown words, one token per number, equal to the Hugging Face form."""

from codi_int.data import story_tokenizer as st
from codi_int.data.stories import load_stories


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
