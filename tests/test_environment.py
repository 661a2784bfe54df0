"""Floating-point environments of callers: rounding modes and flushing to zero do not reach the parameters.

That the kernel itself does not feel them is in ``c/test_fastinit.c``; here it is the arithmetic and the parsing that
Python does before.
"""

from __future__ import annotations

import ctypes
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from fastinit.initializers import prepare
from fastinit.spec import parse_initializer
from machine import need

#: Sets MXCSR and returns what it was.
SOURCE = """
#include <xmmintrin.h>
unsigned exchange(unsigned wanted)
{
    const unsigned was = _mm_getcsr();
    _mm_setcsr(wanted);
    return was;
}
"""
STANDARD = 0x1F80
#: Of MXCSR: the rounding mode, flushing of results and of operands to zero, and no masks of exceptions. (Python
#: itself computes under these, and converts numbers inexactly: trapping is for the C tests.)
ENVIRONMENTS = {
    "downward": STANDARD | 0x2000,
    "upward": STANDARD | 0x4000,
    "towards zero": STANDARD | 0x6000,
    "flushing": STANDARD | 0x8040,
    "upward, flushing": STANDARD | 0xC040,
}

Exchange = Callable[[int], int]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Exchange:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("sets a register of x86-64")
    need("cc")
    need("cc", "-shared", "-fPIC", run=False)
    folder = tmp_path_factory.mktemp("exchange")
    (folder / "exchange.c").write_text(SOURCE)
    library = folder / "exchange.so"
    command = ["cc", "-shared", "-fPIC", str(folder / "exchange.c"), "-o", str(library)]
    subprocess.run(command, check=True)
    function = ctypes.CDLL(str(library)).exchange
    function.argtypes, function.restype = [ctypes.c_uint], ctypes.c_uint
    return function  # type: ignore[no-any-return]


@pytest.fixture(params=ENVIRONMENTS)
def foreign(request: pytest.FixtureRequest, exchange: Exchange) -> Callable[..., Any]:
    """Calls a function in an environment, which must be there still; what was computed before is forgotten."""
    mode = ENVIRONMENTS[request.param]
    caches = [prepare.__wrapped__, fi.fans.truncated_moments.__wrapped__]

    def call(function: Callable[[], Any]) -> Any:
        for cache in caches:
            cache.cache_clear()
        standard = exchange(mode)
        try:
            return function()
        finally:
            left = exchange(standard)
            for cache in caches:
                cache.cache_clear()
            assert left & ~0x3F == mode  # but for flags of exceptions, which Python raises too

    return call


SCALED = {
    "he_normal": fi.he_normal,
    "he_uniform": fi.he_uniform,
    "glorot_uniform": fi.glorot_uniform,
    "geometric mean": fi.VarianceScaling(1.0, "fan_geo_avg", "untruncated_normal"),
    "tf_contrib": fi.VarianceScaling(1.0, correction="tf_contrib"),
    "subnormal": fi.VarianceScaling(1e-310, "fan_in", "uniform"),
}


# Computed here: arguments are the caller's, in the caller's environment.
TENTHS = [n / 10 for n in range(1, 30)]
WITHIN = [(-0.7 / n, 0.9, 0.1 / n, 0.3 * n) for n in range(1, 50, 3)]


def bits(init: fi.Initializer, shape: tuple[int, int]) -> bytes:
    return b"".join(init(shape, seed=1, dtype=d).tobytes() for d in ("float32", "float64"))


def test_scaled_initializers_give_the_same_bits(foreign: Callable[..., Any]) -> None:
    """Without care, seven of eight shapes have other float64 values, and up to one of twenty other float32 ones."""
    for name, init in SCALED.items():
        for fan_in in range(3, 60, 4):
            shape = (fan_in, 97)
            assert foreign(lambda i=init, s=shape: bits(i, s)) == bits(init, shape), (name, shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda: [fi.TruncatedNormal.within(a, b, mean=m, stddev=s) for a, b, m, s in WITHIN],
        lambda: [fi.calculate_gain("leaky_relu", slope) for slope in TENTHS],
        lambda: [fi.truncated_std(-slope, 0.3) for slope in TENTHS],
        lambda: [parse_initializer(f"normal:stddev=0.{n}") for n in range(100, 200)],
        lambda: fi.Model.load("spec.json").to_json(),
        lambda: [fi.VarianceScaling(1e-310), fi.TruncatedNormal(0, 1, lower=1e-310, upper=2e-310)],
    ],
    ids=["within", "gain", "truncated_std", "text", "model", "subnormal arguments"],
)
def test_what_becomes_parameters_is_the_same(
    foreign: Callable[..., Any], make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    (tmp_path / "spec.json").write_text(
        '{"tensors": [{"name": "wte", "shape": [60, 12], "init": "normal:stddev=0.023"}, {"name": "{0..2}.up", '
        '"shape": [12, 48], "init": {"name": "truncated_normal", "stddev": 0.0047, "lower": -3.1}}]}'
    )
    monkeypatch.chdir(tmp_path)
    assert repr(foreign(make)) == repr(make())


def test_caches_tell_subnormal_parameters_apart(exchange: Exchange) -> None:
    """Where they count as zero, 1e-310, 2e-310 and 0 are equal and hash to the same."""
    inits = [fi.Normal(0, stddev) for stddev in (1e-310, 2e-310, 0.0)]
    want = [init((50,), seed=1, dtype="float64") for init in inits]
    assert len({w.tobytes() for w in want}) == 3
    prepare.__wrapped__.cache_clear()
    standard = exchange(ENVIRONMENTS["flushing"])
    try:
        made = [init((50,), seed=1, dtype="float64").view(np.uint64) for init in inits]
    finally:
        exchange(standard)
    for got, right in zip(made, want, strict=True):
        np.testing.assert_array_equal(got, right.view(np.uint64))


def test_subnormal_arguments_are_told_from_zero(exchange: Exchange) -> None:
    standard = exchange(ENVIRONMENTS["flushing"])
    try:
        with pytest.raises(ValueError, match="stddev must be finite and not negative"):
            fi.Normal(0, -1e-310)
        with pytest.raises(ValueError, match="low must not be above high"):
            fi.Uniform(2e-310, 1e-310)
    finally:
        exchange(standard)


def test_errors_restore_the_environment(exchange: Exchange) -> None:
    standard = exchange(ENVIRONMENTS["upward"])
    try:
        with pytest.raises(ValueError, match="largest finite"):
            fi.Normal(0, 1e30)((3,), seed=1, dtype="float16")
        with pytest.raises(ValueError, match="stddev"):
            fi.TruncatedNormal.within(0, 1, mean=0, stddev=-1)
    finally:
        left = exchange(standard)
    assert left & ~0x3F == ENVIRONMENTS["upward"]


def test_torch_functions_give_the_same_bits(foreign: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch")
    import fastinit.torch as face

    def make() -> list[bytes]:
        made = []
        for n in range(3, 40, 3):
            for name, arguments in (
                ("kaiming_uniform_", (5**0.5,)),
                ("kaiming_normal_", (0.1,)),
                ("xavier_normal_", (1.1,)),
                ("trunc_normal_", (0.1, 0.3, -0.7, 0.9)),
            ):
                weight = torch.empty((n, 7), dtype=torch.float64)
                getattr(face.init, name)(weight, *arguments, seed=1)
                made.append(weight.numpy().tobytes())
        return made

    face.init.initializer_of.__wrapped__.cache_clear()
    got = foreign(make)
    face.init.initializer_of.__wrapped__.cache_clear()
    assert got == make()
