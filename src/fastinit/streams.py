"""Seeds and stream names to the 64-bit key of the generator."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from fastinit import _kernel
from fastinit.checks import check_int, shown

MAX_UINT64 = 2**64 - 1

Seed = int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | None
Stream = str | int


def expected_seed(low: str = "0") -> str:
    """What errors say that a seed must be."""
    return (
        f"an int in [{low}, 2**64), a numpy.random.SeedSequence (which takes ints of any length) "
        "or a numpy.random.Generator"
    )


def seed_value(seed: Seed) -> int:
    """An integer in [0, 2**64) from any kind of seed; None gives fresh entropy."""
    if type(seed) is int and 0 <= seed <= MAX_UINT64:
        return seed
    if seed is None:
        return secrets.randbits(64)
    if isinstance(seed, np.random.SeedSequence):
        return int(seed.generate_state(1, np.uint64)[0])
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(0, MAX_UINT64, dtype=np.uint64, endpoint=True))
    return check_int("seed", seed, 0, MAX_UINT64, expected_seed())


def stream_name(stream: Stream) -> bytes:
    """The bytes that name a stream; an integer is named by its decimal digits."""
    if isinstance(stream, str):
        try:
            return stream.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"stream must be valid Unicode text, got {shown(stream)}") from error
    return str(check_int("stream", stream, 0, expected="a text or an int of at least 0")).encode()


def numbered(stream: Stream, number: int) -> Stream:
    """The stream of a tensor's draw of this number: the first has the tensor's own; see fastinit.h."""
    return stream if number == 1 else f"{stream_name(stream).decode()}#{number}"


def stream_key(seed: Seed, stream: Stream) -> int:
    """The key of a seed and a stream; see fastinit.h for the definition."""
    if isinstance(stream, str) and not stream:
        return seed_value(seed)
    name = stream_name(stream)
    return _kernel.stream_key(seed_value(seed), name)
