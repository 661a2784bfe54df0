"""Threads, shards, strides and chunks change no bit; hypothesis looks for a case that does."""

from __future__ import annotations

import copy
import hashlib
import itertools
import pickle
import random
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastinit as fi
import reference
from cases import DISTRIBUTIONS, initializer, oracle
from conftest import DTYPES, as_bits
from machine import need_memory


@pytest.mark.parametrize("case", ["uniform", "normal", "truncated", "tail"])
def test_threads_and_chunks_give_one_digest(case: str, dtype: str) -> None:
    n = 1_200_011  # three tasks of 2**19, the last one ragged
    make = initializer(case)
    digests = set()
    for threads in (1, 2, 5):
        whole = make((n,), seed=1, stream="w", dtype=dtype, threads=threads)
        digests.add(hashlib.sha256(whole.tobytes()).hexdigest())
    generator = random.Random(7)
    for _ in range(3):
        cuts = sorted({0, n, *(generator.randrange(n) for _ in range(12))})
        parts = [
            make.shard((n,), slice(a, b), seed=1, stream="w", dtype=dtype)
            for a, b in itertools.pairwise(cuts)
        ]
        digests.add(hashlib.sha256(np.concatenate(parts).tobytes()).hexdigest())
    assert len(digests) == 1
    key = 0x61C1BA8D0B404B71  # blake2b of seed 7, stream "a": any key will do
    head = make((5000,), seed=key, dtype=dtype)
    np.testing.assert_array_equal(as_bits(head), oracle(case, dtype, key, 0, 5000))


def slices(n: int) -> st.SearchStrategy[Any]:
    ends = st.one_of(st.none(), st.integers(-n, n))
    steps = st.one_of(st.none(), st.integers(-4, 4).filter(bool))
    items = [st.builds(slice, ends, ends, steps)]
    if n:
        items.append(st.integers(-n, n - 1))
    return st.one_of(items)


@st.composite
def shards(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    index = [draw(slices(n)) for n in shape]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(index)))
        keep = draw(st.integers(at, len(index)))
        index[at:keep] = [Ellipsis]
    return shape, tuple(index)


@given(
    shards(),
    st.sampled_from(sorted(DISTRIBUTIONS)),
    st.sampled_from(DTYPES),
)
@settings(max_examples=300, deadline=None)
def test_shard_is_the_slice(
    shard: tuple[tuple[int, ...], tuple[Any, ...]], case: str, dtype: str
) -> None:
    shape, index = shard
    make = initializer(case)
    whole = make(shape, seed=4, dtype=dtype)
    part = make.shard(shape, index, seed=4, dtype=dtype)
    assert part.shape == whole[index].shape
    np.testing.assert_array_equal(as_bits(part), as_bits(whole[index]))
    out = np.zeros(part.shape, dtype)
    assert make.fill(out, seed=4, shape=shape, index=index) is out
    np.testing.assert_array_equal(as_bits(out), as_bits(part))


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from(DTYPES),
)
@settings(max_examples=200, deadline=None)
def test_any_strides(shape: list[int], generator: random.Random, dtype: str) -> None:
    """A view with permuted axes, gaps and negative strides; the gaps stay as they were."""
    order = generator.sample(range(len(shape)), len(shape))
    gaps = [generator.choice([1, 1, 2, 3]) for _ in shape]
    base = np.full([shape[axis] * gap for axis, gap in zip(order, gaps, strict=True)], 7.0, dtype)
    view = base[tuple(slice(None, None, gap) for gap in gaps)]
    view = view[tuple(slice(None, None, generator.choice([1, -1])) for _ in shape)]
    view = view.transpose(np.argsort(order))
    assert view.shape == tuple(shape)
    fi.Uniform(-1, 1).fill(view, seed=11)
    np.testing.assert_array_equal(view, fi.Uniform(-1, 1)(shape, seed=11, dtype=dtype))
    assert np.count_nonzero(base == 7.0) == base.size - view.size


def test_fortran_order_and_large_strided_fill() -> None:
    want = fi.he_normal((700, 900), seed=2)
    for out in (
        np.empty((700, 900), np.float32, order="F"),
        np.empty((900, 700), np.float32).T[::-1],
        np.empty((1400, 900), np.float32)[::2],
    ):
        np.testing.assert_array_equal(fi.he_normal.fill(out, seed=2, threads=3), want)


