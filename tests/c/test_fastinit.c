/* Tests of the C interface, without Python: known answers, the golden hashes on every
 * instruction set that runs, regions, statuses, and that nothing is written outside.
 *
 *     test_fastinit tests/data/golden.txt
 */
#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "fastinit.h"
#include "sha256.h"

static int passed, failed;

static void check(int condition, const char *what, const char *detail)
{
    condition ? passed++ : failed++;
    if (!condition)
        printf("FAILED: %s (%s, %s)\n", what, detail, fastinit_isa());
}

static const char *const dtype_names[] = {"float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"};
enum { DTYPES = sizeof dtype_names / sizeof *dtype_names };
static const size_t item_sizes[] = {4, 8, 2, 2, 1, 1};

static int parse_dtype(const char *name)
{
    for (int i = 0; i < DTYPES; i++)
        if (strcmp(name, dtype_names[i]) == 0)
            return i;
    return -1;
}

/* Reverse the bytes of each item where the lowest does not come first: hashes are of little-endian bytes. */
static void to_little_endian(unsigned char *items, size_t bytes, size_t size)
{
    const uint16_t one = 1;
    if (*(const unsigned char *)&one == 1)
        return;
    for (; bytes; bytes -= size, items += size)
        for (size_t i = 0; i < size / 2; i++) {
            const unsigned char low = items[i];
            items[i] = items[size - 1 - i];
            items[size - 1 - i] = low;
        }
}

static fastinit_status prepare(fastinit_distribution *d, fastinit_dtype dtype, const char *name, const double p[4])
{
    if (strcmp(name, "uniform") == 0)
        return fastinit_uniform(d, dtype, p[0], p[1]);
    if (strcmp(name, "normal") == 0)
        return fastinit_normal(d, dtype, p[0], p[1]);
    return fastinit_truncated_normal(d, dtype, p[0], p[1], p[2], p[3]);
}

static void test_golden_line(const char *line)
{
    char dtype[16], name[32], texts[4][32], stream[64], expected[65], hex[65];
    uint64_t seed, index, n;
    const int fields = sscanf(line, "%15s %31s %31s %31s %31s %31s %" SCNu64 " %63s %" SCNu64 " %" SCNu64 " %64s", dtype, name, texts[0],
                              texts[1], texts[2], texts[3], &seed, stream, &index, &n, expected);
    check(fields == 11, "golden line parses", line);
    if (fields != 11)
        return;
    const int code = parse_dtype(dtype);
    const size_t size = code < 0 ? sizeof(uint32_t) : item_sizes[code];
    const uint64_t key = fastinit_stream_key(seed, stream, strlen(stream));
    unsigned char *out = malloc((size_t)n * size);
    fastinit_status status;
    if (code < 0) {
        status = fastinit_random_words(key, index, n, (uint32_t *)(void *)out);
    } else {
        double p[4];
        for (int i = 0; i < 4; i++)
            p[i] = strtod(texts[i], NULL);
        fastinit_distribution d;
        status = prepare(&d, (fastinit_dtype)code, name, p);
        if (status == FASTINIT_OK)
            status = fastinit_fill(&d, key, index, n, out);
    }
    check(status == FASTINIT_OK, "golden fill succeeds", line);
    to_little_endian(out, (size_t)n * size, size);
    sha256_hex(out, (size_t)n * size, hex);
    check(strcmp(hex, expected) == 0, "golden hash", line);
    free(out);
}

static void test_golden(const char *path)
{
    char line[512];
    int lines = 0;
    FILE *file = fopen(path, "r");
    check(file != NULL, "golden file opens", path);
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        test_golden_line(line);
        lines++;
    }
    fclose(file);
    check(lines == 55, "golden file has 55 lines", path);
}

