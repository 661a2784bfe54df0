"""The generator against published vectors, through the oracle and through the library."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import fastinit as fi
import reference

#: Random123's kat_vectors for philox4x32-10: counter, key, block.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        0xFFFFFFFFFFFFFFFF,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN_ANSWERS)
def test_oracle_gives_known_answers(
    counter: tuple[int, ...], key: int, block: tuple[int, ...]
) -> None:
    words = reference.philox(*(np.array([c], np.uint64) for c in counter), key)
    assert tuple(int(w) for w in words[:, 0]) == block


def test_first_block_of_key_0() -> None:
    assert tuple(fi.random_words(4, seed=0)) == KNOWN_ANSWERS[0][2]


def test_word_10000_of_cpp26() -> None:
    """C++26 [rand.predef]: the 10000th call of a default-seeded philox4x32."""
    assert fi.random_words(10000, seed=20111115)[-1] == 1955073260


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 2**34 - 3, 2**34, 2**64 - 9])
def test_words_equal_the_oracle(offset: int) -> None:
    words = fi.random_words(9, seed=2**64 - 1, offset=offset)
    assert words.dtype == np.uint32
    np.testing.assert_array_equal(words, reference.random_words(2**64 - 1, offset, 9))


@pytest.mark.parametrize("name", ["a", "layers.0.mlp.up", "ä" * 100, "x" * 120, "y" * 1000])
def test_stream_key_is_blake2b(name: str) -> None:
    seed = 2**63 + 5
    message = seed.to_bytes(8, "little") + name.encode()
    key = int.from_bytes(hashlib.blake2b(message).digest()[:8], "little")
    np.testing.assert_array_equal(
        fi.random_words(8, seed=seed, stream=name), reference.random_words(key, 0, 8)
    )


def test_integer_stream_is_its_decimal_name() -> None:
    for stream in (0, 17, np.int32(17), 2**64):
        np.testing.assert_array_equal(
            fi.random_words(8, seed=1, stream=stream),
            fi.random_words(8, seed=1, stream=str(int(stream))),
        )
    assert (fi.random_words(8, seed=1, stream=0) != fi.random_words(8, seed=1)).any()
