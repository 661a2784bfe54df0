/* Whether this build computes the bits of the stream format: a few values of every sampler and cast beside digests that the
 * NumPy reference made. Options of compilers that change arithmetic without telling it by a macro end here. */
#include <math.h>
#include <stdatomic.h>

#include "internal.h"

enum { ELEMENTS = 1024 };
static const uint64_t KEY = 0x0123456789ABCDEF;

typedef enum { UNIFORM, NORMAL, TRUNCATED } kind;

/* Samplers without rejection first: where these are right, those that draw again come to an end. */
static const struct {
    kind kind;
    fastinit_dtype dtype;
    double p[4];
    uint64_t digest; /* of the first ELEMENTS elements under KEY; tests/test_selfcheck.py compares it with the reference */
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
    {NORMAL, FASTINIT_FLOAT8_E4M3FN, {0, 0.01}, UINT64_C(0xF263BFE49A9E421F)},
    {NORMAL, FASTINIT_FLOAT8_E5M2, {0, 1e-4}, UINT64_C(0x35B3F62497C30112)},
};

/* FNV-1a of the items as integers, so that the order of bytes in memory has no part in it. */
static uint64_t digest(const void *items, size_t size)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
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
        hash = (hash ^ bits) * UINT64_C(0x100000001B3);
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
    if (!refuses_nan() || !gives_right_bits(tier))
        return 0;
    atomic_store_explicit(&sound, tier, memory_order_relaxed);
    return 1;
}
