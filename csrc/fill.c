/* From elements to super-blocks: ragged ends, chunks, 16-bit and 8-bit outputs, strides, regions. */
#include "internal.h"
#include "fp.h"
#include "philox.h"

typedef struct {
    const fastinit_distribution *d;
    fastinit_elements_fill *fill;
    fastinit_narrow *narrow; /* NULL if the kernel writes what the caller gets */
    uint16_t high, low;
    fastinit_philox_keys keys;
    unsigned super_block; /* elements */
    size_t real_size;     /* bytes of what the kernel writes */
    size_t item_size;     /* bytes of what the caller gets */
} job;

static const size_t item_sizes[] = {
    [FASTINIT_FLOAT32] = 4,  [FASTINIT_FLOAT64] = 8,       [FASTINIT_FLOAT16] = 2,
    [FASTINIT_BFLOAT16] = 2, [FASTINIT_FLOAT8_E4M3FN] = 1, [FASTINIT_FLOAT8_E5M2] = 1,
};

/* A bound as fastinit_narrow takes it. */
FASTINIT_NOINLINE static uint16_t narrow_bound(const job *j, double bound)
{
    const float real = (float)bound;
    uint8_t byte;
    uint16_t bits;
    j->narrow(&real, j->item_size == 1 ? (void *)&byte : &bits, 1, FASTINIT_NO_HIGH, FASTINIT_NO_LOW);
    return j->item_size == 1 ? (uint16_t)(byte << 8) : bits;
}

static job make_job(const fastinit_tier *tier, const fastinit_distribution *d, uint64_t key)
{
    const int wide = d->dtype == FASTINIT_FLOAT64;
    job j = {
        .d = d,
        .fill = tier->fill[d->law][wide],
        .keys = philox_keys(key),
        .super_block = wide ? 32 : 64,
        .real_size = wide ? sizeof(double) : sizeof(float),
        .item_size = item_sizes[d->dtype],
    };
    if (j.item_size != j.real_size) {
        j.narrow = tier->narrow[d->dtype - FASTINIT_FLOAT16];
        j.high = d->high > 0 ? narrow_bound(&j, d->high) : FASTINIT_NO_HIGH;
        j.low = d->low < 0 ? narrow_bound(&j, d->low) : FASTINIT_NO_LOW;
    }
    return j;
}

static void fill_super_blocks(const job *j, uint64_t first, size_t count, void *out)
{
    const fastinit_elements e = {.first = first, .count = (unsigned)count};
    j->fill(j->d, &j->keys, &e, out);
}

/* A copy of an unknown size is a call, and takes longer than a sample. */
FASTINIT_INLINE void copy_item(char *to, const char *from, size_t size)
{
    if (size == 4)
        memcpy(to, from, 4);
    else if (size == 2)
        memcpy(to, from, 2);
    else if (size == 1)
        *to = *from;
    else
        memcpy(to, from, 8);
}

/* Hand over `n` reals in the caller's type, `step` bytes apart. */
static void deliver(const job *j, const char *reals, size_t n, char *out, int64_t step)
{
    const size_t size = j->item_size;
    char narrowed[FASTINIT_CHUNK * sizeof(uint16_t)];
    if (j->narrow) {
        const int direct = step == (int64_t)size;
        j->narrow((const float *)(const void *)reals, direct ? out : narrowed, n, j->high, j->low);
        if (direct)
            return;
        reals = narrowed;
    }
    if (step == (int64_t)size) {
        memcpy(out, reals, n * size);
        return;
    }
    for (size_t i = 0; i < n; i++, reals += size, out += step)
        copy_item(out, reals, size);
}

/* Up to here one call of the tier for all, with ragged ends, and a copy cost less than calls for the ends. */
enum { STAGED_RUN = 512 };

/* Elements [index, index + n) of one chunk. */
static void fill_chunk(const job *j, uint64_t index, size_t n, char *out, int64_t step)
{
    _Alignas(64) char staged[FASTINIT_CHUNK * sizeof(double)]; /* vectors that straddle lines cost 16-bit fills 5 % */
    const unsigned block = j->super_block;
    const int direct = !j->narrow && step == (int64_t)j->item_size;
    while (n) {
        const unsigned skip = (unsigned)(index % block);
        size_t take = n;
        if (direct && skip == 0 && n >= block && (n % block == 0 || n > STAGED_RUN)) {
            take = n - n % block;
            fill_super_blocks(j, index, take / block, out);
        } else {
            if (direct && n > STAGED_RUN)
                take = block - skip;
            fill_super_blocks(j, index - skip, (skip + take + block - 1) / block, staged);
            deliver(j, staged + skip * j->real_size, take, out, step);
        }
        index += take;
        out += (int64_t)take * step;
        n -= take;
    }
}