/* Random123's known answer for counter 0 and key 0, and the 10000th word of C++26's philox4x32. */
static void test_known_answers(void)
{
    uint32_t words[4];
    fastinit_random_words(0, 0, 4, words);
    check(words[0] == 0x6627e8d5 && words[1] == 0xe169c58d && words[2] == 0xbc57ac4c && words[3] == 0x9b00dbd8, "Random123",
          "counter 0, key 0");
    fastinit_random_words(20111115, 9999, 1, words);
    check(words[0] == 1955073260, "C++26", "word 9999");
    check(fastinit_stream_key(7, "", 0) == 7, "key without a stream", "seed 7");
    /* RFC 7693 BLAKE2b-512 of 07 00 00 00 00 00 00 00 61. */
    check(fastinit_stream_key(7, "a", 1) == 0x61c1ba8d0b404b71, "key with a stream", "seed 7, a");
}

/* Any split of a fill gives its bytes, and the bytes around them stay. */
static void test_splits(fastinit_dtype dtype)
{
    enum { N = 200 };
    const size_t size = item_sizes[dtype];
    unsigned char whole[N * 8], part[N * 8 + 18];
    fastinit_distribution d;
    fastinit_truncated_normal(&d, dtype, 0, 1, -1.5, 2);
    fastinit_fill(&d, 1, 0, N, whole);
    int equal = 1, untouched = 1;
    for (size_t begin = 0; begin <= N; begin++)
        for (size_t end = begin; end <= N; end += 1 + end % 7) {
            const size_t bytes = (end - begin) * size, at = 8 + begin % 2; /* at odd addresses too */
            memset(part, 0xA5, sizeof part);
            fastinit_fill(&d, 1, begin, end - begin, part + at);
            equal &= memcmp(part + at, whole + begin * size, bytes) == 0;
            for (size_t i = 0; i < 8; i++)
                untouched &= part[i] == 0xA5 && part[at + bytes + i] == 0xA5;
        }
    check(equal, "splits equal the whole", dtype_names[dtype]);
    check(untouched, "nothing is written outside", dtype_names[dtype]);
}

/* A 3 x 4 x 5 box of a 7 x 11 x 130 tensor, the last axis backwards, in memory with the axes reversed. */
static void test_region(fastinit_dtype dtype)
{
    enum { A = 7, B = 11, C = 130, X = 3, Y = 4, Z = 5 };
    const size_t size = item_sizes[dtype];
    static unsigned char whole[A * B * C * 8], box[X * Y * Z * 8];
    const uint64_t count[] = {X, Y, Z};
    const int64_t index_step[] = {2 * B * C, C, -1};
    const int64_t s = (int64_t)size, out_step[] = {s, X * s, X * Y * s};
    const fastinit_region region = {3, count, index_step, out_step, 1 * B * C + 2 * C + 100};
    fastinit_distribution d;
    fastinit_normal(&d, dtype, 0, 1);
    fastinit_fill(&d, 9, 0, A * B * C, whole);
    for (uint64_t at = 0; at < X * Y * Z; at += 13)
        fastinit_fill_region(&d, 9, &region, at, X * Y * Z - at < 13 ? X * Y * Z - at : 13, box);
    int equal = 1;
    for (size_t x = 0; x < X; x++)
        for (size_t y = 0; y < Y; y++)
            for (size_t z = 0; z < Z; z++) {
                const size_t element = (1 + 2 * x) * B * C + (2 + y) * C + 100 - z;
                equal &= memcmp(box + (x + X * (y + Y * z)) * size, whole + element * size, size) == 0;
            }
    check(equal, "region equals the slice", dtype_names[dtype]);
}

/* An axis of one position may have steps of any size, as NumPy's do: no pointer goes there. */
static void test_far_steps(void)
{
    enum { N = 6 };
    const uint64_t count[] = {1, N, 1};
    const int64_t index_step[] = {INT64_MAX, 3, INT64_MIN}, out_step[] = {INT64_MIN, 4, INT64_MAX - 2};
    const fastinit_region region = {3, count, index_step, out_step, 5};
    float whole[5 + 3 * N], out[N];
    fastinit_distribution d;
    fastinit_normal(&d, FASTINIT_FLOAT32, 0, 1);
    fastinit_fill(&d, 9, 0, 5 + 3 * N, whole);
    int equal = fastinit_fill_region(&d, 9, &region, 0, N, out) == FASTINIT_OK;
    for (size_t i = 0; i < N; i++)
        equal &= out[i] == whole[5 + 3 * i];
    check(equal, "region", "far steps of axes of one position");
}

