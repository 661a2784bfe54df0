"""Any input: of the Python entry points, right elements or an error before anything is written; of files, what is
documented, in bounded memory, or an error of one line.

The examples are the same in every run. `tests/reliability/fuzz.py` looks further, for hours.
"""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastinit as fi
import hostile
from cases import DISTRIBUTIONS, initializer, oracle
from conftest import DTYPES, as_bits
from fastinit import _kernel
from fastinit.cli import main
from fastinit.files import read_stored

FIXED = settings(derandomize=True, deadline=None, max_examples=150)
UINT64 = st.integers(0, 2**64 - 1)


# Files.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> hostile.Folder:
    return hostile.Folder(tmp_path_factory.mktemp("hostile") / "samples")


#: Bytes of memory while a file is read: so many for each of its own, and besides, for tables of dtypes and buffers.
MEMORY_FACTOR, MEMORY = 400, 16_000_000
#: What the description of a tensor takes, from a config of a few bytes.
TENSOR_MEMORY = 4000


def check_reading(folder: hostile.Folder, kind: str, content: bytes) -> None:
    tracemalloc.start()
    try:
        count = folder.try_content(kind, content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY + MEMORY_FACTOR * len(content) + TENSOR_MEMORY * count
    folder.check_unchanged()


@pytest.mark.filterwarnings("ignore:.*tells? no initializer:UserWarning")
def test_the_samples_are_valid(folder: hostile.Folder) -> None:
    """Else nothing but the first check of each reader would be tested."""
    for kind in hostile.KINDS:
        path = folder.samples[kind]
        assert len(fi.Model.load(path) if kind not in ("raw", "npy") else read_stored(path.parent))
    model = fi.Model(hostile.TENSORS)
    for name in ("stored.safetensors", "set", "raw"):
        where = folder.samples["safetensors"].parent / name
        assert model.differences(where, seed=hostile.SEED) == []


@st.composite
def edits(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change of bytes: one replaced, a stretch cut out, repeated or put in, the end cut off."""
    where = draw(st.floats(0, 1))
    size = draw(st.integers(1, 20))
    some = draw(
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"9" * 5000, b"[" * 2000, b"a." * 3000, b'"', b"\xff", b"-", b"1e999", b"\n", b"{}", b"0x" + b"f" * 5000]),
        )
    )  # fmt: skip
    kind = draw(st.sampled_from(["replace", "cut", "repeat", "insert", "truncate"]))

    def edit(data: bytes) -> bytes:
        at = int(where * len(data))
        before, part, after = data[:at], data[at : at + size], data[at + size :]
        changed = {
            "replace": before + some + data[at + len(some) :],
            "cut": before + after,
            "repeat": before + part * 2 + after,
            "insert": before + some + part + after,
            "truncate": before,
        }
        return changed[kind]

    return edit


@pytest.mark.parametrize("kind", hostile.KINDS)
@given(changes=st.lists(edits(), min_size=1, max_size=3))
@settings(FIXED, max_examples=20)
def test_files_with_changed_bytes(
    folder: hostile.Folder, kind: str, changes: list[Callable[[bytes], bytes]]
) -> None:
    content = folder.contents[kind]
    for change in changes:
        content = change(content)
    check_reading(folder, kind, content)


@pytest.mark.parametrize("kind", sorted({*hostile.KINDS} - {"npy", "toml"}))
@given(data=st.data())
@settings(FIXED, max_examples=30)
def test_files_with_changed_values(folder: hostile.Folder, kind: str, data: st.DataObject) -> None:
    """One value, at any depth, becomes another of `hostile.VALUES`; the header's length and the data stay right."""
    content, elements = folder.contents[kind], b""
    if kind == "safetensors":
        content, elements = hostile.without_length(content)
    value = json.loads(content)
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(hostile.paths_in(value)))
        value = hostile.replaced(value, place, data.draw(st.sampled_from(hostile.VALUES)))
    text = json.dumps(value).encode()
    check_reading(folder, kind, hostile.with_length(text, elements) if kind == "safetensors" else text)  # fmt: skip


NPY_SHAPES = ("(2,)", "()", "(-1, -4)", "(True, 2)", "(2**3,)", "(" + "9" * 4000 + ",)", "(" + "1," * 3000 + ")", "[2]", "(2.0,)", "None")  # fmt: skip
NPY_TYPES = ("'<f4'", "'>f4'", "'|V2'", "'|V0'", "'|O'", "[('a', '|i1'), ('b', '|i1')]", "('<f4', (2,))", "'<U3'", "'<M8[s]'", "'f' * 9", "7")  # fmt: skip


@given(
    st.sampled_from(NPY_SHAPES),
    st.sampled_from(NPY_TYPES),
    st.booleans(),
    st.sampled_from([None, 0, 1, 2**16 - 1, 2**32 - 1]),
    st.sampled_from([1, 2, 3, 4, 255]),
)
@settings(FIXED, max_examples=120)
def test_npy_headers(
    folder: hostile.Folder, shape: str, descr: str, fortran: bool, length: int | None, version: int
) -> None:
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}\n".encode()
    stated = len(header) if length is None else length
    size = min(stated, 2**16 - 1).to_bytes(2, "little") if version == 1 else stated.to_bytes(4, "little")  # fmt: skip
    check_reading(folder, "npy", b"\x93NUMPY" + bytes([version, 0]) + size + header + bytes(8))