/* Elements [index, index + n), `step` bytes apart in `out`. */
static void fill_run(const job *j, uint64_t index, uint64_t n, char *out, int64_t step)
{
    /* What is staged to be narrowed shares the nearest cache with what it becomes: 2 % faster by halves. */
    const unsigned chunk = j->narrow ? FASTINIT_CHUNK / 2 : FASTINIT_CHUNK;
    while (n) {
        const uint64_t room = chunk - index % chunk;
        const size_t take = (size_t)(n < room ? n : room);
        fill_chunk(j, index, take, out, step);
        index += take;
        out += (int64_t)take * step;
        n -= take;
    }
}

/* Elements that wait to be filled together, and where they go. */
typedef struct {
    uint64_t high; /* the upper half of all of them */
    size_t n;
    uint32_t low[FASTINIT_SCATTERED];
    char *out[FASTINIT_SCATTERED];
} scattered;

static void fill_scattered(const job *j, scattered *s)
{
    _Alignas(64) char reals[2 * FASTINIT_SCATTERED * sizeof(double)];
    char items[FASTINIT_SCATTERED * sizeof(double)];
    if (s->n == 0)
        return;
    const fastinit_elements e = {.low = s->low, .first = s->high, .count = (unsigned)s->n};
    memset(s->low + s->n, 0, (FASTINIT_SCATTERED - s->n) * sizeof *s->low); /* the kernel works on whole vectors of them */
    j->fill(j->d, &j->keys, &e, reals);
    deliver(j, reals, s->n, items, (int64_t)j->item_size);
    for (size_t i = 0; i < s->n; i++)
        copy_item(s->out[i], items + i * j->item_size, j->item_size);
    s->n = 0;
}

/* `n` elements, at least one: index, index + step, ..., the next one `out_step` bytes on. */
static void scatter_run(const job *j, scattered *s, uint64_t index, uint64_t step, uint64_t n, char *out, int64_t out_step)
{
    for (;; index += step, out += out_step) {
        const uint64_t high = index & ~UINT64_C(0xFFFFFFFF);
        if (s->n == FASTINIT_SCATTERED || high != s->high)
            fill_scattered(j, s);
        s->high = high;
        s->low[s->n] = (uint32_t)index;
        s->out[s->n++] = out;
        if (--n == 0)
            return; /* before a step beyond the memory, which may be of any size */
    }
}

/* Shorter runs cost less element by element: from 7 (uniform) to 16 (truncated normal) on AVX-512. */
enum { DENSE_RUN = 10 };

static int is_prepared(const fastinit_distribution *d)
{
    return d->law > FASTINIT_LAW_NONE && d->law < FASTINIT_LAW_COUNT && (uint32_t)d->dtype <= FASTINIT_FLOAT8_E5M2;
}

size_t fastinit_fill_with(const fastinit_tier *tier, const fastinit_distribution *d, uint64_t key, uint64_t index, uint64_t n, void *out)
{
    const job j = make_job(tier, d, key);
    fill_run(&j, index, n, out, (int64_t)j.item_size);
    return j.item_size;
}

fastinit_status fastinit_fill(const fastinit_distribution *d, uint64_t key, uint64_t index, uint64_t n, void *out)
{
    if (!d || (!out && n))
        return FASTINIT_ERR_NULL;
    if (!is_prepared(d))
        return FASTINIT_ERR_UNPREPARED;
    if (n && index + (n - 1) < index)
        return FASTINIT_ERR_INDEX;
    const fastinit_tier *tier = fastinit_current_tier();
    const fp_state saved = enter_fp();
    const int is_sound = fastinit_is_sound(tier);
    if (is_sound)
        fastinit_fill_with(tier, d, key, index, n, out);
    leave_fp(saved);
    return is_sound ? FASTINIT_OK : FASTINIT_ERR_BUILD;
}

enum { MAX_DIMS = 64 };