/* Uniforms may reach the largest number of their dtype, on either side of 0, and nothing above it. */
static void test_largest_numbers(void)
{
    const struct {
        double largest, above;
    } numbers[] = {
        [FASTINIT_FLOAT32] = {0x1.FFFFFEp127, 0x1.FFFFFE0000001p127},
        [FASTINIT_FLOAT64] = {0x1.FFFFFFFFFFFFFp1023, INFINITY},
        [FASTINIT_FLOAT16] = {65504, 65504.001},
        [FASTINIT_BFLOAT16] = {0x1.FEp127, 0x1.FE00000000001p127},
        [FASTINIT_FLOAT8_E4M3FN] = {448, 448.001},
        [FASTINIT_FLOAT8_E5M2] = {57344, 57344.001},
    };
    for (int i = 0; i < DTYPES; i++) {
        fastinit_distribution d;
        check(fastinit_uniform(&d, (fastinit_dtype)i, 0, numbers[i].largest) == FASTINIT_OK, "largest number", dtype_names[i]);
        check(fastinit_uniform(&d, (fastinit_dtype)i, -numbers[i].largest, 0) == FASTINIT_OK, "lowest number", dtype_names[i]);
        check(fastinit_uniform(&d, (fastinit_dtype)i, 0, numbers[i].above) == FASTINIT_ERR_OVERFLOW, "above the largest number",
              dtype_names[i]);
        check(fastinit_uniform(&d, (fastinit_dtype)i, -numbers[i].above, 0) == FASTINIT_ERR_OVERFLOW, "below the lowest number",
              dtype_names[i]);
    }
}

