"""Dask arrays: on worker processes, in any chunks, equal to the whole; lazy, small and named by what they are."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from conftest import DTYPES, as_bits

pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

import dask  # noqa: E402
import dask.array as da  # noqa: E402

import fastinit.dask  # noqa: E402

SHAPE = (96, 70)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Three worker processes."""
    with (
        distributed.LocalCluster(
            n_workers=3, processes=True, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def check_equal(made: np.ndarray, expected: np.ndarray) -> None:
    assert made.dtype == expected.dtype
    assert made.shape == expected.shape
    np.testing.assert_array_equal(as_bits(made), as_bits(expected))


def make(**options: Any) -> da.Array:
    options = {"seed": 3, "stream": "w", "chunks": (32, 25), **options}
    return fastinit.dask.array(fi.he_normal, SHAPE, **options)


def whole(dtype: str = "float32") -> np.ndarray:
    return fi.he_normal(SHAPE, seed=3, stream="w", dtype=dtype)


# On worker processes


@pytest.mark.parametrize("chunks", ["auto", -1, (96, 1), (7, 13), ((1, 94, 1), (35, 35)), {0: 40}])
@pytest.mark.usefixtures("client")
def test_chunks_change_no_bit(chunks: Any) -> None:
    made = make(chunks=chunks)
    check_equal(made.compute(), whole())
    check_equal(made.rechunk((41, 70)).compute(), whole())


@pytest.mark.usefixtures("client")
def test_dtypes(dtype: str) -> None:
    made = make(dtype=dtype)
    assert made.dtype == whole(dtype).dtype
    # distributed 2026.8 sends arrays of float8_e5m2 and cannot read them.
    check_equal(made.compute(scheduler="sync" if dtype == "float8_e5m2" else None), whole(dtype))


@pytest.mark.parametrize(
    "initializer",
    [
        fi.TruncatedNormal(1.0, 2.0, lower=-1.0, upper=3.0),
        fi.VarianceScaling(0.5, "fan_avg", "uniform", in_axis=1, out_axis=0),
        fi.Constant(2.5),
    ],
)
@pytest.mark.usefixtures("client")
def test_initializers(initializer: fi.Initializer) -> None:
    made = fastinit.dask.array(initializer, (10, 4, 6), seed=9, chunks=(3, 4, 4)).compute()
    check_equal(made, initializer((10, 4, 6), seed=9))


def test_workers_make_the_chunks(client: Any) -> None:
    made = make(chunks=(8, 7)).map_blocks(
        lambda block: np.full((1, 1), os.getpid()), dtype=int, chunks=(1, 1)
    )
    assert os.getpid() not in made.compute()
    assert len(np.unique(made.compute())) > 1


@pytest.mark.usefixtures("client")
def test_chunks_persist_and_are_used_in_place() -> None:
    made = make().persist()
    np.testing.assert_allclose(made.sum().compute(), whole().sum(dtype=np.float64), rtol=1e-3)
    check_equal((made * 2).compute(), whole() * 2)


# Without a cluster


@pytest.mark.parametrize(
    "index",
    [
        np.s_[5:70],
        np.s_[::-1, 1::3],
        np.s_[-1],
        np.s_[40, 3:50:7],
        np.s_[..., None],
        np.s_[[1, 90, 5]],
        np.s_[99:0:-3, -20:],
    ],
)
def test_slices(index: Any) -> None:
    check_equal(make()[index].compute(scheduler="sync"), whole()[index])
    check_equal(make()[2:, 1:][index].compute(scheduler="sync"), whole()[2:, 1:][index])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), 5])
def test_small_shapes(shape: Any) -> None:
    made = fastinit.dask.array(fi.he_normal, shape, seed=3).compute(scheduler="sync")
    check_equal(np.asarray(made), fi.he_normal(shape, seed=3))


def test_nothing_is_made_before_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """And then each chunk alone; of a slice, its part."""
    made = []
    shard = fi.Initializer.shard
    monkeypatch.setattr(
        fi.Initializer,
        "shard",
        lambda *args, **options: made.append(shard(*args, **options)) or made[-1],
    )
    monkeypatch.setattr(type(fi.he_normal), "__call__", None)
    array = make()
    part = array[5:20, 3:9]
    assert made == []
    part.compute(scheduler="sync")
    assert [m.shape for m in made] == [(15, 6)]
    array.compute(scheduler="sync")
    assert sum(m.size for m in made[1:]) == 96 * 70
    assert {m.shape for m in made[1:]} == {(32, 25), (32, 20)}


