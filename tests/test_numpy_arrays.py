"""Arrays that NumPy users pass as `out`: parts of complex arrays, fields, memory maps, masked arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastinit as fi
import reference
from cases import initializer, oracle


def normal_bits(dtype: str, key: int, n: int) -> NDArray[Any]:
    values = reference.normal(dtype, key, 0, n, 0.0, 1.0)
    return values.view(f"u{values.dtype.itemsize}")


@pytest.mark.parametrize("case", ["uniform", "normal", "truncated", "narrow", "tail, reflected"])
@pytest.mark.parametrize(("kind", "dtype"), [("c8", "float32"), ("c16", "float64")])
@pytest.mark.parametrize("step", [1, 2, -3])
def test_parts_of_complex_arrays(case: str, kind: str, dtype: str, step: int) -> None:
    """The real and the imaginary part have the bits of the NumPy reference; the other part is left alone."""
    whole = np.full((40, 3 * 31), 7 + 7j, kind)
    z = whole[:, ::step]
    for key, part, other in ((5, z.real, z.imag), (6, z.imag, z.real)):
        before = other.copy()
        initializer(case).fill(part, seed=key)
        bits = np.ascontiguousarray(part).view(f"u{part.itemsize}").reshape(-1)
        np.testing.assert_array_equal(bits, oracle(case, dtype, key, 0, z.size))
        np.testing.assert_array_equal(other, before)
    if step != 1:
        untouched = np.ones(whole.shape[1], bool)
        untouched[::step] = False
        assert (whole[:, untouched] == 7 + 7j).all()


def test_complex_arrays_themselves_are_refused() -> None:
    with pytest.raises(TypeError, match=r"out.dtype must be float32, .* got dtype\('complex64'\)"):
        fi.Normal().fill(np.zeros(3, np.complex64), seed=0)


@pytest.mark.parametrize("align", [False, True])
def test_fields_of_records(align: bool) -> None:
    kind = np.dtype([("tag", "u1"), ("x", "f4"), ("y", "f8")], align=align)
    records = np.zeros(1000, kind)
    fi.Normal().fill(records["x"], seed=1)
    fi.Normal().fill(records["y"], seed=2)
    for name, dtype, key in (("x", "float32", 1), ("y", "float64", 2)):
        bits = records[name].copy().view(f"u{records[name].itemsize}")
        np.testing.assert_array_equal(bits, normal_bits(dtype, key, 1000))
    assert not records["tag"].any()


def test_memory_maps(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "w", np.float32, "w+", shape=(100, 7))
    assert fi.Normal().fill(mapped, seed=1) is mapped
    mapped.flush()
    stored = np.fromfile(tmp_path / "w", np.uint32)
    np.testing.assert_array_equal(stored, normal_bits("float32", 1, 700))


FILLS: dict[str, Callable[[Any], object]] = {
    "fill": lambda out: fi.Normal().fill(out, seed=0),
    "constant": lambda out: fi.Constant(-1.0).fill(out),
    "shard": lambda out: fi.Normal().fill(out, seed=0, shape=(9, 3), index=slice(0, 4)),
    "model": lambda out: fi.Model([fi.Tensor("w", (4, 3), fi.Normal())]).fill({"w": out}, seed=0),
}


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
@pytest.mark.parametrize("hard", [False, True])
def test_masked_elements_are_refused_and_left_alone(
    fill: Callable[[Any], object], hard: bool
) -> None:
    data = np.arange(12, dtype=np.float32).reshape(4, 3)
    out = np.ma.masked_array(data, data > 8, hard_mask=hard)
    message = r"out must not have masked elements, got an array with 3 of 12 masked; pass out\.data"
    with pytest.raises(ValueError, match=message):
        fill(out)
    np.testing.assert_array_equal(data, np.arange(12).reshape(4, 3))
    fill(out.data)
    assert not (data == np.arange(12).reshape(4, 3)).any()


@pytest.mark.parametrize("mask", [np.ma.nomask, np.zeros((4, 3), bool)], ids=["none", "empty"])
@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_masked_arrays_without_masked_elements_are_filled(
    fill: Callable[[Any], object], mask: Any
) -> None:
    plain, out = np.zeros((4, 3), np.float32), np.ma.masked_array(np.zeros((4, 3), "f4"), mask)
    fill(plain)
    fill(out)
    np.testing.assert_array_equal(out.data, plain)
    assert not np.ma.is_masked(out)