/* How many positions a region has, 2^64 - 1 standing for more. */
static uint64_t region_size(const fastinit_region *r)
{
    uint64_t size = 1;
    for (size_t k = 0; k < r->ndim; k++) {
        if (r->count[k] == 0)
            return 0;
        size = size > UINT64_MAX / r->count[k] ? UINT64_MAX : size * r->count[k];
    }
    return size;
}

/* Positions [first, first + n) of a region, at least one. */
static void fill_positions(const job *j, const fastinit_region *r, uint64_t first, uint64_t n, char *out)
{
    const size_t last = r->ndim - 1;
    scattered s = {.n = 0};
    /* Offsets wrap like indices: on the way from one position to the next, steps of any size may cancel out. */
    uint64_t at[MAX_DIMS], index = r->index, offset = 0, rest = first;
    for (size_t k = r->ndim; k-- > 0; rest /= r->count[k]) {
        at[k] = rest % r->count[k];
        index += at[k] * (uint64_t)r->index_step[k];
        offset += at[k] * (uint64_t)r->out_step[k];
    }
    while (n) {
        uint64_t run = r->count[last] - at[last];
        run = run < n ? run : n;
        char *p = out + (int64_t)offset;
        if (r->index_step[last] == 1 && run >= DENSE_RUN)
            fill_run(j, index, run, p, r->out_step[last]);
        else
            scatter_run(j, &s, index, (uint64_t)r->index_step[last], run, p, r->out_step[last]);
        n -= run;
        at[last] += run;
        index += run * (uint64_t)r->index_step[last];
        offset += run * (uint64_t)r->out_step[last];
        for (size_t k = last; k > 0 && at[k] == r->count[k]; k--) {
            index += (uint64_t)r->index_step[k - 1] - r->count[k] * (uint64_t)r->index_step[k];
            offset += (uint64_t)r->out_step[k - 1] - r->count[k] * (uint64_t)r->out_step[k];
            at[k] = 0;
            at[k - 1]++;
        }
    }
    fill_scattered(j, &s);
}

fastinit_status fastinit_fill_region(const fastinit_distribution *d, uint64_t key, const fastinit_region *r, uint64_t first, uint64_t n,
                                     void *out)
{
    if (!d || !r || (!out && n))
        return FASTINIT_ERR_NULL;
    if (!is_prepared(d))
        return FASTINIT_ERR_UNPREPARED;
    if (r->ndim < 1 || r->ndim > MAX_DIMS)
        return FASTINIT_ERR_INDEX;
    if (!r->count || !r->index_step || !r->out_step)
        return FASTINIT_ERR_NULL;
    const uint64_t size = region_size(r);
    if (first > size || n > size - first)
        return FASTINIT_ERR_INDEX;
    if (n == 0)
        return FASTINIT_OK;
    const fastinit_tier *tier = fastinit_current_tier();
    const fp_state saved = enter_fp();
    const int is_sound = fastinit_is_sound(tier);
    if (is_sound) {
        const job j = make_job(tier, d, key);
        fill_positions(&j, r, first, n, out);
    }
    leave_fp(saved);
    return is_sound ? FASTINIT_OK : FASTINIT_ERR_BUILD;
}

static void philox_block(const fastinit_philox_keys *keys, uint64_t block, uint32_t out[4])
{
    uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), FASTINIT_DOMAIN_RAW, 0};
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)PHILOX_M0 * c[0], b = (uint64_t)PHILOX_M1 * c[2];
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ keys->k0[round];
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ keys->k1[round];
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
    }
    memcpy(out, c, sizeof c);
}

fastinit_status fastinit_random_words(uint64_t key, uint64_t offset, uint64_t n, uint32_t *out)
{
    if (!out && n)
        return FASTINIT_ERR_NULL;
    if (n && offset + (n - 1) < offset)
        return FASTINIT_ERR_INDEX;
    const fastinit_philox_keys keys = philox_keys(key);
    while (n) {
        uint32_t words[4];
        const unsigned skip = (unsigned)(offset % 4);
        const unsigned take = n < 4 - skip ? (unsigned)n : 4 - skip;
        philox_block(&keys, offset / 4, words);
        memcpy(out, words + skip, take * sizeof *out);
        out += take;
        offset += take;
        n -= take;
    }
    return FASTINIT_OK;
}