def test_a_graph_is_one_task_for_each_chunk_and_small() -> None:
    """2**40 elements in 65,536 chunks: neither the graph nor a task holds any of them."""
    array = fastinit.dask.array(fi.he_normal, (2**20, 2**20), seed=3, chunks=4096)
    assert array.npartitions == len(array.dask) == 2**16
    assert len(pickle.dumps(array.dask)) < 10_000
    assert len(pickle.dumps(make().dask.to_dict())) < 10_000


def test_equal_arguments_have_equal_names() -> None:
    """And others have others; each dtype too, those of ml_dtypes that look alike included."""
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        base = make()
        assert make().name == base.name
        assert make(seed=np.int64(3), dtype=np.float32).name == base.name
        assert fastinit.dask.array(fi.VarianceScaling(2.0), np.array(SHAPE), seed=3, stream="w", chunks=(32, 25)).name == base.name  # fmt: skip
        assert make(stream="7").name == make(stream=7).name
        others = [make(seed=4), make(stream="v"), make(chunks=(31, 25))]
        others += [make(dtype=name) for name in DTYPES]
        others.append(fastinit.dask.array(fi.he_uniform, SHAPE, seed=3, stream="w", chunks=(32, 25)))  # fmt: skip
    names = {other.name for other in others} | {base.name}
    assert len(names) == len(others)  # one dtype is float32


def test_a_generator_is_read_once() -> None:
    """Parts fit together, and computing twice gives the same."""
    rng = np.random.default_rng(1)
    array = make(seed=rng)
    seed = int(np.random.default_rng(1).integers(0, 2**64 - 1, dtype=np.uint64, endpoint=True))
    expected = fi.he_normal(SHAPE, seed=seed, stream="w")
    check_equal(array.compute(scheduler="sync"), expected)
    check_equal(array.compute(scheduler="sync"), expected)
    assert make(seed=rng).name != array.name  # the next draw
    sequence = np.random.SeedSequence(5)
    expected = fi.he_normal(SHAPE, seed=int(sequence.generate_state(1, np.uint64)[0]), stream="w")
    check_equal(make(seed=sequence).compute(scheduler="sync"), expected)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": None}, TypeError, r"seed must be given .* got None"),
        (
            {"seed": -1},
            ValueError,
            r"seed must be an int in \[0, 2\*\*64\), a numpy.random.SeedSequence ",
        ),
        ({"seed": "1"}, TypeError, r"seed must be an int .* got '1'"),
        ({"stream": b"w"}, TypeError, r"stream must be .* got b'w'"),
        ({"dtype": "int32"}, TypeError, r"dtype must be float32, .* got dtype\('int32'\)"),
        ({"dtype": "flub"}, TypeError, r"dtype must be .* got 'flub'"),
        ({"chunks": (5, 5, 5)}, ValueError, r"[Cc]hunks"),
        ({"chunks": ((90, 5), (70,))}, ValueError, r"[Cc]hunks"),
        ({"threads": 2}, TypeError, r"threads"),
    ],
)
def test_errors_come_before_any_task(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(**options)


def test_errors_of_initializer_and_shape() -> None:
    with pytest.raises(TypeError, match=r"initializer must be a fastinit\.Initializer, got 'he_normal'"):  # fmt: skip
        fastinit.dask.array("he_normal", SHAPE, seed=1)
    with pytest.raises(TypeError, match=r"seed"):
        fastinit.dask.array(fi.he_normal, SHAPE)
    with pytest.raises(ValueError, match=r"shape must not have negative dimensions"):
        fastinit.dask.array(fi.he_normal, (2, -1), seed=1)
    with pytest.raises(ValueError, match=r"float16"):
        fastinit.dask.array(fi.Constant(1e6), (2, 3), seed=1, dtype="float16")
    with pytest.raises(ValueError, match=r"in_axis must lie in \[-2, 2\)"):
        fastinit.dask.array(fi.VarianceScaling(in_axis=5, out_axis=0), SHAPE, seed=1)
