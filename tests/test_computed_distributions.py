"""Log-uniform, exponential, integers, orthogonal, identity and dirac: values, parts of them, and bad input."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fastinit as fi
import reference
from cases import CLASSES, NUMPY_DTYPES
from fastinit.expressions import Cast

#: By the NumPy reference, which has no matrices.
DRAWN = [
    ("log_uniform", (0.001, 0.1)),
    ("log_uniform", (0.25, 100.0)),
    ("exponential", (0.5,)),
    ("random_integers", (-100.0, 101.0)),
    ("random_integers", (0.0, 2.0)),
]
MATRICES = [fi.Orthogonal(0.5), fi.Identity(3.0), fi.Dirac(2)]
SHAPES = {fi.Orthogonal: (20, 6, 5), fi.Identity: (20, 30), fi.Dirac: (12, 6, 3, 2)}
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


def bits(a: np.ndarray) -> bytes:
    return np.ascontiguousarray(a).tobytes()


@pytest.mark.parametrize(("name", "parameters"), DRAWN)
def test_values_are_those_of_the_reference(
    dtype: str, name: str, parameters: tuple[float, ...]
) -> None:
    made = CLASSES[name](*parameters).shard(
        (10_000,), slice(37, 5000), seed=3, stream="w", dtype=dtype
    )
    key = reference.stream_key(3, "w")
    expected = getattr(reference, name)(dtype, key, 37, 4963, *parameters)
    if dtype == "float64":  # whose last bit is the C library's
        np.testing.assert_allclose(made, expected, rtol=4e-16)
    else:
        np.testing.assert_array_equal(
            made.view(f"u{made.itemsize}"), expected.view(f"u{made.itemsize}")
        )


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_those_of_the_reference(dtype: str) -> None:
    low, high = {"bool": (0, 2), "uint8": (3, 256), "int8": (-128, 128)}.get(dtype, (0, 10_000))
    low, high = {"int64": (-(2**63), 2**63), "uint64": (5, 2**64)}.get(dtype, (low, high))
    made = fi.RandomIntegers(low, high)((500,), seed=3, stream="w", dtype=dtype)
    assert made.dtype == dtype
    expected = reference.integers(reference.stream_key(3, "w"), 0, 500, low, high)
    assert made.tolist() == expected


@pytest.mark.parametrize(
    ("init", "law"),
    [
        (fi.LogUniform(0.001, 0.1), stats.loguniform(0.001, 0.1)),
        (fi.Exponential(0.5), stats.expon(scale=0.5)),
    ],
)
def test_distribution(init: fi.Distribution, law: Any) -> None:
    values = init((200_000,), seed=5)
    assert stats.kstest(values, law.cdf).pvalue > 1e-6  # false alarm


def test_integers_are_uniform() -> None:
    counts = np.bincount(fi.RandomIntegers(0, 37)((370_000,), seed=5, dtype="int64"), minlength=37)
    assert counts.size == 37
    assert stats.chisquare(counts).pvalue > 1e-6  # false alarm


@pytest.mark.parametrize("init", [*(CLASSES[name](*p) for name, p in DRAWN), *MATRICES], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_parts_are_parts_of_the_whole(init: fi.Distribution, dtype: str) -> None:
    shape = SHAPES.get(type(init), (20, 30))
    whole = init(shape, seed=1, stream="w", dtype=dtype)
    last = (slice(None, None, -3), *[0] * (len(shape) - 2), slice(1, None, 2))
    for index in (np.s_[3:9], np.s_[::-1], np.s_[..., 1], np.s_[5, -1], np.s_[4:4], last):
        part = init.shard(shape, index, seed=1, stream="w", dtype=dtype)
        assert bits(part) == bits(whole[index])
        out = np.zeros((*part.shape, 2), NUMPY_DTYPES[dtype])[..., 1]  # strided
        init.fill(out, seed=1, stream="w", shape=shape, index=index)
        assert bits(out) == bits(part)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_boxes_change_nothing(threads: int) -> None:
    """Tensors of several boxes, beside one row of them."""
    for init in (fi.LogUniform(0.1, 2.0), fi.RandomIntegers(0, 256)):
        whole = init((700, 300), seed=1, threads=threads)
        row = init.shard((700, 300), np.s_[699:, 5:], seed=1)
        assert bits(whole[699:, 5:]) == bits(row)


@pytest.mark.parametrize("shape", [(20, 12), (12, 20), (6, 3, 5), (1, 9), (9, 1)])
def test_orthogonal_is_torchs(shape: tuple[int, ...]) -> None:
    """The factor of torch.nn.init.orthogonal_, by its own code, of the same normals."""
    torch = pytest.importorskip("torch")
    normals = fi.Normal(0.0, 1.0)(shape, seed=2, stream="w", dtype="float64")
    flat = torch.from_numpy(normals).reshape(shape[0], -1)
    q, r = torch.linalg.qr(flat.T if flat.shape[0] < flat.shape[1] else flat)
    q *= torch.diag(r).sign()
    expected = (q.T if flat.shape[0] < flat.shape[1] else q).reshape(shape) * 0.5
    made = fi.Orthogonal(0.5)(shape, seed=2, stream="w", dtype="float64")
    np.testing.assert_allclose(made, expected.numpy(), rtol=0, atol=1e-14)


def test_orthogonal_of_model_and_file_agree(tmp_path: Path) -> None:
    model = fi.Model([fi.Tensor("w", (48, 40), fi.Orthogonal(1.5), "bfloat16")])
    model.write(tmp_path / "m.safetensors", seed=4)
    assert model.differences(tmp_path / "m.safetensors", seed=4) == []


@pytest.mark.parametrize("way", ["call", "make", "cast", "write"])
def test_whole_matrices_are_not_kept(tmp_path: Path, way: str) -> None:
    """A float64 matrix of 800 x 800 has 5 MB; the module and file hold float32."""
    model = fi.Model([fi.Tensor("w", (800, 800), fi.Orthogonal())])
    cast = Cast(fi.Orthogonal(), "float32")
    ways: dict[str, Callable[[int], object]] = {
        "call": lambda seed: fi.Orthogonal()((800, 800), seed=seed),
        "make": lambda seed: model.make("w", seed=seed),
        "cast": lambda seed: cast((800, 800), seed=seed, dtype="float64"),
        "write": lambda seed: model.write(tmp_path / "w.safetensors", seed=seed, resume=False),
    }
    ways[way](0)  # what is made once
    tracemalloc.start()
    ways[way](1)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 800 * 800


def test_orthogonal_of_model_and_function_agree() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.empty(48, 40, dtype=torch.bfloat16)
    fi.torch.orthogonal_(tensor, 1.5, seed=4, stream="w")
    made = fi.Orthogonal(1.5)((48, 40), seed=4, stream="w", dtype="bfloat16")
    assert bits(made) == tensor.view(torch.int16).numpy().tobytes()


def test_identity_and_dirac_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    for shape in ((5, 5), (3, 7), (7, 3)):
        expected = torch.nn.init.eye_(torch.empty(shape)) * 2
        assert bits(fi.Identity(2.0)(shape, seed=0)) == bits(expected.numpy())
    for shape, groups in (((4, 2, 3), 2), ((6, 9, 4, 3), 3), ((4, 4, 1, 2, 3), 1)):
        expected = torch.nn.init.dirac_(torch.empty(shape), groups)
        assert bits(fi.Dirac(groups)(shape, seed=0)) == bits(expected.numpy())


@pytest.mark.parametrize("dtype", ["int8", "int64", "bool"])
def test_integer_tensors_in_models_and_files(tmp_path: Path, dtype: Any) -> None:
    init = fi.RandomIntegers(0, 2 if dtype == "bool" else 100)
    model = fi.Model([fi.Tensor("q", (300, 70), init, dtype)])
    path = tmp_path / "m.safetensors"
    model.write(path, seed=4)
    assert model.differences(path, seed=4) == []
    assert (
        model.differences(path, seed=5) == ["'q': differs from element (0, 0) on"]
        or dtype == "bool"
    )
    out = np.empty((300, 70), dtype)
    model.fill({"q": out}, seed=4)
    whole = init((300, 70), seed=4, stream="q", dtype=dtype)
    assert bits(out) == bits(whole) == bits(model.make("q", seed=4))
    assert bits(model.make("q", seed=4, index=np.s_[7, ::-2])) == bits(whole[7, ::-2])
    (one,) = model.check(path)
    assert one.flags == ()


@pytest.mark.parametrize("dtype", ["int8", "int64", "bool"])
def test_integer_tensors_in_pytorch(dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    from fastinit.torch.memory import fill_tensor

    init = fi.RandomIntegers(0, 2 if dtype == "bool" else 100)
    tensor = torch.empty(300, 70, dtype=getattr(torch, dtype))
    fill_tensor(tensor, init, 4, "q")
    whole = init((300, 70), seed=4, stream="q", dtype=dtype)
    assert tensor.numpy().tobytes() == bits(whole)


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "log-uniform of 0": (lambda: fi.LogUniform(0.0, 1.0), ValueError, r"low must be positive and finite, got 0\.0"),
    "log-uniform, upside down": (lambda: fi.LogUniform(2.0, 1.0), ValueError, "low must be below high"),
    "log-uniform, one end": (lambda: fi.LogUniform(2.0), TypeError, "LogUniform needs low and high, got no high"),
    "exponential": (lambda: fi.Exponential(-1.0), ValueError, r"scale must be positive and finite, got -1\.0"),
    "integers, none": (lambda: fi.RandomIntegers(3, 3), ValueError, "low must be below high, got low=3, high=3"),
    "integers, real": (lambda: fi.RandomIntegers(0, 2.5), TypeError, "high must be an int"),
    "integers, too wide": (lambda: fi.RandomIntegers(-1, 2**64), ValueError, "range of int64 or of uint64"),
    "integers, too many": (lambda: fi.RandomIntegers(0, 2).shard((2**63 + 1,), slice(2), seed=0), ValueError, r"at most 2\*\*63 elements"),
    "integers, dtype": (lambda: fi.RandomIntegers(0, 300)((3,), dtype="uint8"), ValueError, r"uint8 takes integers in \[0, 255\], got some in \[0, 299\]"),
    "integers, overflow": (lambda: fi.RandomIntegers(0, 500)((3,), dtype="float8_e4m3fn"), ValueError, "could exceed the largest finite number of the dtype"),
    "exponential, overflow": (lambda: fi.Exponential(1e4)((3,), dtype="float16"), ValueError, "could exceed the largest finite number of the dtype"),
    "reals in integers": (lambda: fi.Exponential()((3,), dtype="int8"), ValueError, "int8 takes only constants"),
    "normals in integers": (lambda: fi.Normal(0.0, 1.0)((3,), dtype="int8"), TypeError, "dtype must be float32"),
    "reals in a model of integers": (lambda: fi.Tensor("w", (3,), fi.LogUniform(1.0, 2.0), "int8"), ValueError, "int8 takes only constants"),
    "orthogonal vector": (lambda: fi.Orthogonal()((3,)), ValueError, r"at least two axes to be orthogonal, got \(3,\)"),
    "orthogonal tensor": (lambda: fi.Tensor("w", (3,), fi.Orthogonal()), ValueError, "at least two axes"),
    "orthogonal gain": (lambda: fi.Orthogonal(math.inf), ValueError, "gain must be finite, got inf"),
    "identity": (lambda: fi.Identity()((3, 3, 3)), ValueError, r"two axes to be an identity matrix, got \(3, 3, 3\)"),
    "dirac": (lambda: fi.Dirac()((3, 3)), ValueError, r"three to five axes for dirac, got \(3, 3\)"),
    "dirac groups": (lambda: fi.Dirac(2)((3, 3, 3)), ValueError, "groups must divide the 3 output channels"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input(case: str) -> None:
    call, error, words = ERRORS[case]
    with pytest.raises(error, match=words):
        call()
