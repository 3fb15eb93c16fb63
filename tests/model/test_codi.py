import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.model.codi import CodiConfig, Projection

CONFIG = CodiConfig(pad_id=0, bot_id=1, eot_id=2, prj_dim=24, eos_id=3, provenance={"lora_alpha": 32})


def test_settings_survive_json() -> None:
    assert CodiConfig.from_json(CONFIG.to_json()) == CONFIG


@pytest.mark.parametrize(
    "settings", [{"answer_rule": "first"}, {"n_thoughts": 0}, {"eos_id": None, "remove_eos": False}]
)
@pytest.mark.usefixtures("as_users_call")
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        CodiConfig(**{"pad_id": 0, "bot_id": 1, "eot_id": 2, "prj_dim": 24, **settings})  # type: ignore[arg-type]


def test_unknown_and_missing_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="thoghts"):
        CodiConfig.from_json('{"pad_id": 0, "bot_id": 1, "eot_id": 2, "prj_dim": 3, "thoghts": 6}')
    with pytest.raises(ConfigError, match="bot_id, eot_id"):
        CodiConfig.from_json('{"pad_id": 0, "prj_dim": 3}')


def test_the_projection_has_the_official_names() -> None:
    names = ["1.weight", "1.bias", "3.weight", "3.bias", "ln.weight", "ln.bias"]
    assert list(Projection(8, 5).state_dict()) == names
    assert list(Projection(8, 5, prj_no_ln=True).state_dict()) == names[:4]


def test_the_projection_is_linear_gelu_linear_layernorm() -> None:
    torch.manual_seed(0)
    projection, x = Projection(8, 5), torch.randn(3, 8)
    w = projection.state_dict()
    inner = x @ w["1.weight"].T + w["1.bias"]
    inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
    out = inner @ w["3.weight"].T + w["3.bias"]
    out = (out - out.mean(-1, keepdim=True)) / (out.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(projection(x), out)