static void test_statuses(void)
{
    const struct {
        fastinit_status got, expected;
        const char *what;
    } cases[] = {
#define NORMAL(dtype, mean, stddev)          fastinit_normal(&(fastinit_distribution){0}, dtype, mean, stddev)
#define TRUNCATED(dtype, mean, stddev, a, b) fastinit_truncated_normal(&(fastinit_distribution){0}, dtype, mean, stddev, a, b)
#define UNIFORM(dtype, a, b)                 fastinit_uniform(&(fastinit_distribution){0}, dtype, a, b)
        {fastinit_normal(NULL, FASTINIT_FLOAT32, 0, 1), FASTINIT_ERR_NULL, "NULL distribution"},
        {NORMAL((fastinit_dtype)6, 0, 1), FASTINIT_ERR_DTYPE, "dtype 6"},
        {NORMAL(FASTINIT_FLOAT32, NAN, 1), FASTINIT_ERR_MEAN, "mean NaN"},
        {NORMAL(FASTINIT_FLOAT32, INFINITY, 1), FASTINIT_ERR_MEAN, "mean infinite"},
        {NORMAL(FASTINIT_FLOAT32, 0, -1), FASTINIT_ERR_STDDEV, "stddev -1"},
        {NORMAL(FASTINIT_FLOAT32, 0, NAN), FASTINIT_ERR_STDDEV, "stddev NaN"},
        {NORMAL(FASTINIT_FLOAT16, 0, 10000), FASTINIT_ERR_OVERFLOW, "6.661 * 10000 in float16"},
        {NORMAL(FASTINIT_FLOAT16, 0, 9600), FASTINIT_OK, "6.661 * 9600 in float16"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, 1, 2, 2), FASTINIT_ERR_BOUNDS, "lower == upper"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, 1, NAN, 2), FASTINIT_ERR_BOUNDS, "lower NaN"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, 1, -INFINITY, INFINITY), FASTINIT_OK, "infinite bounds"},
        {TRUNCATED(FASTINIT_FLOAT16, 0, 30000, -2, 3), FASTINIT_ERR_OVERFLOW, "90000 in float16"},
        {TRUNCATED(FASTINIT_FLOAT16, 0, 30000, -2, 2), FASTINIT_OK, "60000 in float16"},
        {TRUNCATED(FASTINIT_FLOAT8_E4M3FN, 0, 224, -2, 2), FASTINIT_OK, "448 in float8_e4m3fn"},
        {TRUNCATED(FASTINIT_FLOAT8_E4M3FN, 0, 225, -2, 2), FASTINIT_ERR_OVERFLOW, "450 in float8_e4m3fn"},
        {UNIFORM(FASTINIT_FLOAT8_E5M2, 0, 57344), FASTINIT_OK, "57344 in float8_e5m2"},
        {UNIFORM(FASTINIT_FLOAT8_E5M2, 0, 57345), FASTINIT_ERR_OVERFLOW, "57345 in float8_e5m2"},
        {UNIFORM(FASTINIT_FLOAT8_E5M2, 1.01, 1.24), FASTINIT_ERR_EMPTY, "no float8_e5m2 in [1.01, 1.24]"},
        {TRUNCATED(FASTINIT_BFLOAT16, 1, 1e-6, 0.5, 2), FASTINIT_ERR_EMPTY, "no bfloat16 in [1.0000005, 1.000002]"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, 1, 1e300, INFINITY), FASTINIT_ERR_OVERFLOW, "tail beyond float32"},
        /* The reach of 6.661 standard deviations: 65504 / 6.661 = 9834.0. */
        {NORMAL(FASTINIT_FLOAT16, 0, 9833), FASTINIT_OK, "6.661 * 9833 in float16"},
        {NORMAL(FASTINIT_FLOAT16, 0, 9835), FASTINIT_ERR_OVERFLOW, "6.661 * 9835 in float16"},
        {NORMAL(FASTINIT_FLOAT8_E4M3FN, 0, 67.25), FASTINIT_OK, "6.661 * 67.25 in float8_e4m3fn"},
        {NORMAL(FASTINIT_FLOAT8_E4M3FN, 0, 67.27), FASTINIT_ERR_OVERFLOW, "6.661 * 67.27 in float8_e4m3fn"},
        {NORMAL(FASTINIT_FLOAT8_E5M2, 0, 8608), FASTINIT_OK, "6.661 * 8608 in float8_e5m2"},
        {NORMAL(FASTINIT_FLOAT8_E5M2, 0, 8610), FASTINIT_ERR_OVERFLOW, "6.661 * 8610 in float8_e5m2"},
        /* Exponential: 1 + 6.661 + rate - 1 with the rate (1 + sqrt 5) / 2: 65504 / 8.279 = 7912.1. */
        {TRUNCATED(FASTINIT_FLOAT16, 0, 7911, 1, INFINITY), FASTINIT_OK, "8.279 * 7911 in float16"},
        {TRUNCATED(FASTINIT_FLOAT16, 0, 7914, 1, INFINITY), FASTINIT_ERR_OVERFLOW, "8.279 * 7914 in float16"},
        /* Candidates are made before they are rejected: they must be finite in the arithmetic's type. */
        {TRUNCATED(FASTINIT_FLOAT32, 0, 5e37, -2, 2), FASTINIT_OK, "6.661 * 5e37 in float32"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, 6e37, -2, 2), FASTINIT_ERR_OVERFLOW, "6.661 * 6e37 in float32"},
        /* Bounds in range, but not the steps on the way: what would come out is piled up on the bounds. */
        {TRUNCATED(FASTINIT_FLOAT32, 0, 3e38, -1, 1), FASTINIT_ERR_OVERFLOW, "width 6e38 in float32"},
        {TRUNCATED(FASTINIT_FLOAT32, -3.6e38, 3e38, 0.1, 2), FASTINIT_ERR_OVERFLOW, "mean -3.6e38 in float32"},
        {TRUNCATED(FASTINIT_FLOAT32, -3e38, 2e38, -0.1, 3), FASTINIT_ERR_OVERFLOW, "z * scale of 6e38 in float32"},
        {TRUNCATED(FASTINIT_FLOAT16, -70000, 10000, 1, 9), FASTINIT_OK, "mean outside float16, values inside"},
        {UNIFORM(FASTINIT_FLOAT32, 1, 0), FASTINIT_ERR_BOUNDS, "low > high"},
        {UNIFORM(FASTINIT_FLOAT16, 69000, 70000), FASTINIT_ERR_OVERFLOW, "69000 to 70000 in float16"},
        {UNIFORM(FASTINIT_FLOAT16, -70000, -69000), FASTINIT_ERR_OVERFLOW, "-70000 to -69000 in float16"},
        {UNIFORM(FASTINIT_FLOAT32, NAN, 0), FASTINIT_ERR_BOUNDS, "low NaN"},
        {UNIFORM(FASTINIT_FLOAT32, 0, NAN), FASTINIT_ERR_BOUNDS, "high NaN"},
        {UNIFORM((fastinit_dtype)6, 0, 1), FASTINIT_ERR_DTYPE, "uniform of dtype 6"},
        {TRUNCATED((fastinit_dtype)-1, 0, 1, -2, 2), FASTINIT_ERR_DTYPE, "truncated normal of dtype -1"},
        {fastinit_uniform(NULL, FASTINIT_FLOAT32, 0, 1), FASTINIT_ERR_NULL, "NULL distribution of a uniform"},
        {fastinit_truncated_normal(NULL, FASTINIT_FLOAT32, 0, 1, -2, 2), FASTINIT_ERR_NULL, "NULL distribution of a truncated normal"},
        {NORMAL(FASTINIT_FLOAT32, 0, INFINITY), FASTINIT_ERR_STDDEV, "stddev infinite"},
        {TRUNCATED(FASTINIT_FLOAT32, NAN, 1, -2, 2), FASTINIT_ERR_MEAN, "mean NaN of a truncated normal"},
        {TRUNCATED(FASTINIT_FLOAT32, -INFINITY, 1, -2, 2), FASTINIT_ERR_MEAN, "mean infinite of a truncated normal"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, -1, -2, 2), FASTINIT_ERR_STDDEV, "stddev -1 of a truncated normal"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, NAN, -2, 2), FASTINIT_ERR_STDDEV, "stddev NaN of a truncated normal"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, INFINITY, -2, 2), FASTINIT_ERR_STDDEV, "stddev infinite of a truncated normal"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, 1, -2, NAN), FASTINIT_ERR_BOUNDS, "upper NaN"},
        {TRUNCATED(FASTINIT_FLOAT32, 0, 0, 2, -2), FASTINIT_ERR_BOUNDS, "lower > upper where stddev is 0"},
        {TRUNCATED(FASTINIT_FLOAT16, 65504, 0, -2, 2), FASTINIT_OK, "65504 in float16, stddev 0"},
        {TRUNCATED(FASTINIT_FLOAT16, 65505, 0, -2, 2), FASTINIT_ERR_OVERFLOW, "65505 in float16, stddev 0"},
        {UNIFORM(FASTINIT_FLOAT32, -3e38, 3e38), FASTINIT_ERR_OVERFLOW, "width 6e38 in float32"},
        {UNIFORM(FASTINIT_FLOAT32, 1, 1), FASTINIT_OK, "low == high"},
        {fastinit_set_isa("z80"), FASTINIT_ERR_ISA, "ISA z80"},
        {fastinit_set_isa(NULL), FASTINIT_ERR_NULL, "ISA NULL"},
        {fastinit_random_words(0, UINT64_MAX, 2, (uint32_t[2]){0}), FASTINIT_ERR_INDEX, "words beyond the last"},
        {fastinit_random_words(0, UINT64_MAX, 1, (uint32_t[1]){0}), FASTINIT_OK, "the last word"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(cases[i].got == cases[i].expected, "status", cases[i].what);
    fastinit_distribution d;
    float out[2];
    fastinit_normal(&d, FASTINIT_FLOAT32, 0, 1);
    check(fastinit_fill(&d, 0, UINT64_MAX, 1, out) == FASTINIT_OK, "status", "the last element");
    check(fastinit_fill(&d, 0, UINT64_MAX, 2, out) == FASTINIT_ERR_INDEX, "status", "beyond the last element");
    check(fastinit_fill(&d, 0, 0, 1, NULL) == FASTINIT_ERR_NULL, "status", "NULL output");
    fastinit_distribution bad = d;
    fastinit_normal(&bad, FASTINIT_FLOAT32, 0, -1);
    check(fastinit_fill(&bad, 0, 0, 1, out) == FASTINIT_ERR_UNPREPARED, "status", "after FASTINIT_ERR_STDDEV");
    fastinit_normal(&bad, FASTINIT_FLOAT16, 0, 1e9);
    check(fastinit_fill(&bad, 0, 0, 1, out) == FASTINIT_ERR_UNPREPARED, "status", "after FASTINIT_ERR_OVERFLOW");
    check(fastinit_fill(&(fastinit_distribution){0}, 0, 0, 1, out) == FASTINIT_ERR_UNPREPARED, "status", "zeros");
    check(fastinit_fill_region(&d, 0, &(fastinit_region){.ndim = 1}, 0, 1, out) == FASTINIT_ERR_NULL, "status", "NULL counts");
    check(fastinit_fill(&d, 0, 0, 0, NULL) == FASTINIT_OK, "status", "NULL output of nothing");
    check(fastinit_fill_region(&d, 0, &(fastinit_region){.ndim = 0}, 0, 1, out) == FASTINIT_ERR_INDEX, "status", "rank 0");
    check(fastinit_fill_region(&d, 0, &(fastinit_region){.ndim = 65}, 0, 1, out) == FASTINIT_ERR_INDEX, "status", "rank 65");
    const uint64_t none[] = {2, 0}, one[] = {1, 2};
    const int64_t steps[] = {1, 1}, bytes[] = {4, 4};
    const fastinit_region empty = {2, none, steps, bytes, 0}, pair = {2, one, steps, bytes, 0};
    check(fastinit_fill_region(&d, 0, &empty, 0, 0, out) == FASTINIT_OK, "status", "nothing of an empty region");
    check(fastinit_fill_region(&d, 0, &empty, 0, 1, out) == FASTINIT_ERR_INDEX, "status", "something of an empty region");
    check(fastinit_fill_region(&d, 0, &pair, 1, 2, out) == FASTINIT_ERR_INDEX, "status", "beyond the region");
    check(fastinit_fill_region(&d, 0, &pair, UINT64_MAX, 2, out) == FASTINIT_ERR_INDEX, "status", "first beyond the region");
    check(fastinit_fill_region(&d, 0, &pair, 1, 1, out) == FASTINIT_OK, "status", "the end of the region");
    check(strcmp(fastinit_status_message((fastinit_status)99), "unknown status") == 0, "message", "99");
}