def test_unaligned_field_of_a_packed_record() -> None:
    records = np.zeros(300, np.dtype([("flag", "u1"), ("w", "f4")]))
    fi.he_normal.fill(records["w"], seed=2)
    np.testing.assert_array_equal(records["w"], fi.he_normal((300,), seed=2))
    assert not records["flag"].any()


def test_memory_map(tmp_path: Path) -> None:
    out = np.memmap(tmp_path / "w.bin", np.float32, "w+", shape=(300, 50))
    fi.he_normal.fill(out, seed=9)
    out.flush()
    stored = np.fromfile(tmp_path / "w.bin", np.float32)
    np.testing.assert_array_equal(stored.reshape(300, 50), fi.he_normal((300, 50), seed=9))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclasses() -> None:
    """Subclasses may index and reshape as they like; they are filled like plain arrays, and returned."""
    want = fi.he_normal((3, 4), seed=9)
    for out in (np.matrix(np.zeros((3, 4), np.float32)), np.ma.zeros((4, 3), np.float32).T):
        assert fi.he_normal.fill(out, seed=9) is out
        np.testing.assert_array_equal(np.asarray(out), want)


def test_interleaved_axes_do_not_overlap() -> None:
    memory = np.zeros(100, np.float32)
    out = np.lib.stride_tricks.as_strided(memory, (3, 4), (20, 12))
    fi.he_normal.fill(out, seed=9)
    np.testing.assert_array_equal(out, fi.he_normal((3, 4), seed=9))


@pytest.mark.parametrize("stride", [0, 1, -4, 2**40])
def test_strides_of_axes_of_one_position_do_not_matter(stride: int) -> None:
    """NumPy gives a new axis a stride of 0, and other libraries give it any."""
    base = np.zeros((6, 4), np.float32)
    want = fi.he_normal((3, 1, 4), seed=9)
    view = np.lib.stride_tricks.as_strided(base, (3, 1, 4), (32, stride, 4))
    for out in (view, base[::2, None]):
        base[:] = 0
        fi.he_normal.fill(out, seed=9)
        np.testing.assert_array_equal(base[::2], want[:, 0])
        assert not base[1::2].any()


@pytest.mark.parametrize("rows", [2**15 - 1, 2**15, 2**15 + 1, 2**20])
def test_large_arrays_of_interleaved_axes_are_refused(rows: int) -> None:
    """Up to 2**16 elements are searched for overlap; a search of more would take 8 bytes for each of them."""
    memory = np.zeros(2 * rows + 2, np.float32)
    even = np.arange(rows) * 2
    # Elements at 2 i and 2 i + 3 are all different; those at 2 i and 2 i + 2 are not.
    apart, shared = (
        np.lib.stride_tricks.as_strided(memory, (rows, 2), (8, 4 * gap)) for gap in (3, 2)
    )
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="out must not have elements that may share memory"):
            fi.Normal().fill(shared, seed=9)
        if 2 * rows <= 2**16:
            fi.Normal().fill(apart, seed=9)
        else:
            with pytest.raises(ValueError, match="out must not have elements that may share"):
                fi.Normal().fill(apart, seed=9)
            assert tracemalloc.get_traced_memory()[1] < 2**16
    finally:
        tracemalloc.stop()
    want = fi.Normal()((rows, 2), seed=9) if 2 * rows <= 2**16 else np.zeros((rows, 2))
    np.testing.assert_array_equal(memory[even], want[:, 0])
    np.testing.assert_array_equal(memory[even + 3], want[:, 1])


def test_initializers_pickle_and_copy() -> None:
    for make in (fi.he_normal, fi.TruncatedNormal(0, 1, lower=-3, upper=3), fi.Constant(2.0)):
        for twin in (pickle.loads(pickle.dumps(make)), copy.deepcopy(make)):
            assert twin == make
            np.testing.assert_array_equal(twin((3, 4), seed=1), make((3, 4), seed=1))


def test_dtypes_by_name_dtype_and_scalar_type(dtype: str) -> None:
    want = fi.he_normal((3, 4), seed=9, dtype=dtype)
    assert want.dtype.name == dtype
    for same in (want.dtype, want.dtype.type):
        made = fi.he_normal((3, 4), seed=9, dtype=same)
        assert made.dtype == want.dtype
        np.testing.assert_array_equal(as_bits(made), as_bits(want))


def test_bfloat16_strides() -> None:
    whole = fi.he_normal((40, 50), seed=9, dtype="bfloat16")
    out = np.zeros((50, 80), whole.dtype)[:, ::-2].T
    fi.he_normal.fill(out, seed=9)
    np.testing.assert_array_equal(as_bits(out), as_bits(whole))


