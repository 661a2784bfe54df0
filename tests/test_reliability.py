"""Short forms of the batteries of docs/reliability.md, and proof that those see what is wrong.

The statistics have fixed seeds. Had these been drawn afresh, the test of all laws would fail by
chance once in a thousand.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastinit as fi
import reference
from machine import missing, need
from reliability import battery, builds

STEP = 10007  # every word of tests/c/test_transforms.c is a multiple of it
BATCH = 4096


def digest(x: NDArray[np.float32]) -> str:
    """That of test_transforms.c: a polynomial of the bits, modulo 2**64."""
    multiplier = np.full(x.size, 6364136223846793005, np.uint64)
    multiplier[0] = 1
    powers = np.cumprod(multiplier)[::-1]
    return f"{(x.view(np.uint32) * powers).sum(dtype=np.uint64):016x}"


def oracle_lines() -> list[str]:
    """What test_transforms.c must print, by the oracle."""
    real = reference.FLOAT32
    count = -(-(2**32) // (STEP * BATCH)) * BATCH
    w = (np.arange(count, dtype=np.uint64) * STEP & 0xFFFFFFFF).astype(np.uint32)
    x = real.angle(w)
    pair = reference.normals(real, np.stack([w, w << np.uint32(17) | w >> np.uint32(15)]), 2.0)
    values = {
        "unit": reference.unit(real, w),
        "half_log": reference.h(real, w),
        "phase": x,
        "sine": x * reference.polynomial(x * x, real.sin),
        "cosine": reference.polynomial(x * x, real.cos),
        "normal 0": pair[0],
        "normal 1": pair[1],
    }
    formats = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
    return [f"{name} {digest(value)}" for name, value in values.items()] + [
        f"{name}: 0 wrongly rounded" for name in formats
    ]


@pytest.mark.parametrize("tier", ["scalar", "sse2", "avx2", "avx512", "neon"])
def test_transforms_of_words(tmp_path: Path, tier: str) -> None:
    """Words from the whole range give the bits of the oracle, and all floats round rightly to 16 and 8 bits."""
    compiler, runner = (
        ("aarch64-linux-gnu-gcc", ["qemu-aarch64"]) if tier == "neon" else ("gcc", [])
    )
    if tier == "neon" and tier in fi.available_isas():
        compiler, runner = "gcc", []
    elif tier not in ("neon", *fi.available_isas()):
        pytest.skip(f"this machine has no {tier}")
    need(compiler, "-O3", "-static", runner=tuple(runner))
    out = tmp_path / "words"
    source = f'-DTIER="{builds.ROOT / "csrc" / f"kernel_{tier}.c"}"'
    flags = ["-O3", "-std=c11", "-ffp-contract=off", "-static", source]
    command = builds.command(compiler, flags, "tests/c/test_transforms.c", out, kernel=())
    subprocess.run(command, check=True)
    done = subprocess.run([*runner, str(out), str(STEP)], capture_output=True, text=True)
    assert done.stdout.splitlines() == oracle_lines()
    assert done.returncode == 0


NO_LIBRARY = missing("gcc", (), (), True) or missing("gcc", ("-shared", "-fPIC"), (), False)
needs_gcc = pytest.mark.skipif(bool(NO_LIBRARY), reason=f"gcc builds what counts: {NO_LIBRARY}")


@needs_gcc
def test_battery(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a million values of each law and dtype, and 65,536 words of each pair of sequences; stopped and resumed."""
    for name in battery.LAWS:
        for dtype in ("float32", "float64"):
            for samples in (2**18, 2**19):
                battery.run_law(name, dtype, samples, 1, tmp_path)
    battery.run_words(2**16, 1, tmp_path)
    assert battery.report(1, tmp_path), capsys.readouterr().out


def spoil_nothing(x: NDArray[Any]) -> None:
    pass


def widen(x: NDArray[Any]) -> None:
    x *= 1.003


def shift(x: NDArray[Any]) -> None:
    x += 0.008


def leave_the_tails(x: NDArray[Any]) -> None:
    x[abs(x) > 4] = 0.0


def repeat(x: NDArray[Any]) -> None:
    x.reshape(-1, 2, 16)[::50, 1] = x.reshape(-1, 2, 16)[::50, 0]


def lose_one(x: NDArray[Any]) -> None:
    x[77] = np.nan


def coarsen(x: NDArray[Any]) -> None:
    np.rint(x * 2**14, out=x)
    x /= 2**14


