/* The C interface under any input: a target for libFuzzer, and a program that needs none.
 *
 *     fuzz_fill -n RUNS SEED      so many pseudo-random inputs
 *     fuzz_fill FILE...           these inputs
 *
 * With clang's libFuzzer (on demand; the suite runs the program with sanitizers):
 *
 *     clang -g -O1 -ffp-contract=off -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -DLIBFUZZER \
 *         -Isrc/fastinit/include tests/c/fuzz_fill.c csrc/[a-z]*.c -lm -o fuzz_fill
 *     ./fuzz_fill -max_len=400 -max_total_time=3600 CORPUS
 *
 * An input is a string of fields (struct reader). Whatever they say, an oracle of each call must hold, or the program
 * aborts: statuses are those of the header, refused calls write nothing, numbers are finite and within the bounds
 * that doubles and long doubles give, parts and regions are the elements of the whole, instruction sets agree, bytes
 * around the output stay, and so does the floating-point environment. Regions are kept valid: `out` holds all positions
 * that are asked for.
 */
#include <fenv.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "fastinit.h"
#include "small_float.h"

#define REQUIRE(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(const char *condition, int line)
{
    fprintf(stderr, "fuzz_fill.c:%d: does not hold with %s: %s\n", line, fastinit_isa(), condition);
    abort();
}

/* Fields of the input; zeros after its end. */
typedef struct {
    const uint8_t *data;
    size_t left;
} reader;

static uint64_t take(reader *r, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        if (r->left) {
            value |= (uint64_t)*r->data++ << 8 * i;
            r->left--;
        }
    return value;
}

