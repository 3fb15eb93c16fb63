"""One feature in full, by hand and against transformers; what is missing is said."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

import codi_int as ci
from codi_int.data.steps import parse_steps
from codi_int.features.decoder import nearest_features, read_directions
from codi_int.features.details import describe_feature
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.features.properties import Property, read_properties
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem

MARKS = ("<<2*3=6>><<6+1=7>>", "<<8-3=5>>", "", "<<4/2=2>><<2*12=24>>")
ROWS = [[3.0, 0.0], [-5.0, 1.0], [0.0, 2.0], [4.0, 0.0]]


def make_problems(marks: tuple[str, ...] = MARKS) -> list[Problem]:
    answers = [7, 5, float("nan"), 24]
    made = enumerate(zip(marks, answers, strict=True))
    return [Problem(f"p{i}", f"question {i}", answer, parse_steps(mark)) for i, (mark, answer) in made]


def made_profiles(marks: tuple[str, ...] = MARKS) -> Profiles:
    """Two features, each a dimension with its sign."""
    sae = TopKSAE(SAEConfig(d_in=2, d_sae=2, k=2, rule="abs"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(2))
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    correct = np.array([True, False, True, True])
    found = profile_rows(sae, torch.tensor(ROWS))
    return replace(found, problems=make_problems(marks), correct=correct, site=ci.Site(2, 3), by_feature={})


def test_properties_are_read_off_the_steps() -> None:
    table = read_properties(make_problems(), np.array([True, False, True, True]))
    of = {str(one): table.present[:, i].tolist() for i, one in enumerate(table.properties)}
    assert of["multiplication"] == [True, False, False, True]
    assert of["step 2: multiplication"] == [False, False, False, True]
    assert of["multiplication then addition"] == [True, False, False, False]
    assert of["2 steps"] == [True, False, False, True]
    # a whole number, not a substring of one; results count, and the last one is no intermediate result
    assert of["value 2"] == [True, False, False, True]
    assert of["value 12"] == [False, False, False, True]
    assert of["result 6"] == [True, False, False, False]
    assert "result 7" not in of
    # a question whose answer nobody knows has none
    assert {name for name in of if name.startswith("answer")} == {"answer 5", "answer 7", "answer 24"}
    assert of["wrong"] == [False, True, False, False]
    kinds = [one.kind for one in table.properties]
    assert kinds == sorted(kinds, key=list(dict.fromkeys(kinds)).index)
    numbers = [int(one.name) for one in table.properties if one.kind == "value"]
    assert numbers == sorted(numbers)
    assert table.of_kinds(["n_steps"]).properties == (Property("n_steps", "1 step"), Property("n_steps", "2 steps"))


def test_a_feature_by_hand() -> None:
    found = describe_feature(made_profiles(), 0, top=2)
    assert [(one.problem_id, one.activation, one.correct) for one in found.top] == [
        ("p1", -5.0, False),
        ("p3", 4.0, True),
    ]
    assert found.top[1].steps == ("<<4/2=2>>", "<<2*12=24>>")
    groups = {(group.kind, group.name): group for group in found.groups}
    product = groups["operation", "multiplication"]
    # on both of the two problems that multiply, which are two of the three on which it fires and half of all
    assert asdict(product) == {
        "kind": "operation",
        "name": "multiplication",
        "n": 2,
        "n_firing": 2,
        "firing_rate": 1.0,
        "low": pytest.approx(0.3424, abs=1e-4),
        "high": 1.0,
        "share_of_firing": pytest.approx(2 / 3),
        "base_rate": 0.5,
        "mean_activation": 3.5,
    }
    assert groups["correct", "wrong"].mean_activation == -5.0
    assert not any(kind == "value" for kind, _ in groups)  # none has five problems
    assert [(one.feature, one.cosine) for one in found.nearest] == [(1, pytest.approx(0.6))]
    assert found.missing == ("no model was given: its decoder row is not read as words.",)


def test_what_cannot_be_told_is_said() -> None:
    bare = replace(made_profiles(("",) * 4), correct=None, by_feature={})
    found = describe_feature(bare, 1)
    assert [group.kind for group in found.groups] == []
    assert [one.steps for one in found.top] == [(), ()]
    assert found.missing[0] == "no problem has written steps: operations, numbers and patterns are not known."
    assert found.missing[1].startswith("the model was not asked to answer")
    # the latents of a feature that never fires
    silent = replace(bare, latents=ci.Latents(torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.long), 2), rows=())
    found = describe_feature(replace(silent, by_feature={}), 1)
    assert (found.profile.rank, found.profile.n_firing, found.top) == (0, 0, ())
    assert found.missing[0] == "feature 1 fires on none of these problems: nothing is known of where it would."


def test_decoder_rows_read_as_transformers_reads_them() -> None:
    model = ci.load_model("codi-mini")
    rows = torch.randn(3, model.d_model, generator=torch.Generator().manual_seed(0))
    hf = model.hf
    with torch.no_grad():
        logits = hf.lm_head(hf.model.norm(rows))
    for mine, theirs in zip(read_directions(model, rows, 4), logits.softmax(-1), strict=True):
        best = theirs.topk(4)
        assert [one.id for one in mine] == best.indices.tolist()
        assert [one.probability for one in mine] == pytest.approx(best.values.tolist(), rel=1e-4)
        assert [one.text for one in mine] == [model.running_tokenizer.decode([one.id]) for one in mine]
    assert len(read_directions(model, rows[:1], 10_000)[0]) == model.stack.vocab_size


def test_nearest_rows_against_a_plain_product() -> None:
    rows = torch.randn(30, 8, generator=torch.Generator().manual_seed(1))
    cosines = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=-1).fill_diagonal_(-2)
    for feature, near in zip((7, 0), nearest_features(rows, [7, 0], 3), strict=True):
        best = cosines[feature].topk(3)
        assert [one.feature for one in near] == best.indices.tolist()
        assert [one.cosine for one in near] == pytest.approx(best.values.tolist(), rel=1e-5)