# Entry points.

#: Arguments of every kind that has no business there.
OBJECTS: list[Any] = [
    None, True, -1, 0, 1, 2**63, 2**64, -(2**64), 10**5000, 0.5, math.nan, math.inf, 1j, Fraction(1, 3), "", "zz",
    "\ud800", b"x", [], (), {}, {1}, [[]], [1, "a"], (2, -1), (True,), (2**70,), (1,) * 70, slice(None), ..., range(3),
    np.float32(2), np.int8(-3), np.uint64(2**63), np.arange(3), np.zeros((2, 2)), np.bool_(True), np.array(None),
    np.dtype("f4"), np.dtype(">f4"), "float32", "bfloat16", "i4", ",", object, int, float, lambda: None,
]  # fmt: skip
ARGUMENTS = ("seed", "stream", "shape", "index", "threads", "dtype")
REFUSALS = (TypeError, ValueError)


@given(st.dictionaries(st.sampled_from(ARGUMENTS), st.sampled_from(OBJECTS), max_size=2))
@settings(FIXED, max_examples=400)
def test_any_argument(given: dict[str, Any]) -> None:
    """`fill`, a call and `shard`: TypeError or ValueError, and then nothing has been written."""
    out = np.full((2, 3), 7, np.float32)
    options = {"seed": 0, "shape": (2, 3)} | given
    dtype = options.pop("dtype", "float32")
    try:
        fi.he_normal.fill(out, **options)
    except REFUSALS:
        assert (out == 7).all()
    else:
        assert (np.abs(out) < 4).all()
    shape, index = options.pop("shape"), options.pop("index", None)
    for make in (
        lambda: fi.ones(shape, dtype=dtype, **options),
        lambda: fi.ones.shard(shape, index, dtype=dtype, **options),
    ):
        try:
            made = make()
        except REFUSALS:
            continue
        assert (made.astype(np.float64) == 1).all()


@given(st.sampled_from(sorted(DISTRIBUTIONS)), st.lists(st.one_of(st.floats(), st.sampled_from(OBJECTS)), max_size=4))  # fmt: skip
@settings(FIXED, max_examples=250)
def test_any_parameter(case: str, parameters: list[Any]) -> None:
    """Of a distribution: refused, or finite values within its bounds in every dtype that takes them."""
    cls = type(initializer(case))
    try:
        made = cls(*parameters)
    except REFUSALS:
        return
    for dtype in DTYPES:
        try:
            values = made((50,), seed=1, dtype=dtype).astype(np.float64)
        except ValueError as error:
            assert "dtype" in str(error)  # noqa: PT017 - most values are in range, but not all
            continue
        assert np.isfinite(values).all()
        if isinstance(made, fi.TruncatedNormal) and made.stddev > 0:
            bounds = [made.mean + made.stddev * side for side in (made.lower, made.upper)]
            assert (values >= bounds[0]).all()
            assert (values <= bounds[1]).all()
        if isinstance(made, fi.Uniform) and made.low < made.high:
            assert (values >= made.low).all()
            assert (values <= made.high).all()


@st.composite
def axis_index(draw: st.DrawFn, n: int) -> int | slice:
    """Basic indexing of one axis, in either direction."""
    if n and draw(st.booleans()):
        return draw(st.integers(-n, n - 1))
    ends = st.one_of(st.none(), st.integers(-n, n))
    steps = st.one_of(st.none(), st.integers(1, n + 2), st.integers(-n - 2, -1))
    return slice(draw(ends), draw(ends), draw(steps))


def strided(shape: tuple[int, ...], dtype: np.dtype[Any], layout: int) -> NDArray[Any]:
    """An array of this shape: contiguous, transposed, every second item, backwards, or at an odd address."""
    if layout == 1:
        return np.zeros(shape[::-1], dtype).T
    if layout == 2:
        return np.zeros((*shape, 2), dtype)[..., 1]
    if layout == 3:
        return np.zeros(shape, dtype)[(*[slice(None, None, -1)] * len(shape), ...)]
    if layout == 4:
        size = math.prod(shape) * dtype.itemsize
        return np.zeros(size + 1, np.uint8)[1:].view(dtype).reshape(shape)
    return np.zeros(shape, dtype)


