/* Whether this build computes the bits of the stream format: a few values of every sampler and cast beside digests that the
 * NumPy reference made. This finds the compiler options that change arithmetic and that no macro shows. */
#include <math.h>
#include <stdatomic.h>

#include "internal.h"

enum { ELEMENTS = 1024, PREPARED = 128 };
static const uint64_t KEY = 0x0123456789ABCDEF, FNV_OFFSET = 0xCBF29CE484222325;

typedef enum { UNIFORM, NORMAL, TRUNCATED } kind;

/* Samplers without rejection first: where these are right, those that draw again come to an end. */
static const struct {
    kind kind;
    fastinit_dtype dtype;
    double p[4];
    uint64_t digest; /* of the first ELEMENTS elements under KEY; tests/test_compiler_options.py compares it with the reference */
} cases[] = {
    {UNIFORM, FASTINIT_FLOAT32, {-0.3, 0.7}, UINT64_C(0xCBFB9939E9093AD9)},
    {UNIFORM, FASTINIT_FLOAT64, {-0.3, 0.7}, UINT64_C(0x09D619B0080A44EE)},
    {NORMAL, FASTINIT_FLOAT32, {0.1, 0.3}, UINT64_C(0x90CBB4B158215115)},
    {NORMAL, FASTINIT_FLOAT64, {0.1, 0.3}, UINT64_C(0xFDE4FBB3A20E027D)},
    {TRUNCATED, FASTINIT_FLOAT32, {0, 0.02, -2, 2}, UINT64_C(0x55FD5F386538D900)},
    {TRUNCATED, FASTINIT_FLOAT64, {0, 0.02, -2, 2}, UINT64_C(0x40B367F1DD887977)},
    {TRUNCATED, FASTINIT_FLOAT32, {0.1, 0.3, 0.1, 4.3}, UINT64_C(0x1DAA76A6FA3815C9)},
    {TRUNCATED, FASTINIT_FLOAT64, {0.1, 0.3, 0.1, 4.3}, UINT64_C(0x81CC6033F0BE4B73)},
    {TRUNCATED, FASTINIT_FLOAT32, {0.1, 0.3, -0.7, 0.9}, UINT64_C(0xD4935D5D51C05A58)},
    {TRUNCATED, FASTINIT_FLOAT64, {0.1, 0.3, -0.7, 0.9}, UINT64_C(0x14B39D84E9C54219)},
    {TRUNCATED, FASTINIT_FLOAT32, {0.1, 0.3, 0.7, 9.1}, UINT64_C(0xB7E826295E8E12CE)},
    {TRUNCATED, FASTINIT_FLOAT64, {0.1, 0.3, 0.7, 9.1}, UINT64_C(0x15B339197560694F)},
    {TRUNCATED, FASTINIT_FLOAT32, {0.1, 0.3, 3.1, 5}, UINT64_C(0x9F0FACB589298A81)},
    {TRUNCATED, FASTINIT_FLOAT64, {0.1, 0.3, 3.1, 5}, UINT64_C(0x603F503B3C4DD50B)},
    {NORMAL, FASTINIT_FLOAT16, {0, 1e-4}, UINT64_C(0xEC2150E4959F0501)},
    {NORMAL, FASTINIT_BFLOAT16, {0.1, 0.3}, UINT64_C(0xE4646DCF4B1B22F0)},
    {NORMAL, FASTINIT_FLOAT32, {-1e-60, 0}, UINT64_C(0x51D88627DF287325)}, /* zeros of either sign become +0 */
    {UNIFORM, FASTINIT_FLOAT16, {-1e-8, 7e-9}, UINT64_C(0x51D88627DF287325)},
    {UNIFORM, FASTINIT_BFLOAT16, {0, 4}, UINT64_C(0x870DC80FC89F80BB)},
    {NORMAL, FASTINIT_FLOAT8_E4M3FN, {0, 0.01}, UINT64_C(0xF263BFE49A9E421F)},
    {NORMAL, FASTINIT_FLOAT8_E5M2, {0, 1e-4}, UINT64_C(0x35B3F62497C30112)},
};

static uint64_t hash_of(uint64_t hash, uint64_t bits) { return (hash ^ bits) * UINT64_C(0x100000001B3); }

/* FNV-1a of the items as integers, so that the order of bytes in memory has no part in it. */
static uint64_t digest(const void *items, size_t size)
{
    uint64_t hash = FNV_OFFSET;
    for (size_t i = 0; i < ELEMENTS; i++) {
        const char *item = (const char *)items + i * size;
        uint64_t bits = 0;
        uint32_t bits32;
        uint16_t bits16;
        if (size == 8) {
            memcpy(&bits, item, 8);
        } else if (size == 4) {
            memcpy(&bits32, item, 4);
            bits = bits32;
        } else if (size == 2) {
            memcpy(&bits16, item, 2);
            bits = bits16;
        } else {
            bits = *(const unsigned char *)item;
        }
        hash = hash_of(hash, bits);
    }
    return hash;
}

