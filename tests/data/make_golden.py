"""Print golden.txt, or golden_computed.txt, from the NumPy reference. See README.md."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
import reference

SEED, STREAM = 20111115, "layers.0.mlp.up"
# Starts inside a super-block, in the chunk before the element number no longer fits 32 bits.
INDEX, N = 2**32 - 5003, 10007

DISTRIBUTIONS = [
    ("uniform", -0.75, 1.25),
    ("normal", 0.5, 0.02),
    ("truncated_normal", 0.0, 0.02, -2.0, 2.0),  # proposal: truncated
    ("truncated_normal", 1.0, 3.0, -0.5, 1.5),  # narrow, across 0
    ("truncated_normal", 0.0, 1.0, 0.125, 4.0),  # half
    ("truncated_normal", 0.0, 1.0, 2.0, 2.25),  # narrow
    ("truncated_normal", -1.0, 0.5, 0.75, float("inf")),  # exponential
    ("truncated_normal", 0.25, 2.0, -5.0, -3.0),  # tail, reflected
    ("truncated_normal", -1.0, 1e-4, 1e4, float("inf")),  # tail, far
]


# Computed in float64 with the C library's exp and log and rounded to these dtypes once: another library, whose last bit
# of float64 differs, changes one of a billion elements. Of float64 it would change many, which has no lines here.
COMPUTED = [
    ("log_uniform", 0.001, 0.1),
    ("exponential", 2.0),
    ("random_integers", -100.0, 101.0),
]


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def line(dtype: str, name: str, *parameters: float) -> str:
    key = reference.stream_key(SEED, STREAM)
    values = getattr(reference, name)(dtype, key, INDEX, N, *parameters)
    columns = [repr(p) for p in parameters] + ["-"] * (4 - len(parameters))
    return " ".join(map(str, (dtype, name, *columns, SEED, STREAM, INDEX, N, digest(values))))


def main() -> None:
    """The lines of the kernel's distributions; with the argument "computed" those of NumPy's."""
    if sys.argv[1:] == ["computed"]:
        for name, *parameters in COMPUTED:
            for dtype in reference.DTYPES:
                if dtype != "float64" or name == "random_integers":
                    print(line(dtype, name, *parameters))
        return
    for dtype in reference.DTYPES:
        for name, *parameters in DISTRIBUTIONS:
            print(line(dtype, name, *parameters))
    words = reference.random_words(reference.stream_key(SEED, STREAM), INDEX, N)
    print("uint32 random_words", *"----", SEED, STREAM, INDEX, N, digest(words))


if __name__ == "__main__":
    main()