static double take_double(reader *r)
{
    static const double special[] = {0.0,       -0.0,       1.0,       -1.0,       NAN,     INFINITY, -INFINITY, 0x1p-1074, -0x1p-1074,
                                     0x1p-1022, 0x1p-149,   0x1p-126,  0x1p-9,     0x1p-16, 448.0,    57344.0,   65504.0,   FLT_MAX,
                                     DBL_MAX,   0x1.FEp127, 0x1p-1000, 2.50662827, 0.25,    1.5,      -0.25,     -1.5,      1e4,
                                     1e300,     6.661,      8.572,     0.77932487, 0x1p53,  464.0,    61440.0,   65520.0,   0.02};
    const uint64_t kind = take(r, 1);
    if (kind < sizeof special / sizeof *special)
        return special[kind];
    if (kind < 160)
        return (double)(int16_t)take(r, 2) / 256;
    if (kind < 208)
        return ldexp((double)(int8_t)take(r, 1), (int)(int8_t)take(r, 1));
    const uint64_t bits = take(r, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A number of 64 bits, often next to one of its ends or to a multiple of a large power of 2. */
static uint64_t take_word(reader *r)
{
    const uint64_t kind = take(r, 1);
    if (kind < 64)
        return take(r, 2);
    if (kind < 128)
        return (uint64_t)(int64_t)(int8_t)take(r, 1);
    if (kind < 192)
        return (UINT64_C(1) << kind % 64) + (uint64_t)(int64_t)(int8_t)take(r, 1);
    return take(r, 8);
}

/* What the dtypes are, from their definitions. */
typedef struct {
    size_t size;
    int precision, lowest; /* significant bits, exponent of the least normal number */
    double largest, reach;
} format;

static const format formats[] = {
    {4, 24, -126, FLT_MAX, 6.661},   {8, 53, -1022, DBL_MAX, 8.572}, {2, 11, -14, 65504, 6.661},
    {2, 8, -126, 0x1.FEp127, 6.661}, {1, 4, -6, 448, 6.661},         {1, 3, -14, 57344, 6.661},
};
enum { DTYPES = sizeof formats / sizeof *formats };

static double decode(fastinit_dtype dtype, const unsigned char *item)
{
    float single;
    double value;
    uint16_t half;
    switch (dtype) {
    case FASTINIT_FLOAT32:
        memcpy(&single, item, sizeof single);
        return single;
    case FASTINIT_FLOAT64:
        memcpy(&value, item, sizeof value);
        return value;
    case FASTINIT_FLOAT16:
        memcpy(&half, item, sizeof half);
        return decode_small(half, 5, 10, 1);
    case FASTINIT_BFLOAT16:
        memcpy(&half, item, sizeof half);
        return decode_small(half, 8, 7, 1);
    case FASTINIT_FLOAT8_E4M3FN:
        return decode_small(*item, 4, 3, 0);
    default:
        return decode_small(*item, 5, 2, 1);
    }
}

enum { UNIFORM, NORMAL, TRUNCATED };

/* A call that prepares a distribution. */
typedef struct {
    int law;
    fastinit_dtype dtype;
    double p[4];
} request;

static fastinit_status prepare(const request *q, fastinit_distribution *d)
{
    if (q->law == UNIFORM)
        return fastinit_uniform(d, q->dtype, q->p[0], q->p[1]);
    if (q->law == NORMAL)
        return fastinit_normal(d, q->dtype, q->p[0], q->p[1]);
    return fastinit_truncated_normal(d, q->dtype, q->p[0], q->p[1], q->p[2], q->p[3]);
}

static int is_status(fastinit_status status) { return strcmp(fastinit_status_message(status), "unknown status") != 0; }

/* What the header says of a refusal; a prepared distribution has arguments without any fault. */
static void check_refusal(const request *q, fastinit_status status)
{
    const double *p = q->p;
    const int known = (unsigned)q->dtype < DTYPES;
    REQUIRE((status == FASTINIT_ERR_DTYPE) == !known);
    if (!known)
        return;
    if (q->law == UNIFORM) {
        REQUIRE((status == FASTINIT_ERR_BOUNDS) == !(p[0] <= p[1]));
        return;
    }
    REQUIRE((status == FASTINIT_ERR_MEAN) == !isfinite(p[0]));
    if (status != FASTINIT_ERR_MEAN)
        REQUIRE((status == FASTINIT_ERR_STDDEV) == !(p[1] >= 0 && isfinite(p[1])));
    if (q->law == TRUNCATED && status != FASTINIT_ERR_MEAN && status != FASTINIT_ERR_STDDEV)
        REQUIRE((status == FASTINIT_ERR_BOUNDS) == !(p[2] < p[3]));
}

/* Less than this apart are a number and what it is rounded to, however often. */
static double unit_at(double x, const format *f) { return fmax(ldexp(fabs(x), 1 - f->precision), ldexp(1, f->lowest - f->precision + 1)); }

/* The outputs of a request, in exact comparisons of doubles, or of long doubles where a difference is taken. */
static void check_values(const request *q, const unsigned char *out, size_t n)
{
    const format *f = &formats[q->dtype];
    const double a = q->p[0], b = q->p[1];
    const int constant = q->law == UNIFORM ? a == b : b == 0;
    double low = -INFINITY, high = INFINITY;
    if (constant) {
        low = a - unit_at(a, f);
        high = a + unit_at(a, f);
    } else if (q->law == UNIFORM) {
        low = a;
        high = nextafter(b, -INFINITY);
    } else if (q->law == TRUNCATED) {
        low = a + b * q->p[2];
        high = a + b * q->p[3];
    }
    for (size_t i = 0; i < n; i++) {
        const double x = decode(q->dtype, out + i * f->size);
        REQUIRE(isfinite(x));
        REQUIRE(x >= low && x <= high);
        if (q->law != NORMAL && !constant && low == 0)
            REQUIRE(!signbit(x));
        if (constant)
            REQUIRE(memcmp(out, out + i * f->size, f->size) == 0);
        else if (q->law == NORMAL)
            REQUIRE(fabsl((long double)x - a) <= (long double)f->reach * b + unit_at(x, f) + unit_at(a, f));
    }
}

/* Memory with bytes around it that must stay. */
enum { GUARD = 64, CANARY = 0xA5 };

typedef struct {
    unsigned char *block, *start;
    size_t size, before;
} memory;

static memory new_memory(size_t size, size_t misalignment)
{
    memory m = {.size = size, .before = GUARD + misalignment % GUARD};
    m.block = malloc(m.before + size + GUARD);
    REQUIRE(m.block != NULL);
    memset(m.block, CANARY, m.before + size + GUARD);
    m.start = m.block + m.before;
    return m;
}

static int is_canary(const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != CANARY)
            return 0;
    return 1;
}

static void check_guards(const memory *m) { REQUIRE(is_canary(m->block, m->before) && is_canary(m->start + m->size, GUARD)); }

/* The caller's floating-point environment, which calls must not change: rounding, flushing, flags. */
typedef struct {
    int rounding;
    unsigned control;
} environment;

static environment get_environment(void)
{
    environment e = {.rounding = fegetround()};
#if defined(__SSE2__)
    e.control = _mm_getcsr();
#endif
    return e;
}

static environment set_environment(uint64_t choice)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    fesetround(modes[choice & 3]);
#if defined(__SSE2__)
    if (choice & 4)
        _mm_setcsr(_mm_getcsr() | 0x8040); /* FTZ and DAZ */
#endif
    return get_environment();
}