/* Parameters that visit every law, with bounds, standard deviations and quotients that no binary fraction is; the last
 * of each kind have values that are subnormal in some dtype. */
static const struct {
    const char *name;
    double p[4];
} laws[] = {
    {"uniform", {-0.3, 0.7}},
    {"uniform", {-1e-41, 3e-41}},
    {"uniform", {1e-310, 7e-310}},
    {"normal", {0.1, 0.3}},
    {"normal", {0.1, 0}},
    {"normal", {0, 1e-41}},
    {"normal", {0, 3e-310}},
    {"normal", {0, 1e-7}},
    {"truncated_normal", {0, 0.3, -2, 2}},
    {"truncated_normal", {0.1, 0.3, -2.1, 2.3}},
    {"truncated_normal", {0, 1e-41, -2, 2}},
    {"truncated_normal", {0, 1e-310, -2, 2}},
    {"truncated_normal", {0.1, 0.3, 0.1, 4.3}},
    {"truncated_normal", {0.1, 0.3, -0.7, 0.9}},
    {"truncated_normal", {0.1, 0.3, 2.1, 2.3}},
    {"truncated_normal", {0.1, 0.3, 0.7, 9.1}},
    {"truncated_normal", {0.1, 0.3, 3.1, INFINITY}},
    {"truncated_normal", {0.1, 0.3, -INFINITY, -1.7}},
};
enum { LAWS = sizeof laws / sizeof *laws };

