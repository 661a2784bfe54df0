"""The short form of reliability/bits.py: random cases have one digest, whatever makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastinit as fi
from reliability import bits

SEED, CASES = 1, 250
#: What the NumPy oracle makes of the cases, without the kernel:
#: python tests/reliability/bits.py --seed 1 --cases 250 --oracle
DIGEST = "08777933a831b35ea9415ae0d421c64429cbfa15971dd23105b7ab9e44dd9cbd"


def test_random_cases(isa: str) -> None:
    """Fills of any layout by 1 to 8 threads, shards and splits of 13 million elements: the bytes that the oracle gives."""
    tally = bits.run(SEED, CASES, isas=(isa,))
    assert tally.sha.hexdigest() == DIGEST
    assert tally.threaded >= 5
    assert tally.greatest == 2**64 - 1
    assert set(tally.counts["dtype"]) == set(fi.fill.DTYPE_SIZES)
    assert {"uniform", "normal", "truncated", "half", "narrow", "by_exponential", "tail"} < set(
        tally.counts["proposal"]
    )


def test_a_wrong_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that flips a bit of the last element of long runs."""
    fill = bits._kernel.fill

    def wrong(d: Any, key: int, index: int, out: Any, start: int, n: int) -> None:
        fill(d, key, index, out, start, n)
        if n > 1000:
            out.reshape(-1).view(np.uint8)[(start + n) * (out.nbytes // out.size) - 1] ^= 1

    monkeypatch.setattr(bits._kernel, "fill", wrong)
    with pytest.raises(bits.Differs, match=r"seed 1, case \d+: other bits"):
        bits.run(SEED, CASES, isas=("scalar",), threads=1)
