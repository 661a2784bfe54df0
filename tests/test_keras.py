"""Keras's initializers: keras_backend.py for each backend that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax", "numpy"])
def test_backend(backend: str, tmp_path: Path) -> None:
    """A process each: Keras has one backend, and these take seconds to import and set up logging."""
    for package in ("keras", backend):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "KERAS_HOME": str(tmp_path),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    script = Path(__file__).with_name("keras_backend.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)]
    result = subprocess.run(
        command, cwd=script.parent.parent, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-10000:] + result.stderr[-2000:]