static void check_environment(environment before)
{
    const environment after = get_environment();
#if defined(__SSE2__)
    _mm_setcsr(0x1F80);
#endif
    fesetround(FE_TONEAREST);
    REQUIRE(after.rounding == before.rounding && after.control == before.control);
}

/* A fill into memory of exactly its size, at any address: what an address sanitizer watches. */
static void check_exact_memory(const fastinit_distribution *d, uint64_t key, uint64_t index, uint64_t cut, const memory *whole, size_t item)
{
    const uint64_t n = whole->size / item;
    cut = n ? cut % (n + 1) : 0;
    const size_t shift = (size_t)(cut % 8);
    unsigned char *part = malloc(shift + whole->size);
    REQUIRE(part != NULL);
    REQUIRE(fastinit_fill(d, key, index + cut, n - cut, part + shift + cut * item) == FASTINIT_OK);
    REQUIRE(fastinit_fill(d, key, index, cut, part + shift) == FASTINIT_OK);
    REQUIRE(memcmp(part + shift, whole->start, whole->size) == 0);
    free(part);
}

static void fuzz_fill(reader *r, const request *q, const fastinit_distribution *d, fastinit_status prepared, uint64_t key)
{
    const uint64_t index = take_word(r), size = take(r, 2), cut = take(r, 2);
    const uint64_t n = size < 0xF000 ? size % 700 : size % 9000;
    const size_t item = prepared == FASTINIT_OK ? formats[q->dtype].size : 8;
    memory out = new_memory((size_t)n * item, (size_t)take(r, 1));
    const environment before = set_environment(take(r, 1));
    const fastinit_status status = fastinit_fill(d, key, index, n, out.start);
    check_environment(before);
    check_guards(&out);
    if (prepared != FASTINIT_OK)
        REQUIRE(status == FASTINIT_ERR_UNPREPARED);
    else
        REQUIRE(status == (n && index > UINT64_MAX - (n - 1) ? FASTINIT_ERR_INDEX : FASTINIT_OK));
    if (status != FASTINIT_OK) {
        REQUIRE(is_canary(out.start, out.size));
    } else {
        check_values(q, out.start, (size_t)n);
        check_exact_memory(d, key, index, cut, &out, item);
        memory other = new_memory(out.size, 0);
        for (size_t i = 0; fastinit_available_isa(i); i++) {
            REQUIRE(fastinit_set_isa(fastinit_available_isa(i)) == FASTINIT_OK);
            REQUIRE(fastinit_fill(d, key, index, n, other.start) == FASTINIT_OK);
            REQUIRE(memcmp(other.start, out.start, out.size) == 0);
        }
        check_guards(&other);
        free(other.block);
        REQUIRE(fastinit_fill(d, key, UINT64_MAX - cut, cut + 2, out.start) == FASTINIT_ERR_INDEX);
        REQUIRE(fastinit_fill(d, key, index, 1, NULL) == FASTINIT_ERR_NULL);
    }
    REQUIRE(fastinit_fill(NULL, key, index, n, out.start) == FASTINIT_ERR_NULL);
    free(out.block);
}