@given(st.data())
@settings(FIXED, max_examples=100)
def test_any_part_of_any_tensor(data: st.DataObject) -> None:
    """A part of a tensor of up to 2**62 elements, in memory of any layout, is the oracle's."""
    case = data.draw(st.sampled_from(sorted(DISTRIBUTIONS)))
    dtype = data.draw(st.sampled_from(DTYPES))
    rows, columns = data.draw(st.integers(0, 12)), data.draw(st.integers(0, 40))
    planes = data.draw(st.integers(1, 2**53))
    plane = data.draw(st.integers(0, planes - 1))
    index = (plane, data.draw(axis_index(rows)), data.draw(axis_index(columns)))
    key = data.draw(UINT64)
    whole = oracle(case, dtype, key, plane * rows * columns, rows * columns)
    expected = whole.reshape(rows, columns)[index[1:]]
    out = strided(expected.shape, fi.zeros(0, dtype=dtype).dtype, data.draw(st.integers(0, 4)))
    threads = data.draw(st.sampled_from([None, 1, 3]))
    shape = (planes, rows, columns)
    initializer(case).fill(out, seed=key, shape=shape, index=index, threads=threads)
    np.testing.assert_array_equal(as_bits(out).reshape(expected.shape), expected)


# The binding, which faces and other Cython code call without the checks of Python.

NUMBERS = st.one_of(st.integers(-2, 80), st.sampled_from([2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63)]))  # fmt: skip


@given(UINT64, NUMBERS, NUMBERS, NUMBERS)
@settings(FIXED, max_examples=400)
def test_any_place_of_a_fill(key: int, index: int, start: int, n: int) -> None:
    """`_kernel.fill` writes the items [start, start + n) of an array, and none where it has them not."""
    memory = np.zeros(96, np.float32)
    out = memory[16:80]
    try:
        _kernel.fill(_kernel.uniform("float32", 1, 2), key, index, out, start, n)
    except (ValueError, OverflowError, DeprecationWarning):  # the last from NumPy 1, for the second
        assert not memory.any()
    else:
        assert start + n <= 64
        assert (out[start : start + n] >= 1).all()
        assert np.count_nonzero(memory) == n


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=0, max_size=4), NUMBERS, NUMBERS, NUMBERS,
)  # fmt: skip
@settings(FIXED, max_examples=500)
def test_any_region(dims: list[tuple[int, int, int]], offset: int, first: int, n: int) -> None:
    """`_kernel.Region` and `fill_region` stay within their memory, or refuse."""
    memory = np.zeros(600, np.uint8)
    inner = memory[100:500]
    try:
        count = np.array([c for c, _, _ in dims], np.uint64)
        index_step, out_step = (np.array([d[i] for d in dims], np.int64) for i in (1, 2))
        region = _kernel.Region(count, index_step, out_step, 5, inner, offset)
        _kernel.fill_region(_kernel.uniform("float32", 1, 2), 1, region, first, n)
    except (ValueError, OverflowError, DeprecationWarning):  # the last from NumPy 1, for the second
        assert not memory.any()
    else:
        assert n == 0 or n <= math.prod(c for c, _, _ in dims) - first
    assert not memory[:100].any()
    assert not memory[500:].any()


TEXTS = st.one_of(
    st.sampled_from(["", "-1", "0", "1", "2x3", "x", "9" * 5000, "nan", "1e999", "0x10", "zeros", "normal:stddev=nan", "uniform:low=1,low=2",
                     "variance_scaling:in_axis=7", "truncated_normal:lower=3,upper=2", "constant:value=1e39", "float32", "float64", "bfloat16", "int32",
                     "*=zeros", "=", "a=", "[=zeros", "*=skip", "100KB", "1.5GiB", "0B", "1e3", "/", "..", "\udcff", "no/such/folder/x.npy", "raw", "npy"]),
    st.text(st.characters(exclude_characters="\0"), max_size=8).filter(lambda text: not text.isdecimal()),
)  # fmt: skip
OPTIONS = ("--init", "--shape", "--dtype", "--seed", "--stream", "--threads", "--rule", "--format", "--max-shard-size", "--memory",
           "--rank", "--world", "--exact", "--plot", "--output", "--head", "--arg", "--nonsense")  # fmt: skip
VALID = {
    "fill": ["--init=he_normal", "--shape=3x4", "--seed=1", "--output=w.npy"],
    "model": ["spec.json", "--seed=1", "--output=m.safetensors"],
    "check": ["stored.safetensors", "--threads=1"],
    "spec": ["spec.toml"],
    "info": [],
}


@pytest.mark.parametrize("command", VALID)
@given(changes=st.lists(st.tuples(st.sampled_from(OPTIONS), TEXTS), max_size=3))
@settings(FIXED, max_examples=20)
def test_any_command_line(
    folder: hostile.Folder,
    tmp_path_factory: pytest.TempPathFactory,
    command: str,
    changes: list[tuple[str, str]],
) -> None:
    """Success, findings, one line about an error or a usage message; no other exception, and nothing left unfinished."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signal.signal", lambda *_: None)
        work = tmp_path_factory.mktemp("cli")
        hostile.make_samples(work)
        patch.chdir(work)
        changed = [option if option == "--exact" else f"{option}={text}" for option, text in changes]  # fmt: skip
        try:
            status = main([command, *VALID[command], *changed])
        except SystemExit as leaving:
            status = leaving.code
        assert status in (0, 1, 2)
        left = {path.name for path in work.iterdir() if path.name.endswith(".partial")}
        assert not left or (command == "model" and any(o in ("--rank", "--world") for o, _ in changes))  # fmt: skip
