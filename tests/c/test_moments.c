/* Sums and extremes of every dtype on every instruction set, beside double arithmetic over decoded numbers.
 *
 *     cc -std=c11 -Isrc/fastinit/include -Icsrc tests/c/test_moments.c csrc/<all>.c -lm -o test_moments && ./test_moments
 */
#include <math.h>
#include <stdio.h>

#include "internal.h"
#include "small_float.h"

enum { MOST = 5003 };

static int failed;

/* Exponent and mantissa bits of the small dtypes, and whether the largest exponent stands for infinity. */
static const struct {
    fastinit_dtype dtype;
    int exponent, mantissa, has_infinity;
    double scale, center; /* as the kernel takes them: 8-bit numbers as they are, those of float8_e4m3fn as float16 */
} small[] = {
    {FASTINIT_FLOAT16, 5, 10, 1, 1, 0.25},
    {FASTINIT_BFLOAT16, 8, 7, 1, 4, 0.25},
    {FASTINIT_FLOAT8_E4M3FN, 4, 3, 0, 0x1p-8, 0},
    {FASTINIT_FLOAT8_E5M2, 5, 2, 1, 1, 0},
};

static int is_near(double a, double b, double size) { return fabs(a - b) <= 1e-5 * size; }

static void compare(const char *isa, fastinit_dtype dtype, const void *items, const double *x, size_t n, double scale, double center)
{
    fastinit_moments m = {0, 0, INFINITY, -INFINITY}, e = m;
    double size = 0;
    for (size_t i = 0; i < n; i++) {
        const double y = scale * x[i], d = y - center;
        e.sum += d;
        e.squares += d * d;
        size += fabs(d);
        e.low = fmin(e.low, y);
        e.high = fmax(e.high, y);
    }
    fastinit_current_tier()->add_moments[dtype](items, n, scale, center, &m);
    if (!is_near(m.sum, e.sum, size) || !is_near(m.squares, e.squares, e.squares) || m.low != e.low || m.high != e.high) {
        printf("FAILED: %s, dtype %d, %zu elements\n", isa, (int)dtype, n);
        failed++;
    }
}

/* Pseudo-random integers: x -> a x + c modulo 2^64, the upper half (Knuth, TAOCP 2, 3.3.4). */
static uint32_t next(void)
{
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 32);
}

static void test_small(const char *isa, size_t kind, size_t n)
{
    static unsigned char items[2 * MOST + 1]; /* the first is left out: any alignment will do */
    static double x[MOST];
    const int bits = 1 + small[kind].exponent + small[kind].mantissa;
    for (size_t i = 0; i < n; i++) {
        uint16_t code;
        do {
            code = (uint16_t)(next() % (1u << bits));
            x[i] = decode_small(code, small[kind].exponent, small[kind].mantissa, small[kind].has_infinity);
        } while (!(fabs(x[i]) < 1e6)); /* no square overflows, and no sum of few sizes hides the others */
        const unsigned char byte = (unsigned char)code;
        memcpy(items + 1 + i * (size_t)bits / 8, bits == 8 ? (const void *)&byte : (const void *)&code, (size_t)bits / 8);
    }
    compare(isa, small[kind].dtype, items + 1, x, n, small[kind].scale, small[kind].center);
}

static void test_reals(const char *isa, size_t n)
{
    static char items32[4 * MOST + 1], items64[8 * MOST + 1];
    static double x32[MOST], x64[MOST];
    for (size_t i = 0; i < n; i++) {
        const float f = (float)(next() * 0x1p-32 - 0.25);
        x32[i] = f;
        x64[i] = next() * 0x1p-32 + 3;
        memcpy(items32 + 1 + 4 * i, &f, sizeof f);
        memcpy(items64 + 1 + 8 * i, &x64[i], sizeof x64[i]);
    }
    compare(isa, FASTINIT_FLOAT32, items32 + 1, x32, n, 2, 0.5);
    compare(isa, FASTINIT_FLOAT64, items64 + 1, x64, n, 0.25, 0.875);
}

int main(void)
{
    const char *isa;
    for (size_t i = 0; (isa = fastinit_available_isa(i)); i++) {
        fastinit_set_isa(isa);
        for (size_t n = 1; n <= MOST; n = n < 300 ? n + 1 : n + 1567) {
            test_reals(isa, n);
            for (size_t kind = 0; kind < sizeof small / sizeof *small; kind++)
                test_small(isa, kind, n);
        }
        printf("tested %s\n", isa);
    }
    return failed != 0;
}