enum { MOST_DIMS = 66, MOST_POSITIONS = 1500, MOST_BYTES = 1 << 16 };

/* A region with arrays of exactly its rank. */
typedef struct {
    fastinit_region region;
    uint64_t *count;
    int64_t *index_step, *out_step;
    uint64_t first, n;
} box;

static int64_t take_step(reader *r, size_t item)
{
    const uint64_t kind = take(r, 1);
    if (kind < 96)
        return (int64_t)item * (int8_t)take(r, 1);
    if (kind < 160)
        return (int16_t)take(r, 2);
    return (int64_t)take_word(r);
}

static box take_box(reader *r, size_t item)
{
    box b = {.region = {.ndim = take(r, 1) % 8, .index = take_word(r)}};
    if (b.region.ndim == 7)
        b.region.ndim = take(r, 1) % MOST_DIMS;
    const size_t bytes = b.region.ndim * sizeof(uint64_t);
    b.count = malloc(bytes + !bytes);
    b.index_step = malloc(bytes + !bytes);
    b.out_step = malloc(bytes + !bytes);
    REQUIRE(b.count && b.index_step && b.out_step);
    for (size_t k = 0; k < b.region.ndim; k++) {
        const uint64_t kind = take(r, 1);
        b.count[k] = kind < 192 ? kind % 24 : take_word(r);
        const uint64_t step = take(r, 1);
        b.index_step[k] = step < 128 ? 1 : step < 192 ? (int8_t)take(r, 1) : (int64_t)take_word(r);
        b.out_step[k] = take_step(r, item);
    }
    b.region.count = b.count;
    b.region.index_step = b.index_step;
    b.region.out_step = b.out_step;
    const uint64_t kind = take(r, 1);
    b.first = kind < 128 ? kind % 16 : take_word(r);
    b.n = take(r, 2) % MOST_POSITIONS;
    return b;
}

static void free_box(box *b)
{
    free(b->count);
    free(b->index_step);
    free(b->out_step);
}

/* Whether a region has the positions that are asked for, by division alone. */
static int has_positions(const box *b)
{
    if (b->n > UINT64_MAX - b->first)
        return 0;
    uint64_t wanted = b->first + b->n;
    for (size_t k = 0; k < b->region.ndim; k++)
        if (b->count[k] == 0)
            return wanted == 0;
    for (size_t k = 0; k < b->region.ndim && wanted; k++)
        wanted = wanted / b->count[k] + (wanted % b->count[k] != 0);
    return wanted <= 1;
}

typedef struct {
    uint64_t element;
    int64_t offset;
} place;

__extension__ typedef __int128 wide;

/* Where positions lie, by their definition; 0 if one is farther than `MOST_BYTES` from the first byte. */
static int find_places(const box *b, place *places)
{
    for (uint64_t i = 0; i < b->n; i++) {
        uint64_t rest = b->first + i, element = b->region.index;
        wide offset = 0;
        for (size_t k = b->region.ndim; k-- > 0; rest /= b->count[k]) {
            const uint64_t at = rest % b->count[k];
            element += at * (uint64_t)b->index_step[k];
            if (at > UINT64_C(1) << 56 && b->out_step[k])
                return 0;
            offset += (wide)at * b->out_step[k];
        }
        if (offset < -MOST_BYTES || offset > MOST_BYTES)
            return 0;
        places[i] = (place){element, (int64_t)offset};
    }
    return 1;
}

static int compare_offsets(const void *a, const void *b)
{
    const int64_t x = ((const place *)a)->offset, y = ((const place *)b)->offset;
    return (x > y) - (x < y);
}

