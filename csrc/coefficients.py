"""Print ``coefficients.h``: the minimax polynomials of the kernel.

Each polynomial is found by the Remez exchange in 60 digits for the smallest
maximum *relative* error, then rounded one coefficient at a time, lowest degree
first: after each rounding the rest is solved again, so that the higher
coefficients make up for what the rounding of the lower ones cost.

    python csrc/coefficients.py > csrc/coefficients.h      # needs mpmath
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpmath import mp, mpf

mp.dps = 60
Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Target:
    name: str
    doc: str
    function: Function
    low: mpf
    high: mpf
    degree: int


def round_to(x: mpf, bits: int) -> mpf:
    """Round to nearest at a precision of `bits` bits (no exponent limits)."""
    mantissa, exponent = mp.frexp(x)
    return mp.ldexp(mp.nint(mp.ldexp(mantissa, bits)), exponent - bits)


def evaluate(coefficients: list[mpf], x: mpf) -> mpf:
    return mp.polyval(coefficients[::-1], x)


def remez(target: Target, fixed: list[mpf], rounds: int = 12) -> tuple[list[mpf], mpf]:
    """Minimax coefficients above the `fixed` low ones, and the error reached."""
    free = target.degree + 1 - len(fixed)
    low, high, f = target.low, target.high, target.function
    nodes = [
        (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (i + mpf(1) / 2) / (free + 1))
        for i in range(free + 1)
    ]
    grid = [low + (high - low) * mpf(i) / 2000 for i in range(2001)]
    values = [f(x) for x in grid]
    for _ in range(rounds):
        matrix, right = mp.matrix(free + 1), mp.matrix(free + 1, 1)
        for row, x in enumerate(nodes):
            for column in range(free):
                matrix[row, column] = x ** (len(fixed) + column) / f(x)
            matrix[row, free] = (-1) ** row
            right[row] = 1 - evaluate(fixed, x) / f(x)
        solution = mp.lu_solve(matrix, right)
        coefficients = fixed + [solution[i] for i in range(free)]
        error = [evaluate(coefficients, x) / y - 1 for x, y in zip(grid, values, strict=True)]
        nodes = alternating_extrema(grid, error, free + 1)
    return coefficients, max(abs(e) for e in error)


def alternating_extrema(grid: list[mpf], error: list[mpf], count: int) -> list[mpf]:
    """The `count` largest extrema of `error` with alternating signs."""
    picked: list[int] = []
    for i, e in enumerate(error):
        if picked and (error[picked[-1]] > 0) == (e > 0):
            if abs(e) > abs(error[picked[-1]]):
                picked[-1] = i
        else:
            picked.append(i)
    while len(picked) > count:
        picked.pop(0 if abs(error[picked[0]]) < abs(error[picked[-1]]) else -1)
    if len(picked) < count:
        raise ArithmeticError(f"{len(picked)} extrema, {count} needed")
    return [grid[i] for i in picked]


def rounded_minimax(target: Target, bits: int, pinned: list[mpf]) -> tuple[list[mpf], mpf]:
    fixed = list(pinned)
    while len(fixed) <= target.degree:
        coefficients, _ = remez(target, fixed)
        fixed.append(round_to(coefficients[len(fixed)], bits))
    points = (target.low + (target.high - target.low) * mpf(i) / 4000 for i in range(4001))
    return fixed, max(abs(evaluate(fixed, x) / target.function(x) - 1) for x in points)


def log_remainder(t: mpf) -> mpf:
    """(atanh(s) / s - 1) / t with s = sqrt(t)."""
    s = mp.sqrt(t)
    return (mp.atanh(s) / s - 1) / t if s else mpf(1) / 3


def sin_quotient(t: mpf) -> mpf:
    """sin(pi/4 x) / x with x = sqrt(t)."""
    x = mp.sqrt(t)
    return mp.sin(mp.pi / 4 * x) / x if x else mp.pi / 4


def cosine(t: mpf) -> mpf:
    """cos(pi/4 x) with x = sqrt(t)."""
    return mp.cos(mp.pi / 4 * mp.sqrt(t))


SQRT2 = mp.sqrt(2)


def targets(log_degree: int, cos_degree: int, sin_degree: int) -> list[Target]:
    unit = (mpf(0), mpf(1))
    log_end = ((SQRT2 - 1) / (SQRT2 + 1)) ** 2
    log_doc = "(atanh(s) / s - 1) / s^2 in powers of s^2, |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)"
    cos_doc = "cos(pi/4 x) in powers of x*x, |x| <= 1"
    sin_doc = "sin(pi/4 x) / x in powers of x*x, |x| <= 1"
    return [
        Target("LOG", log_doc, log_remainder, mpf(0), log_end, log_degree),
        Target("COS", cos_doc, cosine, *unit, cos_degree),
        Target("SIN", sin_doc, sin_quotient, *unit, sin_degree),
    ]


def emit(target: Target, prefix: str, suffix: str, bits: int, pinned: list[mpf]) -> None:
    coefficients, error = rounded_minimax(target, bits, pinned)
    print(f"\n/* {target.doc};")
    print(f" * maximum relative error of the polynomial 2^{float(mp.log(error, 2)):.2f} */")
    for degree, c in enumerate(coefficients):
        print(f"#define {prefix}_{target.name}{degree} {float(c).hex()}{suffix}")


def main() -> None:
    print("/* Written by coefficients.py (Remez exchange, 60 digits): edit that, not this. */")
    print("#ifndef FASTINIT_COEFFICIENTS_H\n#define FASTINIT_COEFFICIENTS_H")
    for degrees, prefix, suffix, bits, radius_bits in (
        ((2, 3, 3), "F32", "f", 24, 31),
        ((6, 6, 6), "F64", "", 53, 52),
    ):
        for target in targets(*degrees):
            pinned = [mpf(1)] if target.name == "COS" else []
            emit(target, prefix, suffix, bits, pinned)
        root = round_to(SQRT2, bits)
        # One unit in the last place below sqrt(2), so that u = |y| / R stays below 1.
        below = mp.ldexp(root - mp.ldexp(1, 1 - bits), -radius_bits)
        for name, doc, value in (
            ("MINUS_HALF_LN2", "-ln(2) / 2", round_to(-mp.log(2) / 2, bits)),
            ("R", "sqrt(2)", root),
            ("RADIUS_SCALE", f"the number below R, times 2^-{radius_bits}", below),
        ):
            print(f"\n/* {doc} */\n#define {prefix}_{name} {float(value).hex()}{suffix}")
    print("\n#endif")


if __name__ == "__main__":
    main()
