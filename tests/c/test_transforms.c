/* One tier's transforms of float32 words, one digest each: all tiers must print the same lines. And the conversions to
 * 16 and 8 bits, against rounding in double. The tier is the source that TIER names:
 *
 *     gcc -O3 -std=c11 -ffp-contract=off -DTIER='"../../csrc/kernel_avx2.c"' -I src/fastinit/include tests/c/test_transforms.c -lm
 *     ./a.out          every 1009th word
 *     ./a.out 1        each of the 2^32 words: minutes
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include TIER

#include "small_float.h"

enum { BATCH = 4096 };
typedef void transform(const uint32_t *words, float *out);

#define TRANSFORM(name, expression)                                                                                                        \
    static void name(const uint32_t *words, float *out)                                                                                    \
    {                                                                                                                                      \
        for (int i = 0; i < BATCH; i += FASTINIT_LANES32) {                                                                                \
            const u32v w = u32_load(words + i);                                                                                            \
            f32_store(out + i, expression);                                                                                                \
        }                                                                                                                                  \
    }

FASTINIT_INLINE f32v sine(f32v x) { return f32_mul(x, f32_sin_polynomial(f32_mul(x, x))); }
FASTINIT_INLINE f32v cosine(f32v x) { return f32_cos_polynomial(f32_mul(x, x)); }

/* One of the two normals of a word with itself turned round: all radii, with varied angles. */
FASTINIT_INLINE f32v normal(u32v w, int i)
{
    f32v z[2];
    f32_box_muller(w, u32_xor(u32_shl(w, 17), u32_shr(w, 15)), f32_set1(2), z);
    return z[i];
}

TRANSFORM(unit_of, f32_unit(w))
TRANSFORM(half_log_of, f32_half_log(w))
TRANSFORM(phase_of, f32_phase(w))
TRANSFORM(sine_of, sine(f32_phase(w)))
TRANSFORM(cosine_of, cosine(f32_phase(w)))
TRANSFORM(first_normal_of, normal(w, 0))
TRANSFORM(second_normal_of, normal(w, 1))

static const struct {
    const char *name;
    transform *apply;
} transforms[] = {{"unit", unit_of},     {"half_log", half_log_of},     {"phase", phase_of},           {"sine", sine_of},
                  {"cosine", cosine_of}, {"normal 0", first_normal_of}, {"normal 1", second_normal_of}};

/* A format of 16 or 8 bits: a sign, exponent bits and mantissa bits. */
static const struct {
    const char *name;
    int size, exponent, mantissa, infinity;
    double largest;
} formats[] = {{"float16", 2, 5, 10, 1, 65504},
               {"bfloat16", 2, 8, 7, 1, 0x1.FEp127},
               {"float8_e4m3fn", 1, 4, 3, 0, 448},
               {"float8_e5m2", 1, 5, 2, 1, 57344}};

static double decode(int format, unsigned bits)
{
    return decode_small(bits, formats[format].exponent, formats[format].mantissa, formats[format].infinity);
}

/* To the nearest number of the format, ties to even. */
static double nearest(int format, double x)
{
    const int least = 2 - (1 << (formats[format].exponent - 1)), exponent = x == 0 ? least : ilogb(x);
    const double spacing = ldexp(1, (exponent > least ? exponent : least) - formats[format].mantissa);
    return rint(x / spacing) * spacing;
}

/* Of the floats that the format can hold: laws give no others. */
static uint64_t wrongly_rounded(int format, const float *in)
{
    uint64_t wrong = 0;
    uint16_t narrowed[BATCH];
    uint8_t *bytes = (uint8_t *)narrowed;
    FASTINIT_TIER_VARIABLE.narrow[format](in, narrowed, BATCH, FASTINIT_NO_HIGH, FASTINIT_NO_LOW);
    for (int i = 0; i < BATCH; i++) {
        const double got = decode(format, formats[format].size == 2 ? narrowed[i] : bytes[i]);
        if (fabsf(in[i]) <= formats[format].largest)
            wrong += got != nearest(format, in[i]) || !signbit(got) != !signbit(in[i]);
    }
    return wrong;
}

int main(int argc, char **argv)
{
    enum { TRANSFORMS = sizeof transforms / sizeof *transforms, FORMATS = sizeof formats / sizeof *formats };
    const uint64_t step = argc == 2 ? strtoull(argv[1], NULL, 10) : 1009;
    uint64_t digests[TRANSFORMS] = {0}, wrong[FORMATS] = {0}, all_wrong = 0;
    uint32_t words[BATCH], bits[BATCH];
    float out[BATCH];

    for (uint64_t first = 0; first <= UINT32_MAX; first += step * BATCH) {
        for (uint64_t i = 0; i < BATCH; i++)
            words[i] = (uint32_t)(first + i * step);
        for (int t = 0; t < TRANSFORMS; t++) {
            transforms[t].apply(words, out);
            memcpy(bits, out, sizeof bits);
            for (int i = 0; i < BATCH; i++)
                digests[t] = digests[t] * UINT64_C(6364136223846793005) + bits[i];
        }
        memcpy(out, words, sizeof out);
        for (int f = 0; f < FORMATS; f++)
            wrong[f] += wrongly_rounded(f, out);
    }
    for (int t = 0; t < TRANSFORMS; t++)
        printf("%s %016llx\n", transforms[t].name, (unsigned long long)digests[t]);
    for (int f = 0; f < FORMATS; f++) {
        printf("%s: %llu wrongly rounded\n", formats[f].name, (unsigned long long)wrong[f]);
        all_wrong += wrong[f];
    }
    return all_wrong != 0;
}