/* Every element of the region is that of fastinit_fill, and the bytes between them stay. `places` gets sorted. */
static void check_places(const fastinit_distribution *d, uint64_t key, place *places, uint64_t n, const memory *m, int64_t lowest,
                         size_t item)
{
    qsort(places, n, sizeof *places, compare_offsets);
    size_t end = 0;
    for (uint64_t i = 0; i < n; i++) {
        const size_t at = (size_t)(places[i].offset - lowest);
        REQUIRE(is_canary(m->start + end, at - end));
        unsigned char expected[8];
        REQUIRE(fastinit_fill(d, key, places[i].element, 1, expected) == FASTINIT_OK);
        REQUIRE(memcmp(m->start + at, expected, item) == 0);
        end = at + item;
    }
}

/* Places that overlap keep the last element that is written, in an order that nothing states. */
static int overlap(place *places, uint64_t n, size_t item)
{
    qsort(places, n, sizeof *places, compare_offsets);
    for (uint64_t i = 1; i < n; i++)
        if (places[i].offset - places[i - 1].offset < (int64_t)item)
            return 1;
    return 0;
}

static void fill_places(const fastinit_distribution *d, uint64_t key, const box *b, place *places, size_t item)
{
    int64_t lowest = 0, highest = 0; /* `out` itself is in the memory too */
    for (uint64_t i = 0; i < b->n; i++) {
        lowest = places[i].offset < lowest ? places[i].offset : lowest;
        highest = places[i].offset > highest ? places[i].offset : highest;
    }
    memory m = new_memory((size_t)(highest - lowest) + item, (size_t)(key % 64));
    REQUIRE(fastinit_fill_region(d, key, &b->region, b->first, b->n, m.start - lowest) == FASTINIT_OK);
    check_guards(&m);
    if (!overlap(places, b->n, item)) {
        check_places(d, key, places, b->n, &m, lowest, item);
        for (size_t i = 0; fastinit_available_isa(i); i++) {
            memory other = new_memory(m.size, m.before);
            REQUIRE(fastinit_set_isa(fastinit_available_isa(i)) == FASTINIT_OK);
            REQUIRE(fastinit_fill_region(d, key, &b->region, b->first, b->n, other.start - lowest) == FASTINIT_OK);
            check_guards(&other);
            REQUIRE(memcmp(other.start, m.start, m.size) == 0);
            free(other.block);
        }
    }
    free(m.block);
}

static void fuzz_region(reader *r, const request *q, const fastinit_distribution *d, fastinit_status prepared, uint64_t key)
{
    const size_t item = prepared == FASTINIT_OK ? formats[q->dtype].size : 4;
    box b = take_box(r, item);
    unsigned char nothing[8];
    memset(nothing, CANARY, sizeof nothing);
    REQUIRE(fastinit_fill_region(NULL, key, &b.region, b.first, b.n, nothing) == FASTINIT_ERR_NULL);
    REQUIRE(fastinit_fill_region(d, key, NULL, b.first, b.n, nothing) == FASTINIT_ERR_NULL);
    if (prepared != FASTINIT_OK) {
        REQUIRE(fastinit_fill_region(d, key, &b.region, b.first, b.n, nothing) == FASTINIT_ERR_UNPREPARED);
    } else if (b.region.ndim < 1 || b.region.ndim > 64 || !has_positions(&b)) {
        REQUIRE(fastinit_fill_region(d, key, &b.region, b.first, b.n, nothing) == FASTINIT_ERR_INDEX);
    } else {
        place *places = malloc((b.n + 1) * sizeof *places);
        REQUIRE(places != NULL);
        if (find_places(&b, places))
            fill_places(d, key, &b, places, item);
        free(places);
    }
    REQUIRE(is_canary(nothing, sizeof nothing));
    free_box(&b);
}

