/* Floats of 16 and 8 bits, from their definition. */
#ifndef SMALL_FLOAT_H
#define SMALL_FLOAT_H

#include <math.h>

/* A number of sign, exponent and mantissa bits; infinities and NaN come out as NaN. */
static inline double decode_small(unsigned bits, int exponent_bits, int mantissa_bits, int has_infinity)
{
    const unsigned fields = 1u << exponent_bits, units = 1u << mantissa_bits;
    const unsigned exponent = (bits >> mantissa_bits) % fields, mantissa = bits % units;
    const int bias = (int)fields / 2 - 1;
    if (exponent == fields - 1 && (has_infinity || mantissa == units - 1))
        return NAN;
    const double magnitude =
        exponent ? ldexp(units + mantissa, (int)exponent - bias - mantissa_bits) : ldexp(mantissa, 1 - bias - mantissa_bits);
    return bits >> (exponent_bits + mantissa_bits) & 1 ? -magnitude : magnitude;
}

#endif
