"""Bad input: an error that names the argument, what was expected and what came, before anything is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from fastinit import tf_contrib

nan, inf = float("nan"), float("inf")
SEED = r"seed must be an int in \[0, 2\*\*64\), a numpy.random.SeedSequence \(which takes ints of any length\) or a numpy.random.Generator"
OUT = np.full((4, 6), 7.0, np.float32)


def fill(**options: Any) -> Any:
    return lambda: fi.he_normal.fill(OUT, **{"seed": 0, **options})


def read_only() -> np.ndarray:
    out = np.zeros(3, np.float32)
    out.flags.writeable = False
    return out


def nested(depth: int) -> list[object]:
    """A list whose literal has 2**depth items."""
    pair: list[object] = []
    for _ in range(depth):
        pair = [pair, pair]
    return pair


CASES: list[tuple[str, Any, type[Exception], str]] = [
    ("seed below 0", fill(seed=-1), ValueError, SEED + r", got -1$"),
    ("seed of 128 bits", fill(seed=2**127), ValueError, SEED + r", got 170141183460469231731687303715884105728$"),
    ("seed 2**64", fill(seed=2**64), ValueError, SEED + r", got 2\*\*64$"),
    ("seed 1.0", fill(seed=1.0), TypeError, SEED + r", got 1.0 of type float$"),
    ("seed np.True_", fill(seed=np.True_), TypeError, r"seed must be an int .* got (np.)?True_? of type bool"),
    ("seed True", fill(seed=True), TypeError, r"seed must be an int .* got True of type bool"),
    ("seed text", fill(seed="1"), TypeError, r"seed must be an int .* got '1' of type str"),
    ("stream -1", fill(stream=-1), ValueError, r"stream must be a text or an int of at least 0, got -1"),
    ("stream bytes", fill(stream=b"w"), TypeError, r"stream must be .* got b'w' of type bytes"),
    ("stream surrogate", fill(stream="\ud800"), ValueError, r"stream must be valid Unicode text"),
    ("threads 0", fill(threads=0), ValueError, r"threads must be an int of at least 1, got 0"),
    ("threads 1.5", fill(threads=1.5), TypeError, r"threads must be an int .* got 1.5"),
    ("set_num_threads 0", lambda: fi.set_num_threads(0), ValueError, r"n must be an int of at least 1, got 0"),
    ("shape negative", lambda: fi.zeros((2, -1)), ValueError, r"shape must not have negative .* \(2, -1\)"),
    ("shape float", lambda: fi.zeros((2.0, 1)), TypeError, r"shape must be an int or a sequence of ints, got"),
    ("shape None", lambda: fi.zeros(None), TypeError, r"shape must be an int or a sequence of ints, got None"),
    ("shape text", lambda: fi.zeros("ab"), TypeError, r"shape must be .* got 'ab'"),
    ("lower == upper", lambda: fi.TruncatedNormal(0, 1, lower=2, upper=2), ValueError, r"lower must be below upper, got lower=2.0, upper=2.0"),
    ("lower > upper", lambda: fi.TruncatedNormal(0, 1, lower=3, upper=2), ValueError, r"lower must be below upper, got lower=3.0"),
    ("lower NaN", lambda: fi.TruncatedNormal(0, 1, lower=nan, upper=2), ValueError, r"lower must be below upper, got lower=nan"),
    ("truncated_std NaN", lambda: fi.truncated_std(nan, 2), ValueError, r"lower must be below upper, got lower=nan"),
    ("mean NaN", lambda: fi.Normal(mean=nan), ValueError, r"mean must be finite, got nan"),
    ("mean infinite", lambda: fi.TruncatedNormal(mean=inf), ValueError, r"mean must be finite, got inf"),
    ("mean text", lambda: fi.Normal(mean="0"), TypeError, r"mean must be a real number, got '0' of type str"),
    ("mean complex", lambda: fi.Normal(mean=1j), TypeError, r"mean must be a real number, got 1j"),
    ("mean array", lambda: fi.Normal(mean=np.zeros(1)), TypeError, r"mean must be a real number"),
    ("mean too large", lambda: fi.Normal(mean=10**400), ValueError, r"mean must be in the range of a float, got a larger int"),
    ("std < 0", lambda: fi.Normal(0, -1), ValueError, r"stddev must be finite and not negative, got -1.0"),
    ("std NaN", lambda: fi.TruncatedNormal(0, nan), ValueError, r"stddev must be finite and not negative, got nan"),
    ("std infinite", lambda: fi.Normal(0, inf), ValueError, r"stddev must be finite and not negative, got inf"),
    ("low > high", lambda: fi.Uniform(1, 0), ValueError, r"low must not be above high, got low=1.0, high=0.0"),
    ("low NaN", lambda: fi.Uniform(nan, 0), ValueError, r"low and high must be finite, got nan and 0.0"),
    ("high infinite", lambda: fi.Uniform(0, inf), ValueError, r"low and high must be finite"),
    ("constant NaN", lambda: fi.Constant(nan), ValueError, r"value must be finite, got nan"),
    ("scale 0", lambda: fi.VarianceScaling(0), ValueError, r"scale must be positive and finite, got 0.0"),
    ("scale negative", lambda: fi.VarianceScaling(-1), ValueError, r"scale must be positive and finite, got -1.0"),
    ("scale infinite", lambda: fi.VarianceScaling(inf), ValueError, r"scale must be positive and finite, got inf"),
    ("mode", lambda: fi.VarianceScaling(1, "fan"), ValueError, r"mode must be one of fan_in, fan_out, fan_avg, fan_geo_avg, got 'fan'"),
    ("distribution", lambda: fi.VarianceScaling(1, "fan_in", "normal"), ValueError, r"distribution must be one of truncated_normal, untruncated_normal, uniform, got 'normal'"),
    ("correction", lambda: fi.VarianceScaling(1, correction="tf"), ValueError, r"correction must be one of exact, tf_contrib, none, got 'tf'"),
    ("axis out of range", lambda: fi.VarianceScaling(1, in_axis=2, out_axis=0)((3, 4), seed=0), ValueError, r"in_axis must lie in \[-2, 2\) for a shape of 2 dimensions, got"),
    ("axes equal", lambda: fi.VarianceScaling(1, in_axis=1, out_axis=-1)((3, 4), seed=0), ValueError, r"in_axis, out_axis and batch_axis must name different axes, got"),
    ("axis batch equal", lambda: fi.compute_fans((3, 4, 5), batch_axis=1), ValueError, r"must name different axes, got -2, -1 and 1"),
    ("axis float", lambda: fi.VarianceScaling(1, in_axis=0.5), TypeError, r"in_axis must be an int or a sequence of ints, got 0.5"),
    ("axis bool", lambda: fi.VarianceScaling(1, out_axis=True), TypeError, r"out_axis must be an int or a sequence of ints, got True"),
    ("axes bool", lambda: fi.compute_fans((3, 4, 5), batch_axis=[False]), TypeError, r"batch_axis must be an int or a sequence of ints, got \[False\]"),
    ("axes bytes", lambda: fi.VarianceScaling(1, in_axis=bytearray(1)), TypeError, r"in_axis must be an int or a sequence of ints, got bytearray"),
    ("axes nested", lambda: fi.VarianceScaling(1, in_axis=[[0]]), TypeError, r"in_axis must be an int or a sequence of ints, got \[\[0\]\]"),
    ("axes twice", lambda: fi.compute_fans((3, 4, 5), in_axis=(0, -3)), ValueError, r"must name different axes, got \(0, -3\), -1 and"),
    ("axes tree", lambda: fi.VarianceScaling(1, in_axis=nested(100)), TypeError, r"in_axis must be an int or a sequence of ints, got \[\["),
    ("axes too many", lambda: fi.VarianceScaling(1, in_axis=range(10**30)), ValueError, r"in_axis must have at most 64 items, got range"),
    ("axis never", lambda: fi.VarianceScaling(1, in_axis=-(10**5000)), ValueError, r"in_axis must lie in \[-64, 64\), got an int of 16610 bits"),
    ("nonlinearity", lambda: fi.calculate_gain("gelu"), ValueError, r"nonlinearity must be one of linear, .*leaky_relu, got 'gelu'"),
    ("slope bool", lambda: fi.calculate_gain("leaky_relu", True), TypeError, r"param must be a real number, got True"),
    ("slope text", lambda: fi.calculate_gain("leaky_relu", "1"), TypeError, r"param must be a real number, got '1'"),
    ("slope NaN", lambda: fi.calculate_gain("leaky_relu", nan), ValueError, r"param must be finite, got nan"),
    ("dtype int", lambda: fi.zeros(3, dtype="int32"), TypeError, r"dtype must be float32, float64, float16, bfloat16, float8_e4m3fn or float8_e5m2, got dtype\('int32'\)"),
    ("dtype complex", lambda: fi.zeros(3, dtype=complex), TypeError, r"dtype must be float32"),
    ("dtype longdouble", lambda: fi.zeros(3, dtype=np.longdouble), TypeError, r"dtype must be float32"),
    ("dtype unknown", lambda: fi.zeros(3, dtype="float7"), TypeError, r"dtype must be float32, .* got 'float7'"),
    ("dtype overflow", lambda: fi.zeros(3, dtype={"a": ("f4", 10**30)}), TypeError, r"dtype must be float32, .* got \{'a': \('f4', 10+\)\}"),
    ("dtype swapped", lambda: fi.zeros(3, dtype=np.dtype("f4").newbyteorder()), TypeError, r"in native byte order, got"),
    ("out read-only", lambda: fi.zeros.fill(read_only()), ValueError, r"out must be writable, got a read-only array"),
    ("out list", lambda: fi.zeros.fill([1.0, 2.0]), TypeError, r"out must be a numpy.ndarray, got list"),
    ("out int", lambda: fi.zeros.fill(np.zeros(3, int)), TypeError, r"out.dtype must be float32, .* got dtype\('int64'\)"),
    ("out void", lambda: fi.zeros.fill(np.zeros(3, "V2")), TypeError, r"out.dtype must be"),
    ("out broadcast", lambda: fi.zeros.fill(np.broadcast_to(np.zeros(3, np.float32), (2, 3))), ValueError, r"out must be writable, got a read-only array"),
    ("out masked", lambda: fi.zeros.fill(np.ma.masked_equal(np.float32([1, 2, 1, 3]), 1)), ValueError, r"out must not have masked elements, got an array with 2 of 4 masked; pass out.data to fill them all"),
    ("out overlaps", lambda: fi.zeros.fill(np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), (3, 4), (4, 4))), ValueError, r"out must not have elements that may share memory, got an array of shape \(3, 4\) and strides \(4, 4\)"),
    ("out shape", fill(shape=(4, 5)), ValueError, r"out must have the shape \(4, 5\), got \(4, 6\)"),
    ("index without shape", fill(index=0), ValueError, r"index needs shape, the shape of the whole tensor; got shape=None"),
    ("index size", fill(shape=(9, 6), index=slice(0, 3)), ValueError, r"out must have the shape \(3, 6\) of index slice\(0, 3, None\) of shape \(9, 6\), got \(4, 6\)"),
    ("index rank", fill(shape=(4, 6), index=(0, 0, 0)), ValueError, r"index must have at most 2 items for shape \(4, 6\), got \(0, 0, 0\)"),
    ("index beyond", fill(shape=(4, 6), index=4), ValueError, r"index\[0\] must be an int in \[-4, 3\], got 4"),
    ("index below", fill(shape=(4, 6), index=(0, -7)), ValueError, r"index\[1\] must be an int in \[-6, 5\], got -7"),
    ("slice beyond", fill(shape=(9, 6), index=slice(6, 10)), ValueError, r"index\[0\] must have its ends in \[-9, 9\], those of axis 0, got slice\(6, 10, None\)"),
    ("slice below", fill(shape=(9, 6), index=slice(-10, 4)), ValueError, r"index\[0\] must have its ends in"),
    ("slice step 0", fill(shape=(9, 6), index=slice(0, 4, 0)), ValueError, r"index\[0\] must not have a step of 0, got slice\(0, 4, 0\)"),
    ("slice float", fill(shape=(9, 6), index=slice(0.0, 4)), TypeError, r"index\[0\] must be a slice of ints, got slice\(0.0, 4, None\)"),
    ("index newaxis", fill(shape=(4, 6), index=(None, 0)), TypeError, r"index\[0\] must be an int, a slice or Ellipsis, got None"),
    ("index mask", fill(shape=(4, 6), index=np.ones(4, bool)), TypeError, r"index\[0\] must be an int, a slice or Ellipsis"),
    ("two ellipses", fill(shape=(4, 6), index=(..., ...)), ValueError, r"index must have at most one Ellipsis"),
    ("too many elements", lambda: fi.zeros.shard((2**40, 2**40), (0, 0), seed=0), ValueError, r"shape must have at most 2\*\*64 elements, sizes of 0 left out, got \(1099511627776, 1099511627776\)"),
    ("too many elements beside 0", lambda: fi.zeros((0, 2**40, 2**40)), ValueError, r"shape must have at most 2\*\*64 elements, sizes of 0 left out, got \(0, "),
    ("fan beside 0", lambda: fi.VarianceScaling(batch_axis=0).resolve((0, 10**400, 3, 4)), ValueError, r"shape must have at most .* got \(0, an int of 1329 bits, 3, 4\)"),
    ("address space beside 0", lambda: fi.zeros((0, 2**62)), ValueError, r"shape must fit the address space as float32, got \(0, 4611686018427387904\)"),
    ("too many dimensions", lambda: fi.zeros((1,) * 65), ValueError, r"shape must have at most 64 items, got \(1, 1,"),
    ("endless dimensions", lambda: fi.zeros(range(10**30)), ValueError, r"shape must have at most 64 items, got range\(0, 10+\)"),
    ("too large for memory", lambda: fi.zeros.shard((2**64,), ..., seed=0), ValueError, r"shape must fit the address space as float32, got \(2\*\*64,\)"),
    ("shape np.True_", lambda: fi.zeros((2, np.True_)), TypeError, r"shape must be an int or a sequence of ints, got \(2, (np.)?True_?\)"),
    ("shape bool", lambda: fi.zeros((True, 2)), TypeError, r"shape must be an int or a sequence of ints, got \(True, 2\)"),
    ("shape set", lambda: fi.zeros({3, 2}), TypeError, r"shape must be an int or a sequence of ints, got"),
    ("shape empty text", lambda: fi.zeros(""), TypeError, r"shape must be an int or a sequence of ints, got ''"),
    ("shard without a seed", lambda: fi.zeros.shard((3,), 0, seed=None), TypeError, r"seed must be given to make a shard, got None"),
    ("seed huge", fill(seed=10**5000), ValueError, r"seed must be .* got an int of 16610 bits"),
    ("truncated_std text", lambda: fi.truncated_std("a", 2), TypeError, r"lower must be a real number, got 'a'"),
    ("nonlinearity list", lambda: fi.calculate_gain(["relu"]), ValueError, r"nonlinearity must be one of .* got \['relu'\]"),
    ("dtype None", lambda: fi.zeros(3, dtype=None), TypeError, r"dtype must be float32, .* got None"),
    ("dtype comma", lambda: fi.zeros(3, dtype=","), TypeError, r"dtype must be float32, .* got ','"),
    ("overflow normal", lambda: fi.Normal(0, 1e4)(9, dtype="float16"), ValueError, r"values could exceed the largest finite number of the dtype: normal in float16 with mean=0.0, stddev=10000.0"),
    ("overflow reach", lambda: fi.Normal(0, 3.4028234663852886e38 / 6.6603)(9), ValueError, r"values could exceed"),  # sqrt(64 ln 2) = 6.66044
    ("overflow reach float64", lambda: fi.Normal(0, 1.7976931348623157e308 / 8.5716)(9, dtype="float64"), ValueError, r"values could exceed"),  # sqrt(106 ln 2) = 8.57168
    ("overflow uniform", lambda: fi.Uniform(-1e39, 0)(9), ValueError, r"values could exceed .*: uniform in float32 with low=-1e\+39, high=0.0"),
    ("overflow width", lambda: fi.Uniform(-1.5e308, 1.5e308)(9, dtype="float64"), ValueError, r"values could exceed .*: uniform in float64"),
    ("overflow constant", lambda: fi.Constant(1e5)(9, dtype="float16"), ValueError, r"values could exceed"),
    ("overflow truncated", lambda: fi.TruncatedNormal(0, 1e38, lower=3, upper=9)(9), ValueError, r"values could exceed .*: truncated normal in float32"),
    ("no value between bounds", lambda: fi.TruncatedNormal(1, 1e-9, lower=0.5, upper=2)(9), ValueError, r"the dtype has no value between the bounds: truncated normal in float32 with mean=1.0"),
    ("words n", lambda: fi.random_words(-1, seed=0), ValueError, r"n must be an int of at least 0 and at most 2\*\*64 - offset, got -1"),
    ("words offset", lambda: fi.random_words(1, seed=0, offset=-1), ValueError, r"offset must be an int in \[0, 2\*\*64\), got -1"),
    ("words beyond", lambda: fi.random_words(2, seed=0, offset=2**64 - 1), ValueError, r"n must be an int of at least 0 and at most 2\*\*64 - offset, got 2$"),
    ("isa", lambda: fi.set_isa("z80"), ValueError, r"name must be one of .*scalar on this machine, got 'z80'"),
    ("contrib mode", lambda: tf_contrib.variance_scaling_initializer(mode="fan_in"), ValueError, r"mode must be one of FAN_IN, FAN_OUT, FAN_AVG, got 'fan_in'"),
    ("contrib dtype", lambda: tf_contrib.xavier_initializer(dtype=np.int32), TypeError, r"dtype must be float32"),
    ("contrib call dtype", lambda: tf_contrib.xavier_initializer()((2, 3), np.int32), TypeError, r"dtype must be float32"),
    ("contrib factor", lambda: tf_contrib.variance_scaling_initializer(0.0), ValueError, r"factor must be positive and finite, got 0.0"),
    ("contrib seed", lambda: tf_contrib.xavier_initializer(seed=-1), ValueError, r"seed must be an int"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert type(caught.value) is error
    assert (OUT == 7.0).all()  # the array of `fill` was not touched


class Shouting:
    def __init__(self, text: str | None) -> None:
        self._text = text

    def __repr__(self) -> str:
        if self._text is None:
            raise OSError("no text\nat all")
        return self._text


class Unbounded(str):
    def __repr__(self) -> str:
        return "a\n" * 10**6


ODD: dict[str, Any] = {
    "lines": Shouting("a\nb\x1b[31m\u202e\x00"), "huge": Shouting("\x00" * 10**5), "raises": Shouting(None),
    "array": np.ones((30, 30)), "long text": "x" * 10**5, "long list": ["a\n"] * 10**6, "text": Unbounded("zz"),
    "digits": [10**5000], "fake": type("list", (), {})(), "bidi": "\u202e\u2066\ud800",
}  # fmt: skip
TAKERS: dict[str, Any] = {
    "seed": lambda odd: fi.zeros(2, seed=odd),
    "stream": lambda odd: fi.zeros(2, seed=0, stream=odd),
    "shape": lambda odd: fi.zeros([odd]),
    "dtype": lambda odd: fi.zeros(2, dtype=odd),
    "index": lambda odd: fi.zeros.shard(2, odd, seed=0),
    "slice": lambda odd: fi.zeros.shard(2, slice(odd, None), seed=0),
    "two ellipses": lambda odd: fi.zeros.shard(2, (..., ..., odd), seed=0),
    "mean": lambda odd: fi.Normal(mean=odd),
    "mode": lambda odd: fi.VarianceScaling(1, odd),
    "in_axis": lambda odd: fi.VarianceScaling(1, in_axis=odd, out_axis=0),
    "isa": lambda odd: fi.set_isa([odd]),
    "tensor": lambda odd: fi.Tensor("a", 2, odd),
    "model": lambda odd: fi.Model([odd]),
    "name": lambda odd: fi.Model([])[Shouting(repr(odd))] if isinstance(odd, str) else fi.Model([])[(1,)],
    "arrays": lambda odd: fi.Model([]).fill(odd, seed=0),
    "out": lambda odd: fi.Model([fi.Tensor("a", 2, fi.ones)]).fill({"a": odd}, seed=0),
    "rule": lambda odd: fi.Model.load("a.toml", rules=[[odd]]),
    "path": lambda odd: fi.Model([fi.Tensor("a", 2, fi.ones)]).write("x" * 10**5, seed=0),
}  # fmt: skip


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_errors_are_one_short_line(take: Any, odd: Any) -> None:
    """Whatever `repr` makes of the value that came."""
    if isinstance(odd, str) and take is TAKERS["stream"]:
        return  # a good name, or refused as one
    with pytest.raises((ValueError, TypeError, KeyError)) as raised:
        take(odd)
    text = str(raised.value)
    assert text.isprintable(), text[:300]
    assert len(text) < 320


def test_everything_is_checked_before_the_seed_is_drawn() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="out must have the shape"):
        fi.he_normal.fill(OUT, seed=generator, shape=(4, 5))
    with pytest.raises(ValueError, match="values could exceed"):
        fi.Normal(0, 1e39).fill(OUT, seed=generator)
    assert generator.integers(2**40) == np.random.default_rng(0).integers(2**40)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FASTINIT_ISA", "z80", "FASTINIT_ISA in the environment: name must be one of"),
        ("FASTINIT_NUM_THREADS", "0", "FASTINIT_NUM_THREADS in the environment: expected an int of at least 1, got '0'"),
        ("FASTINIT_NUM_THREADS", "9" * 5000, "FASTINIT_NUM_THREADS in the environment: expected an int of at least 1, got '999"),
        ("FASTINIT_NUM_THREADS", "two", "FASTINIT_NUM_THREADS in the environment: expected an int"),
    ],
)  # fmt: skip
def test_bad_environment(name: str, value: str, message: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import fastinit"],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert message in run.stderr


@pytest.mark.parametrize(("name", "value"), [("FASTINIT_ISA", "z80"), ("FASTINIT_NUM_THREADS", "0")])  # fmt: skip
def test_bad_environment_of_the_command(tmp_path: Path, name: str, value: str) -> None:
    """One line, as about its arguments, whether the command is a script or a module."""
    script = tmp_path / "fastinit"
    script.write_text("import sys\nfrom fastinit.cli import main\nsys.exit(main())\n")
    for command in (["-m", "fastinit"], [str(script)]):
        done = subprocess.run(
            [sys.executable, *command, "info"],
            env={**os.environ, name: value},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"fastinit: {name} in the environment: ")
        assert done.stderr.count("\n") == 1


def test_good_environment() -> None:
    code = "import fastinit as fi; print(fi.isa(), fi.get_num_threads())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FASTINIT_ISA": "scalar", "FASTINIT_NUM_THREADS": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "scalar 7\n"


def test_valid_edges() -> None:
    """Infinite bounds, a standard deviation of 0, equal uniform bounds: not errors."""
    np.testing.assert_array_equal(
        fi.Normal(0.5, 0)((2, 3), seed=0), np.full((2, 3), 0.5, np.float32)
    )
    np.testing.assert_array_equal(
        fi.TruncatedNormal(0.1, 0, lower=5, upper=inf)(3), np.full(3, 0.1, np.float32)
    )
    np.testing.assert_array_equal(fi.Uniform(0.1, 0.1)(3), np.full(3, 0.1, np.float32))
    assert (fi.TruncatedNormal(0, 1, lower=3, upper=inf)(1000, seed=0) >= 3).all()
    assert (fi.TruncatedNormal(0, 1, lower=-inf, upper=-3)(1000, seed=0) <= -3).all()
    negative_zero = fi.Constant(-0.0)(3)
    assert not np.signbit(negative_zero).any()


def test_bfloat16_without_ml_dtypes_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r"package ml_dtypes: pip install ml_dtypes$"):
        fi.zeros(3, dtype="bfloat16")