static void fuzz_words(reader *r, uint64_t key)
{
    const uint64_t offset = take_word(r), n = take(r, 2) % 300, cut = n ? take(r, 2) % (n + 1) : 0;
    uint32_t *whole = malloc((n + 1) * sizeof *whole), *part = malloc(n * sizeof *part + !n);
    REQUIRE(whole && part);
    memset(whole, CANARY, (n + 1) * sizeof *whole);
    const fastinit_status status = fastinit_random_words(key, offset, n, whole);
    REQUIRE(status == (n && offset > UINT64_MAX - (n - 1) ? FASTINIT_ERR_INDEX : FASTINIT_OK));
    REQUIRE(is_canary((unsigned char *)(whole + (status == FASTINIT_OK ? n : 0)), sizeof *whole));
    if (status == FASTINIT_OK) {
        REQUIRE(fastinit_random_words(key, offset + cut, n - cut, part + cut) == FASTINIT_OK);
        REQUIRE(fastinit_random_words(key, offset, cut, part) == FASTINIT_OK);
        REQUIRE(memcmp(part, whole, n * sizeof *part) == 0);
    }
    REQUIRE(fastinit_random_words(key, offset, 1, NULL) == FASTINIT_ERR_NULL);
    free(whole);
    free(part);
}

/* Names of any bytes, in memory of exactly their length. */
static uint64_t take_key(reader *r)
{
    const uint64_t seed = take(r, 8);
    const size_t length = (size_t)take(r, 1) + (size_t)take(r, 1) % 2 * 200;
    unsigned char *name = malloc(length + !length);
    REQUIRE(name != NULL);
    for (size_t i = 0; i < length; i++)
        name[i] = (unsigned char)(i < 16 ? take(r, 1) : i);
    const uint64_t key = fastinit_stream_key(seed, name, length);
    REQUIRE(length || key == seed);
    REQUIRE(key == fastinit_stream_key(seed, name, length));
    free(name);
    return key;
}

static void choose_isa(reader *r)
{
    static const char *const names[] = {"avx512", "avx2", "sse2", "neon", "scalar", "", "avx", "scalar "};
    const char *name = names[take(r, 1) % 8];
    int available = 0;
    for (size_t i = 0; fastinit_available_isa(i); i++)
        available |= strcmp(fastinit_available_isa(i), name) == 0;
    REQUIRE(fastinit_set_isa(name) == (available ? FASTINIT_OK : FASTINIT_ERR_ISA));
    REQUIRE(!available || strcmp(fastinit_isa(), name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    reader r = {data, size};
    const uint64_t actions = take(&r, 1), kind = take(&r, 1);
    request q = {.law = (int)(kind % 3), .dtype = (fastinit_dtype)(kind < 240 ? kind / 3 % DTYPES : take(&r, 4))};
    for (int i = 0; i < 4; i++)
        q.p[i] = take_double(&r);
    choose_isa(&r);
    uint64_t key = take(&r, 2);
    if (actions & 1)
        key = take_key(&r);
    if (actions & 2)
        fuzz_words(&r, key);
    fastinit_distribution d;
    memset(&d, CANARY, sizeof d);
    const environment before = set_environment(actions >> 5);
    const fastinit_status status = prepare(&q, &d);
    check_environment(before);
    REQUIRE(is_status(status) && status != FASTINIT_ERR_NULL && status != FASTINIT_ERR_INDEX && status != FASTINIT_ERR_UNPREPARED &&
            status != FASTINIT_ERR_ISA);
    check_refusal(&q, status);
    if (actions & 4)
        fuzz_region(&r, &q, &d, status, key);
    if (actions & 8 || !(actions & 4))
        fuzz_fill(&r, &q, &d, status, key);
    return 0;
}

#if !defined(LIBFUZZER)

/* SplitMix64 (Steele, Lea, Flood, 2014). */
static uint64_t next_word(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

enum { LONGEST = 400 };

static void run_random(uint64_t runs, uint64_t seed)
{
    for (uint64_t i = 0; i < runs; i++) {
        uint8_t data[LONGEST];
        const size_t size = next_word(&seed) % (LONGEST + 1);
        for (size_t k = 0; k < size; k++)
            data[k] = (uint8_t)next_word(&seed);
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%" PRIu64 " inputs\n", runs);
}

static int run_file(const char *path)
{
    uint8_t data[4096];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    const size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    if (argc == 4 && strcmp(argv[1], "-n") == 0) {
        run_random(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
        return 0;
    }
    for (int i = 1; i < argc; i++)
        failed |= run_file(argv[i]);
    printf("%d files\n", argc - 1);
    return failed;
}

#endif