def move_within_bins(x: NDArray[Any]) -> None:
    edges, _ = battery.edges_of(battery.LAWS["normal"], "float64")
    bins = np.searchsorted(edges, x, side="right")
    inner = (bins > 0) & (bins < battery.BINS - 1)
    x[inner] = (edges[bins[inner] - 1] + edges[bins[inner]]) / 2


def echo(x: NDArray[Any]) -> None:
    np.copysign(x[4::20], x[:-4:20], out=x[4::20])


def overflow(x: NDArray[Any]) -> None:
    x[5] = np.inf


@needs_gcc
@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (spoil_nothing, set()),
        (widen, {"moment 2"}),
        (shift, {"moment 1", "KS", "AD"}),
        (leave_the_tails, {"> 4", "< -4"}),
        (repeat, {"lag 16", "joint", "angle"}),
        (lose_one, {"bounds"}),
        (coarsen, {"chi-square"}),
        (move_within_bins, {"places"}),
        (echo, {"lag 4"}),
        (overflow, {"bounds"}),
    ],
)
def test_the_battery_sees(spoil: Callable[[NDArray[Any]], None], seen: set[str]) -> None:
    """Normal numbers from elsewhere pass; what is wrong with them shows where it should."""
    law = battery.LAWS["normal"]
    totals = battery.Totals(least=np.inf, largest=-np.inf)
    values = np.random.default_rng(7).standard_normal(2**21)
    spoil(values)
    struct = battery.law_struct(law, "float64")
    for chunk in values.reshape(-1, battery.CHUNK):
        battery.accumulate(battery.library(), struct, totals, chunk)
    failed = {name for name, p in battery.judge_law(law, "float64", totals) if p < 1e-6}
    assert seen <= failed
    assert bool(seen) == bool(failed)


@needs_gcc
def test_a_statistic_that_is_no_number_fails() -> None:
    law = battery.LAWS["normal"]
    totals = battery.Totals(n=2**21, least=-6.0, largest=6.0)
    for sums in (totals.powers, totals.products, totals.square_products):
        sums[:] = [math.nan] * len(sums)
    with np.errstate(invalid="ignore"):  # of the counts, which are all 0
        p = dict(battery.judge_law(law, "float64", totals))
    sums = [name for name in p if name.startswith(("moment", "lag", "squares"))]
    assert len(sums) == 24
    assert {p[name] for name in sums} == {0.0}
    assert battery.chi_square(np.array([1, 2]), np.array([1.0, math.nan])) == 0.0


@needs_gcc
def test_the_battery_sees_words_that_have_something_in_common() -> None:
    done = {f"{kind} {name}": [2**16, 0.0, 16 * 2**16] for kind, name, *_ in battery.word_pairs(1)}
    done["seeds bit 3"] = [2**16, 2**16 / 3, 0]  # equal
    failed = {(kind, name) for kind, name, p in battery.judge_words(1, done) if p < 1e-6}
    assert failed == {("seeds", "bit 3, products"), ("seeds", "bit 3, bits")}


@needs_gcc
def test_words_are_compared() -> None:
    """Equal sequences have all bits in common, and products of a third; those of a test are the kernel's."""
    n = battery.WORDS
    product, differing = battery.compare_words((3, 0), (3, 0), n)
    assert differing == 0
    assert product == pytest.approx(n / 3, rel=0.03)
    ours, others = (reference.random_words(key, 0, n) for key in (3, 4))
    exact = (ours.view(np.int32).astype(float) @ others.view(np.int32).astype(float)) * 2.0**-62
    product, differing = battery.compare_words((3, 0), (4, 0), n)
    assert product == pytest.approx(exact, rel=1e-9)
    assert differing == np.unpackbits((ours ^ others).view(np.uint8)).sum()


@needs_gcc
def test_a_wrong_transform_of_the_oracle_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges take outputs from the oracle: one that is off by a millionth is not taken for the law."""
    unit = reference.unit
    monkeypatch.setattr(reference, "unit", lambda real, w: unit(real, w) * np.float32(1 + 2e-6))
    with pytest.raises(AssertionError):
        battery.edges_of(battery.LAWS["uniform"], "float32")


def test_anderson_darling() -> None:
    """Upper points of the limit, as Marsaglia and Marsaglia (2004) and tables before them have them."""
    for z, share in ((2.492, 0.95), (3.878, 0.99), (1.933, 0.90), (6.0, 0.9990), (6.001, 0.9990)):
        assert battery.anderson_darling_cdf(z) == pytest.approx(share, abs=1e-4)
