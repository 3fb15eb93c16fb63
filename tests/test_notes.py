"""What notes say, when they are made, and where the warning points."""

import warnings

import pytest

from codi_int.errors import CodiWarning
from codi_int.notes import give, grid_notes, sae_notes, unknown_words_note


def test_unknown_words_are_counted_and_the_commonest_named() -> None:
    words = ["zebras", "kayaks", "yurts", "Ulm", "quinces", "ferns", "moss", "figs"]
    assert unknown_words_note("codi-mini", 5, 1_007, words) == (
        "5 of 1,007 questions hold words that codi-mini does not know (zebras, kayaks, yurts, Ulm, quinces, ferns and "
        "2 more): it reads each as one unknown token, and its answers there are guesses."
    )
    assert unknown_words_note("m", 1, 1, ["figs"]).startswith("1 of 1 question holds words that m does not know (figs)")
    assert unknown_words_note("m", 2, 3, []).startswith("2 of 3 questions hold words that m does not know: it reads")


@pytest.mark.parametrize(
    ("explained", "accuracies", "expected"),
    [
        (0.5, (0.9, 0.88125), []),
        (None, None, []),
        (0.499, None, ["The SAE at L14.P3 explains 49.9 % of the variance (below 50 %)"]),
        (-3.0, None, ["The SAE at L14.P3 explains -300 % of the variance (below 50 %)"]),
        (
            0.9,
            (0.9, 0.8),
            ["The reconstruction of the SAE at L14.P3 alone costs 10 points of accuracy (90 to 80 %; more than 2)"],
        ),
        # a reconstruction that happens to help is no doubt
        (0.9, (0.8, 0.9), []),
    ],
)
def test_a_poor_sae_is_named_with_its_numbers(
    explained: float | None, accuracies: tuple[float, float] | None, expected: list[str]
) -> None:
    found = sae_notes("at L14.P3", explained, accuracies)
    assert [note.split(":")[0] for note in found] == expected


def test_a_warning_names_the_line_of_its_caller_and_is_shown_once() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            give(["a doubt"])
    assert [(str(one.message), one.category, one.filename) for one in seen] == [("a doubt", CodiWarning, __file__)]


def test_many_saes_have_one_note_for_each_thing_that_is_wrong() -> None:
    good, poor = ("good", 0.5, (0.9, 0.89)), [(f"d={i}", 0.1 * i, (0.9, 0.87 - 0.1 * i)) for i in (4, 1, 2, 3)]
    unexplained, costly = grid_notes([good, *poor])
    assert unexplained.startswith(
        "4 of 5 SAEs explain less than 50 % of the variance (d=1: 10 %, d=2: 20 %, d=3: 30 % and 1 more): "
    )
    assert costly.startswith(
        "The reconstructions of 4 of 5 SAEs alone cost more than 2 points of accuracy (d=4: 43, d=3: 33, d=2: 23 and 1"
    )
    assert grid_notes([good, good]) == grid_notes([good]) == grid_notes([]) == ()
    assert grid_notes([("good", 0.6, None), ("poor", 0.4, None)])[0].startswith("1 of 2 SAEs explain")
    assert grid_notes(poor[:1]) == sae_notes(*poor[0])
