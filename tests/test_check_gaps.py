"""The check of what no initializer makes: torn files, uninitialised memory, pages and names that are not as expected.

Seeds are fixed. Each test of a tensor has a false-alarm rate of 1e-9: had the seeds been drawn afresh, a flag would come
up among the 400 good tensors here with a probability of 1e-6.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastinit as fi
from cases import NUMPY_DTYPES as DTYPES
from fastinit import check
from fastinit.check import Checked, check_tensors, table, totals
from fastinit.files import Stored
from fastinit.measure import measure
from fastinit.runs import Run
from test_cli import run

I64 = "not measured: its dtype is not one of float32, float64, float16, bfloat16, float8_e4m3fn, float8_e5m2"
USUAL = fi.Normal(0.0, 0.02)


def normal(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0, std: float = 0.02) -> Any:
    return np.random.default_rng(seed).normal(0, std, shape).astype(DTYPES[dtype])


def store(folder: Path, values: NDArray[Any], name: str = "w") -> Stored:
    path = folder / f"{name}.bin"
    path.write_bytes(b"\xff" * 24 + values.tobytes())
    names = {kind: text for text, kind in DTYPES.items()}
    return Stored(name, names[values.dtype], values.shape, path, 24, values.nbytes)


def check_one(
    folder: Path, values: NDArray[Any], expected: fi.Initializer | None, padding: int | None = None
) -> Checked:
    stored = store(folder, values)
    tensor = expected and fi.Tensor("w", values.shape, expected, stored.dtype, padding)  # type: ignore[arg-type]
    (one,) = check_tensors([(stored, tensor)])
    return one


# Runs


def zeroed(values: NDArray[Any], start: int, stop: int, value: float = 0.0) -> NDArray[Any]:
    flat = values.reshape(-1).copy()
    flat[start:stop] = value
    return flat.reshape(values.shape)


@pytest.mark.parametrize("expected", [USUAL, None], ids=str)
@pytest.mark.parametrize(
    ("start", "stop"),
    [(300_000, 304_096), (262_000, 266_096), (1_000_000, 2**20), (524_289, 2**20)],
)
def test_a_torn_page_is_flagged(
    tmp_path: Path, expected: fi.Initializer | None, start: int, stop: int
) -> None:
    """16 KiB within 4 MiB, across the ends of what is read at a time, and from somewhere on to the end."""
    values = zeroed(normal((1024, 1024)), start, stop)
    one = check_one(tmp_path, values, expected)
    row, column = divmod(start, 1024)
    assert one.flags == (f"{stop - start:,} zeros in a row from element ({row}, {column}) on",)


@pytest.mark.parametrize(("value", "which"), [(-0.25, "smallest"), (0.25, "largest")])
def test_one_wild_value_is_flagged(tmp_path: Path, dtype: str, value: float, which: str) -> None:
    """12.5 standard deviations from the mean, among 2**20 values, whose moments it hardly moves."""
    values = zeroed(normal((1024, 1024), dtype, 1), 5000, 5001, value)
    words = f"the {which} value is {value}, too far out for a normal distribution"
    assert check_one(tmp_path, values, USUAL).flags == (words,)


@pytest.mark.parametrize("expected", [USUAL, None], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_page_that_is_not_finite_is_counted(
    tmp_path: Path, dtype: str, expected: fi.Initializer | None, value: float
) -> None:
    """4 KiB of 0xFF, as erased flash memory has, are NaN in all these dtypes; float8_e4m3fn has no infinities."""
    size = 4096 // DTYPES[dtype].itemsize
    with np.errstate(all="ignore"):
        values = zeroed(normal((100_000,), dtype, 1), 5000, 5000 + size, value)
    assert check_one(tmp_path, values, expected).flags == (
        f"{size} of 100000 values are NaN or infinite",
    )


@pytest.mark.parametrize("expected", [USUAL, None], ids=str)
@pytest.mark.parametrize("at", [0, 5, 777, 99_000])
def test_a_sector_of_zeros_is_flagged_in_every_dtype(
    tmp_path: Path, dtype: str, expected: fi.Initializer | None, at: int
) -> None:
    """512 bytes of a vector, also at its begin; without a theory the vector must be too long for biases."""
    size = 512 // DTYPES[dtype].itemsize
    values = zeroed(normal((100_000,), dtype, 1), at, at + size)
    found = measure(store(tmp_path, values))
    assert [(run.start, run.stop, run.value) for run in found.runs] == [(at, at + size, 0.0)]
    assert check_one(tmp_path, values, expected).flags == (
        f"{size:,} zeros in a row from element {at:,} on",
    )


@pytest.mark.parametrize("buffer_bytes", [8, 512, 4096, 2**18])
def test_runs_do_not_depend_on_how_much_is_read_at_a_time(
    tmp_path: Path, dtype: str, buffer_bytes: int
) -> None:
    least = 512 // DTYPES[dtype].itemsize
    values = normal((8 * least,), dtype, 2, 1.0)
    places = [(0, least, 0.5), (2 * least + 3, 4 * least, 0.0), (7 * least, 8 * least, -2.0)]
    for start, stop, value in places:
        values[start - 1 : stop + 1] = 1.5
        values[start:stop] = value
    found = measure(store(tmp_path, values), None, None, buffer_bytes)
    assert [(run.start, run.stop, run.value) for run in found.runs] == places
    assert (found.run_count, found.run_total) == (3, 4 * least - 3)


def test_the_longest_runs_are_kept(tmp_path: Path) -> None:
    values = np.concatenate([np.full(200 + i, i) for i in range(100)]).astype(np.float32)
    found = measure(store(tmp_path, values))
    assert [run.size for run in found.runs] == list(range(236, 300))
    assert (found.run_count, found.run_total) == (100, 200 * 100 + 99 * 100 // 2)


@pytest.mark.parametrize("value", [0.25, -0.0])
def test_a_run_of_any_value_is_flagged_where_a_theory_is_known(
    tmp_path: Path, dtype: str, value: float
) -> None:
    values = zeroed(normal((512, 1024), dtype, 3), 5000, 9096, value)
    words = "zeros" if not value else "values 0.25"
    assert check_one(tmp_path, values, USUAL).flags[-1] == (
        f"4,096 {words} in a row from element (4, 904) on"
    )


def test_runs_that_chance_makes_are_not_flagged(tmp_path: Path) -> None:
    """Most values of such a normal are 0 in 8 bits: runs of hundreds are likely."""
    for name, std in (("float8_e4m3fn", 3e-4), ("float8_e5m2", 2.6e-6), ("float16", 1.2e-8)):
        rounded = normal((1000, 1000), name, 4, std).astype(np.float64)
        values = (rounded + 0.0).astype(DTYPES[name])  # no negative zeros, which break the runs
        assert check_one(tmp_path, values, fi.Normal(0.0, std)).flags == ()
        assert check_one(tmp_path, values, None).flags == ()
        longest = max(run.size for run in measure(store(tmp_path, values)).runs)
        assert longest > 250, name


def test_padding_rows(tmp_path: Path) -> None:
    """A row that a theory does not know is flagged; without a theory one row is what many embeddings have."""
    for row in (0, 1, 99):
        values = normal((100, 256), "float32", 5)
        values[row] = 0
        assert check_one(tmp_path, values, USUAL, row).flags == ()
        words = f"row {row} is 0 throughout, as a padding row is (padding_idx)"
        assert check_one(tmp_path, values, USUAL).flags == (words,)
        one = check_one(tmp_path, values, None)
        assert (one.flags, one.notes) == ((), (words,))


@pytest.mark.parametrize("padding", [0, 3, 7])
def test_a_run_ends_at_the_padding_row(tmp_path: Path, padding: int) -> None:
    values = normal((8, 1024), "float32", 6)
    values[padding] = 0
    values[(padding + 1) % 8, :300] = 0
    values[padding - 1, -300:] = 0
    found = measure(store(tmp_path, values), USUAL, padding, 4096)
    starts = {((padding + 1) % 8) * 1024, (padding - 1) % 8 * 1024 + 724}
    assert {(run.start, run.size) for run in found.runs} == {(start, 300) for start in starts}


@functools.cache
def tables() -> dict[str, NDArray[np.float32]]:
    """What checkpoints hold beside weights: no theory is known, and nothing is wrong."""
    rng = np.random.default_rng(7)
    n = 512
    angles = np.arange(1500)[:, None] / 10000 ** (np.arange(640) / 640)
    blocks = np.kron(rng.random((32, 32)) < 0.3, np.ones((128, 128)))
    window = np.zeros((64, 49, 49))
    window[::8, 20:, :20] = window[-8:, :20, 20:] = -100
    unused = rng.normal(0, 0.02, (30_000, 64))
    unused[29_000:] = 0
    return {
        "causal mask": np.tril(np.ones((n, n))),
        "additive mask": np.triu(np.full((n, n), np.finfo(np.float32).min), 1),
        "window mask": window,
        "masked bias": np.array(-1e30),
        "limits": np.array([-np.finfo(np.float32).max, 0.1, np.finfo(np.float32).max]),
        "banned tokens": np.where(np.arange(50_000) % 1000, rng.normal(0, 1, 50_000), -1e30),
        "inv_freq": 1 / 500000 ** (np.arange(64) / 64),
        "sines": np.concatenate([np.sin(angles), np.cos(angles)], 1),
        "identity": np.eye(n),
        "block sparse": np.where(blocks, rng.normal(0, 0.02, blocks.shape), 0),
        "pruned": np.where(rng.random((n, n)) < 0.1, rng.normal(0, 0.02, (n, n)), 0),
        "running_var": np.exp(rng.normal(0, 8, 2048)),
        "dead running_var": np.where(np.arange(2048) % 3, rng.random(2048), 5.6e-45),
        "qkv.bias": np.where(np.arange(3072) // 1024 == 1, 0, rng.normal(0, 0.02, 3072)),
        "unused tokens": unused,
        "resized embedding": np.concatenate([rng.normal(0, 0.02, (1000, 1024)), np.full((24, 1024), 0.001)]),
        "A_log": np.log(np.tile(np.arange(1, 17), (1536, 1))),
    }  # fmt: skip


@pytest.mark.parametrize("name", tables())
def test_tables_of_usual_checkpoints_are_not_flagged(tmp_path: Path, name: str) -> None:
    for kind in ("float32", "bfloat16"):
        values = np.asarray(tables()[name], dtype=np.float32).astype(DTYPES[kind])
        if kind == "bfloat16" and name == "limits":
            continue  # float32's largest rounds to infinity
        values[~np.isfinite(values.astype(np.float32))] = -(2 - 2.0**-7) * 2.0**127
        assert check_one(tmp_path, values, None).flags == (), kind


def test_half_of_the_rows_are_not_unused_tokens(tmp_path: Path) -> None:
    values = normal((1024, 1024), "float32", 8)
    values[512:] = 0
    assert check_one(tmp_path, values, None).flags == (
        "524,288 zeros in a row from element (512, 0) on",
    )


def test_indices_of_elements() -> None:
    assert check._at(1234, (5000,)) == "1,234"
    assert check._at(5, (*[1] * 62, 2, 3)) == f"({'0, ' * 62}1, 2)"


# Pages


@pytest.mark.parametrize(("size", "count"), [(1024, 1), (1500, 2)])
def test_a_repeated_page(tmp_path: Path, size: int, count: int) -> None:
    """A page of 4 KiB is found wherever it is a multiple of 4 KiB apart."""
    values = normal((256, 1024), "float32", 9)
    values.reshape(-1)[100_352:][:size] = values.reshape(-1)[2048:][:size]
    words = (
        f"{count} of its 256 pages repeat an earlier one: "
        "the values from element (98, 0) on are those from (2, 0) on"
    )
    assert check_one(tmp_path, values, USUAL).flags == (words,)
    one = check_one(tmp_path, values, None)
    assert (one.flags, one.notes) == ((), (words,))


def test_shards_drawn_with_one_seed(tmp_path: Path, dtype: str) -> None:
    shard = normal((64, 512), dtype, 10)
    one = check_one(tmp_path, np.tile(shard, (4, 1)), USUAL)
    pages = 4 * shard.nbytes // 4096
    assert one.flags == (
        f"{pages * 3 // 4} of its {pages} pages repeat an earlier one: "
        "the values from element (64, 0) on are those from (0, 0) on",
    )


# Uninitialised memory


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16"])
def test_values_that_no_weights_have(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(11).normal(0, 2e37, (256, 256)).astype(DTYPES[name])
    (flag,) = check_one(tmp_path, values, None).flags
    assert flag.startswith("65,536 values of 2**64 or more, as uninitialised memory has: ")
    values = normal((256, 256), name)
    values[3, 4] = 1e30
    (flag,) = check_one(tmp_path, values, None).flags
    assert flag.startswith("1 value of 2**64 or more, as uninitialised memory has: ")
    values[3, 4] = 1.8e19  # 2**64 is 1.845e19
    assert check_one(tmp_path, values, None).flags == ()


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16"])
def test_pointers_and_small_integers(tmp_path: Path, name: str) -> None:
    kind = DTYPES[name]
    values = normal((256, 256), name)
    codes = values.view(f"u{kind.itemsize}")
    codes[:, ::8] = (np.arange(256) % 100 + 1)[:, None]
    (flag,) = check_one(tmp_path, values, None).flags
    assert flag[:4] in ("12% ", "13% ")  # of a sample
    assert (
        flag[4:]
        == "of the values other than zero are subnormal numbers, as in uninitialised memory"
    )
    assert check_one(tmp_path, values[0], None).flags == ()


# Copies


@pytest.mark.parametrize("many", [2**19, 700_001, 2**20 - 1])
def test_a_half_copy_is_called_what_it_is(tmp_path: Path, many: int) -> None:
    first, second = normal((2**20,), seed=12), normal((2**20,), seed=13)
    second[:many] = first[:many]
    pairs = [(store(tmp_path, first, "a"), None), (store(tmp_path, second, "b"), None)]
    assert [one.flags for one in check_tensors(pairs)] == [
        (),
        (f"its first {many:,} of 1,048,576 values repeat those of a",),
    ]


def test_the_beginning_of_another_tensor(tmp_path: Path) -> None:
    first = normal((40, 50), seed=14)
    pairs = [(store(tmp_path, first, "a"), None), (store(tmp_path, first[:30], "b"), None)]
    flags = [one.flags for one in check_tensors(pairs)]
    assert flags == [(), ("repeats the first 1,500 values of a",)]
    pairs.reverse()
    flags = [one.flags for one in check_tensors(pairs)]
    assert flags == [(), ("its first 1,500 of 2,000 values repeat those of b",)]


# Names


def model() -> fi.Model:
    return fi.Model(
        [
            fi.Tensor("up.weight", (64, 256), USUAL),
            fi.Tensor("down.weight", (256, 64), USUAL),
            fi.Tensor("norm", (64,), fi.ones),
        ]
    )


def save(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file(arrays, path)
    return path


def test_names_that_the_model_does_not_know_are_flagged_and_measured(tmp_path: Path) -> None:
    made = {tensor.name: model().make(tensor.name, seed=1) for tensor in model()}
    made["up.wieght"] = normal((64, 256)) + np.float32(7)
    path = save(tmp_path / "m.safetensors", made)
    checked = {one.name: one for one in model().check(path)}
    wrong = checked.pop("up.wieght")
    words = "not a tensor of the model; near names: 'up.weight', 'down.weight'"
    assert wrong.flags == (words,)
    assert wrong.measured is not None
    assert wrong.measured.mean == pytest.approx(7, abs=0.001)
    assert [one.flags for one in checked.values()] == [()] * 3
    assert model().differences(path, seed=1) == [f"'up.wieght': {words}"]


def test_all_missing_names_are_flagged_and_the_rest_is_measured(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.safetensors", {"up.wieght": np.asarray(model().make("up.weight", seed=1))}
    )
    checked = model().check(path)
    assert [(one.name, one.stored is None, one.flags) for one in checked] == [
        (
            "up.wieght",
            False,
            ("not a tensor of the model; near names: 'up.weight', 'down.weight'",),
        ),
        ("up.weight", True, ("missing in the file; near names: 'up.wieght'",)),
        ("down.weight", True, ("missing in the file; near names: 'up.wieght'",)),
        ("norm", True, ("missing in the file",)),
    ]
    assert totals(checked) == "1 tensor, 3 missing, 4 flagged"
    assert table(checked).splitlines()[5:] == [
        "down.weight",
        "    ! missing in the file; near names: 'up.wieght'",
        "norm",
        "    ! missing in the file",
    ]
    assert [line.partition(";")[0] for line in model().differences(path, seed=1)] == [
        "'up.wieght': not a tensor of the model",
        "'up.weight': missing in the file",
        "'down.weight': missing in the file",
        "'norm': missing in the file",
    ]


@pytest.mark.parametrize("dtype", [[], ["--dtype", "float32"]])
def test_tensors_that_rules_skip_may_be_in_the_file(tmp_path: Path, dtype: list[str]) -> None:
    """Rules of the spec, and of the command line; the first that selects a tensor counts."""
    made = {tensor.name: np.asarray(model().make(tensor.name, seed=1)) for tensor in model()}
    path = save(tmp_path / "m.safetensors", made | {"ids": np.arange(3), "a.w": made["norm"]})
    text = model().to_json().rstrip().removesuffix("}")
    spec = tmp_path / "spec.json"
    spec.write_text(text + ', "rules": [{"match": "*.w", "init": "skip"}], "strict": false}')
    rules = ["--rule", "ids=skip", *dtype]
    done = run("check", path, spec, *rules)
    assert (done.returncode, done.stdout.splitlines()[-1].partition(";")[0]) == (
        0,
        "5 tensors, 0 flagged, 1 not measured",
    )
    assert run("check", path, spec, *rules, "--exact", "--seed", 1).returncode == 0
    done = run("check", path, spec)
    assert done.returncode == 1
    assert "! not a tensor of the model" in done.stdout
    assert fi.Model.load(spec, rules=["ids=skip"]).differences(path, seed=1) == []
    done = run("check", path, spec, "--rule", "*=ones", *rules)
    assert done.stdout.count("not a tensor of the model") == 2


def test_a_model_without_tensors_expects_none(tmp_path: Path) -> None:
    path = save(tmp_path / "m.safetensors", {"w": normal((64, 64)), "ids": np.arange(3)})
    checked = fi.Model([]).check(path)
    assert {one.name: (one.flags, one.notes) for one in checked} == {
        "w": ((), ()),
        "ids": ((), (I64,)),
    }
    assert totals(checked) == "2 tensors, 0 flagged, 1 not measured"


def test_names_outside_the_provenance(tmp_path: Path) -> None:
    """As after a file was loaded, changed and saved again with its metadata."""
    safetensors = pytest.importorskip("safetensors")
    numpy_files = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "m.safetensors"
    model().write(path, seed=1)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    kept = dict(numpy_files.load_file(path))
    kept["up.wieght"] = kept.pop("up.weight") + np.float32(7)
    numpy_files.save_file(kept, path, metadata)
    done = run("check", path)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert "    ! not a tensor of the model; near names: 'up.weight'" in lines
    assert (
        lines[lines.index("up.weight") + 1] == "    ! missing in the file; near names: 'up.wieght'"
    )
    assert lines[-1] == f"3 tensors, 1 missing, 2 flagged; theory: what {path} records"
    done = run("check", path, "--exact")
    assert (done.returncode, done.stdout.splitlines()[:2]) == (
        1,
        [
            "'up.wieght': not a tensor of the model; near names: 'up.weight'",
            "'up.weight': missing in the file; near names: 'up.wieght'",
        ],
    )


def test_a_file_without_provenance_beside_others(tmp_path: Path) -> None:
    """Its tensors are not the model's."""
    model().write(tmp_path / "m.safetensors", seed=1, max_shard_size=70_000)
    index = tmp_path / "m.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["new"] = "new.safetensors"
    index.write_text(json.dumps(content))
    save(tmp_path / "new.safetensors", {"new": np.ones(3, np.float32)})
    done = run("check", index)
    assert done.returncode == 1
    assert "! not a tensor of the model" in done.stdout
    assert "4 tensors, 1 flagged; " in done.stdout


def test_texts_are_short(tmp_path: Path) -> None:
    one = check_one(tmp_path, zeroed(normal((1024, 64)), 1000, 3000), USUAL)
    assert repr(one) == (
        f"Checked('w', float32 (1024, 64), mean {one.measured.mean:.4g}, std {one.measured.std:.4g}, "  # type: ignore[union-attr]
        "flags: 2,000 zeros in a row from element (15, 40) on)"
    )
    assert repr(one.measured).startswith("Measured(size=65,536, mean=")
    assert len(repr(one.measured)) < 120
    many = Checked("n" * 10**5, None, None, None, None, ("flag\n" * 10**5,))
    assert len(repr(many)) < 320
    assert Run(3, 10, 0.0, 0.1).size == 7
    assert math.isfinite(one.measured.std)  # type: ignore[union-attr]
