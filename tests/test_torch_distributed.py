"""DTensors and FSDP2 modules in real processes (gloo): each fills its part, together they have one process's bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch.distributed.tensor", reason="needs torch")


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_every_part_is_that_of_the_whole(tmp_path: Path, world: int) -> None:
    script = Path(__file__).parent / "torch_processes.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, str(world), tmp_path / "group"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