def test_elements_beyond_2_to_the_32() -> None:
    """A column of a tensor of 2**40 elements, and its corner."""
    shape = (2**20, 2**20)
    column = fi.he_normal.shard(shape, (slice(2**20 - 3, None), 2**20 - 1), seed=3)
    e = [row * 2**20 + 2**20 - 1 for row in range(2**20 - 3, 2**20)]
    stddev = np.sqrt(2 / 2**20) / 0.87962566103423978
    for value, i in zip(column, e, strict=True):
        assert value == reference.truncated_normal("float32", 3, i, 1, 0.0, float(stddev), -2, 2)[0]


@pytest.mark.parametrize("case", sorted(DISTRIBUTIONS))
def test_scattered_elements(isa: str, case: str, dtype: str) -> None:
    """Columns, runs and steps: batches of elements in any places, over the carry out of their low words.

    1300 runs are more than two batches of 512; runs of 3 and 9 go in batches, of 12 and 70 by themselves.
    """
    make = initializer(case)
    width = 97
    first = 2**32 // width - 650
    rows = slice(first, first + 1300)
    want = oracle(case, dtype, 11, first * width, 1300 * width).reshape(1300, width)
    for columns in (5, slice(90, 93), slice(3, 12), slice(60, 72), slice(0, 70), slice(8, 1, -3)):
        part = make.shard((2**33, width), (rows, columns), seed=11, dtype=dtype)
        np.testing.assert_array_equal(as_bits(part), want[:, columns])


def test_steps_longer_than_the_low_word(isa: str) -> None:
    """Each element has a high word of its own, up to the last element of all."""
    shape = (2**24, 2**40)
    part = fi.Normal().shard(shape, (slice(None, None, -(2**22)), -1), seed=3)
    rows = range(2**24 - 1, -1, -(2**22))
    want = [reference.normal("float32", 3, row * 2**40 + 2**40 - 1, 1, 0.0, 1.0)[0] for row in rows]
    np.testing.assert_array_equal(part, want)


def test_positions_further_apart_than_4_gib(tmp_path: Path) -> None:
    """Rows 3 GiB apart, in a file of holes."""
    need_memory(9 * 2**30, resident=False)
    out = np.memmap(tmp_path / "w.bin", np.float32, "w+", shape=(3, 3 * 2**28))
    fi.he_normal.fill(out[:, 5:8], seed=9, shape=(3, 100), index=(slice(None), slice(5, 8)))
    np.testing.assert_array_equal(out[:, 5:8], fi.he_normal((3, 100), seed=9)[:, 5:8])
    assert not out[:, :5].any()
    assert not out[:, 8:100].any()


def test_streams_and_seeds_differ() -> None:
    made = [
        fi.he_normal((100,), seed=seed, stream=stream)
        for seed in (0, 1, 2**64 - 1)
        for stream in ("", "a", "b", 0)
    ]
    assert len({a.tobytes() for a in made}) == len(made)


def test_seed_kinds() -> None:
    """A SeedSequence gives its first state word, a Generator draws one, None is fresh."""
    sequence = np.random.SeedSequence(5)
    word = int(np.random.SeedSequence(5).generate_state(1, np.uint64)[0])
    np.testing.assert_array_equal(fi.Normal()(9, seed=sequence), fi.Normal()(9, seed=word))
    first, second = (fi.Normal()(9, seed=g) for g in [np.random.default_rng(1)] * 2)
    assert (first != second).all()
    drawn = np.random.default_rng(1).integers(0, 2**64 - 1, dtype=np.uint64, endpoint=True)
    np.testing.assert_array_equal(first, fi.Normal()(9, seed=drawn))
    assert (fi.Normal()(9) != fi.Normal()(9)).all()
    for kind in (np.int8, np.uint64, np.int32):
        np.testing.assert_array_equal(fi.Normal()(9, seed=kind(7)), fi.Normal()(9, seed=7))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1), 5])
def test_small_shapes(shape: Any) -> None:
    for make in (fi.he_normal, fi.glorot_uniform, fi.Normal(), fi.zeros):
        made = make(shape, seed=0)
        assert made.shape == np.empty(shape).shape
        assert made.flags.c_contiguous
    flat = fi.Normal()(shape, seed=0).reshape(-1)
    np.testing.assert_array_equal(flat, reference.normal("float32", 0, 0, flat.size, 0.0, 1.0))