/* What a caller may have set: the rounding mode, flushing of subnormal numbers to zero, and exceptions that trap. */
#if defined(__SSE2__)
/* With the exception flag of overflow up, which is to stay, and those down that arithmetic would raise. */
static unsigned make_sse(unsigned rounding, int flush, int trap)
{
    return (trap ? 0x400 : 0x1F80) | rounding << 13 | (flush ? 0x8040 : 0) | 0x8;
}
#endif
#if defined(__i386__) && defined(__SSE2__)
/* Of SSE and of x87, whose precision may be less than long double's besides. */
typedef struct {
    unsigned sse, control, status;
} environment;
typedef struct {
    uint32_t control, status, rest[5];
} x87_environment;
enum { X87_FLAGS = 0x3F };
static environment get_environment(void)
{
    x87_environment x87;
    __asm__ volatile("fnstenv %0\n\tfldenv %0" : "=m"(x87) : : "memory");
    return (environment){_mm_getcsr(), x87.control & 0xFFFF, x87.status & X87_FLAGS};
}
static void set_environment(environment e)
{
    x87_environment x87;
    __asm__ volatile("fnstenv %0" : "=m"(x87) : : "memory");
    x87.control = e.control;
    x87.status = (x87.status & ~(uint32_t)X87_FLAGS) | e.status;
    __asm__ volatile("fldenv %0" : : "m"(x87) : "memory");
    _mm_setcsr(e.sse);
}
static environment make_environment(unsigned rounding, int flush, int trap)
{
    return (environment){make_sse(rounding, flush, trap), (trap ? 0x48 : 0x7F) | rounding << 10 | (flush ? 0 : 0x300), 0x8};
}
enum { ROUNDINGS = 4, FLUSHES = 2, TRAPS = 2 };
#elif defined(__SSE2__)
typedef unsigned environment;
static environment get_environment(void) { return _mm_getcsr(); }
static void set_environment(environment e) { _mm_setcsr(e); }
static environment make_environment(unsigned rounding, int flush, int trap) { return make_sse(rounding, flush, trap); }
enum { ROUNDINGS = 4, FLUSHES = 2, TRAPS = 2 };
#elif defined(__aarch64__)
typedef struct {
    uint64_t control, status;
} environment;
static environment get_environment(void)
{
    environment e;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(e.control), "=r"(e.status) : : "memory");
    return e;
}
static void set_environment(environment e)
{
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(e.control), "r"(e.status) : "memory");
}
/* Few processors trap; the bits then read as they were. */
static environment make_environment(unsigned rounding, int flush, int trap)
{
    return (environment){(uint64_t)rounding << 22 | (uint64_t)flush << 24 | (trap ? 0x1B00 : 0), 0x4};
}
enum { ROUNDINGS = 4, FLUSHES = 2, TRAPS = 2 };
#elif defined(__arm__)
typedef unsigned environment;
static environment get_environment(void)
{
    environment e;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(e) : : "memory");
    return e;
}
static void set_environment(environment e) { __asm__ volatile("vmsr fpscr, %0" : : "r"(e) : "memory"); }
static environment make_environment(unsigned rounding, int flush, int trap)
{
    return rounding << 22 | (unsigned)flush << 24 | (trap ? 0x1B00 : 0) | 0x4;
}
enum { ROUNDINGS = 4, FLUSHES = 2, TRAPS = 2 };
#else
typedef struct {
    int rounding, flags;
} environment;
static environment get_environment(void) { return (environment){fegetround(), fetestexcept(FE_ALL_EXCEPT)}; }
static void set_environment(environment e)
{
    fesetround(e.rounding);
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(e.flags);
}
static environment make_environment(unsigned rounding, int flush, int trap)
{
    static const int roundings[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    (void)flush, (void)trap;
    return (environment){roundings[rounding], FE_DIVBYZERO};
}
enum { ROUNDINGS = 4, FLUSHES = 1, TRAPS = 1 };
#endif

enum { SAMPLES = 300, WORDS = 10 };

/* All that the interface computes for one law and dtype. */
typedef struct {
    fastinit_status status;
    fastinit_distribution d;
    double run[SAMPLES], columns[SAMPLES];
    uint32_t words[WORDS];
} computed;

static void compute(computed *c, int law, fastinit_dtype dtype)
{
    const uint64_t count[] = {3, 100};
    const int64_t index_step[] = {1000, 7}, out_step[] = {100 * (int64_t)item_sizes[dtype], (int64_t)item_sizes[dtype]};
    const fastinit_region region = {2, count, index_step, out_step, 5};
    c->status = prepare(&c->d, dtype, laws[law].name, laws[law].p);
    if (c->status == FASTINIT_OK) {
        fastinit_fill(&c->d, 5, 3, SAMPLES, c->run);
        fastinit_fill_region(&c->d, 5, &region, 0, SAMPLES, c->columns);
    }
    fastinit_random_words(5, 3, WORDS, c->words);
}

/* Nothing of the caller's environment shows in what is computed, and all of it is as it was afterwards, with the flags
 * of exceptions. */
static void test_environment(unsigned rounding, int flush, int trap)
{
    static computed expected, got;
    const environment standard = get_environment(), foreign = make_environment(rounding, flush, trap);
    char what[64];
    snprintf(what, sizeof what, "rounding %u, flushing %d, trapping %d", rounding, flush, trap);
    set_environment(foreign);
    const environment set = get_environment(); /* bits that the processor lacks stay 0 */
    set_environment(standard);
    int same = 1, restored = 1;
    for (int law = 0; law < LAWS; law++)
        for (int dtype = 0; dtype < DTYPES; dtype++) {
            memset(&expected, 0, sizeof expected);
            memset(&got, 0, sizeof got);
            compute(&expected, law, (fastinit_dtype)dtype);
            set_environment(foreign);
            compute(&got, law, (fastinit_dtype)dtype);
            const environment after = get_environment();
            set_environment(standard);
            same &= memcmp(&expected, &got, sizeof got) == 0;
            restored &= memcmp(&after, &set, sizeof set) == 0;
        }
    check(same, "environment: same bits", what);
    check(restored, "environment: restored", what);
}

/* Those environments are in force: a third and a subnormal product show it. valgrind takes neither, and says so of
 * flushing. */
static void test_environments_differ(void)
{
    volatile double one = 1, three = 3, tiny = 0x1p-600;
    const environment standard = get_environment();
    int higher = 0, flushed = 0, taken = 0;
    for (unsigned rounding = 0; rounding < ROUNDINGS; rounding++) {
        const environment asked = make_environment(rounding, FLUSHES - 1, 0);
        set_environment(asked);
        const environment set = get_environment();
        const volatile double third = one / three, product = tiny * 0x1p-450;
        set_environment(standard);
        higher += third > 0x1.5555555555555p-2; /* upward alone */
        flushed += product == 0;
        taken += memcmp(&set, &asked, sizeof set) == 0;
    }
    check(higher == 1 || taken == 0, "environments differ", "rounding");
    check(flushed == (FLUSHES == 2 ? taken : 0), "environments differ", "flushing");
}

static void test_environments(void)
{
    test_environments_differ();
    for (unsigned rounding = 0; rounding < ROUNDINGS; rounding++)
        for (int flush = 0; flush < FLUSHES; flush++)
            for (int trap = 0; trap < TRAPS; trap++)
                test_environment(rounding, flush, trap);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s golden.txt\n", argv[0]);
        return 2;
    }
    test_known_answers();
    test_statuses();
    test_largest_numbers();
    for (size_t i = 0; fastinit_available_isa(i); i++) {
        check(fastinit_set_isa(fastinit_available_isa(i)) == FASTINIT_OK && strcmp(fastinit_isa(), fastinit_available_isa(i)) == 0,
              "forcing", fastinit_available_isa(i));
        test_golden(argv[1]);
        test_environments();
        test_far_steps();
        for (int dtype = 0; dtype < DTYPES; dtype++) {
            test_splits((fastinit_dtype)dtype);
            test_region((fastinit_dtype)dtype);
        }
        printf("tested %s\n", fastinit_isa());
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
