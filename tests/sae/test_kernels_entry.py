"""Which implementation the entry point picks, and what it refuses."""

import os
import subprocess
import sys

import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.sae.kernels import IMPLS, autograd, decode_topk, eager, encode_topk, reference
from codi_int.sae.kernels import _module as chosen


def test_names():
    x = torch.zeros(1, 2, device="cuda" if torch.cuda.is_available() else "cpu")
    assert [chosen(impl, x) for impl in IMPLS] == [reference, eager, autograd]


def test_plain_torch_on_the_cpu():
    assert chosen(None, torch.zeros(1, 2)) is eager


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_kernels_on_a_gpu():
    assert chosen(None, torch.zeros(1, 2, device="cuda")) is autograd


def test_kernels_refuse_double():
    with pytest.raises(ConfigError, match=r"not torch\.float64") as caught:
        chosen("triton", torch.zeros(1, 2, dtype=torch.float64))
    assert "eager" in caught.value.remedy


def test_without_the_interpreter_the_cpu_is_refused_and_importing_imports_no_kernel():
    code = (
        "import sys, torch\nfrom codi_int.errors import ConfigError\nfrom codi_int.sae.kernels import encode_topk\n"
        "print(any(name.endswith('_triton') for name in sys.modules))\n"
        "try:\n    encode_topk(torch.zeros(1, 2), torch.zeros(2, 3), torch.zeros(3), 1, impl='triton')\n"
        "except ConfigError as error:\n    print(error)"
    )
    clean = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False\n")
    assert "TRITON_INTERPRET=1 was not set" in done.stdout


def test_decode_refuses_what_does_not_fit():
    values, indices, W, b = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64), torch.zeros(5, 4), torch.zeros(4)
    with pytest.raises(ConfigError, match="do not fit together"):
        decode_topk(values[:, :2], indices, W, b)
    with pytest.raises(ConfigError, match="do not fit together"):
        decode_topk(values, indices, W, b[:3])
    with pytest.raises(ConfigError, match="dtypes differ"):
        decode_topk(values.double(), indices, W, b)
    with pytest.raises(ConfigError, match="Known: reference, eager, triton"):
        decode_topk(values, indices, W, b, impl="sparse")


def test_all_implementations_agree():
    generator = torch.Generator().manual_seed(0)
    x, W, b = (torch.randn(*s, generator=generator) for s in ((4, 10), (10, 50), (50,)))
    first, *others = [encode_topk(x, W, b, k=6, rule="abs", impl=impl) for impl in ("reference", "eager", "triton")]
    for other in others:
        assert torch.equal(first.indices, other.indices)
        torch.testing.assert_close(first.values, other.values)


@pytest.mark.parametrize("width", [7, 300, 512, 700, 1024, 2048])
@pytest.mark.parametrize("k", [1, 5, 40, 100, 255, 300, 2048])
def test_kept_marks_what_the_reference_selects(width, k):
    k = min(k, width)
    key = torch.randn(9, width, generator=torch.Generator().manual_seed(k))
    key[1] = key[1].round()  # ties everywhere
    key[2] = 0.0
    key[3, width // 2] = torch.nan
    key[4, ::3] = torch.inf
    before = key.clone()
    expected = torch.zeros(9, width, dtype=torch.bool).scatter_(1, reference.select(key, k), True)
    assert torch.equal(eager.kept(key, k), expected)
    assert torch.equal(key.nan_to_num(), before.nan_to_num())