static fastinit_status prepare(size_t i, fastinit_distribution *d)
{
    const double *p = cases[i].p;
    if (cases[i].kind == UNIFORM)
        return fastinit_uniform(d, cases[i].dtype, p[0], p[1]);
    if (cases[i].kind == NORMAL)
        return fastinit_normal(d, cases[i].dtype, p[0], p[1]);
    return fastinit_truncated_normal(d, cases[i].dtype, p[0], p[1], p[2], p[3]);
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Whether the compiler keeps to the arithmetic that is written. Operands are volatile, so that it cannot compute the results
 * itself; each expression is one that an option would change: zeros without signs, division by multiplication, sums in
 * another order, fused multiplication and addition. */
static int is_exact(void)
{
    static const volatile double minus_zero = -0.0, one = 1, three = 3, seven = 7, ten = 10, large = 1e16, near_one = 1 + 0x1p-30;
    const double divisor = ten;
    return bits_of(minus_zero + 0.0) == 0 &&                                                       /* -0 + 0 is +0 */
           bits_of(three / 10) == bits_of(0.3) &&                                                  /* 3 * (1 / 10) is more */
           bits_of(three / divisor) == bits_of(0.3) && bits_of(seven / divisor) == bits_of(0.7) && /* so is 7 * (1 / 10) */
           bits_of((one + large) - large) == 0 &&                                                  /* 1 + 1e16 is 1e16 */
           bits_of(near_one * near_one - (1 + 0x1p-29)) == 0;                                      /* 2^-60 is rounded away */
}

/* Whether comparisons know NaN, which the compiler must not see coming. */
static int refuses_nan(void)
{
    static const volatile double nan = NAN;
    fastinit_distribution d;
    return fastinit_normal(&d, FASTINIT_FLOAT32, nan, 1) == FASTINIT_ERR_MEAN &&
           fastinit_normal(&d, FASTINIT_FLOAT32, 0, nan) == FASTINIT_ERR_STDDEV &&
           fastinit_truncated_normal(&d, FASTINIT_FLOAT32, 0, 1, nan, 2) == FASTINIT_ERR_BOUNDS &&
           fastinit_uniform(&d, FASTINIT_FLOAT32, 0, nan) == FASTINIT_ERR_BOUNDS;
}

/* Whether parameters are computed as the header says, for truncated normals of all proposals, on both sides. */
static int prepares_right(void)
{
    uint64_t hash = FNV_OFFSET;
    for (int i = 0; i < PREPARED; i++) {
        fastinit_distribution d;
        const double mean = (i * 37 % 101 - 50) * 0x1p-6, stddev = (i * 53 % 97 + 1) * 0x1p-8;
        const double lower = (i * 29 % 83 - 20) * 0x1p-4, upper = lower + (i * 31 % 67 + 1) * 0x1p-3;
        const fastinit_status status = i % 2 ? fastinit_truncated_normal(&d, FASTINIT_FLOAT64, mean, stddev, lower, upper)
                                             : fastinit_truncated_normal(&d, FASTINIT_FLOAT32, mean, stddev, -upper, -lower);
        const double parts[] = {d.base, d.scale, d.low, d.high, d.p[0], d.p[1], d.p[2]};
        if (status != FASTINIT_OK)
            return 0;
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            hash = hash_of(hash, bits_of(parts[k]));
    }
    return hash == UINT64_C(0x568E4826B5BA829F);
}

static int gives_right_bits(const fastinit_tier *tier)
{
    double items[ELEMENTS];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fastinit_distribution d;
        if (prepare(i, &d) != FASTINIT_OK)
            return 0;
        const size_t size = fastinit_fill_with(tier, &d, KEY, 0, ELEMENTS, items);
        if (digest(items, size) != cases[i].digest)
            return 0;
    }
    return 1;
}

/* Threads that race here do the same work and store the same pointer. */
int fastinit_is_sound(const fastinit_tier *tier)
{
    static _Atomic(const fastinit_tier *) sound; /* the last one that was found to be */
    if (atomic_load_explicit(&sound, memory_order_relaxed) == tier)
        return 1;
    if (!is_exact() || !refuses_nan() || !prepares_right() || !gives_right_bits(tier))
        return 0;
    atomic_store_explicit(&sound, tier, memory_order_relaxed);
    return 1;
}
