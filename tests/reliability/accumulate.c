/* What battery.py counts: sums and counts over one chunk of a sample, added to those of the chunks before, and how much
 * two sequences of words have in common. */
#include <math.h>

#include "words.h"

/* Sums of doubles may be taken in any order here, but not in the kernel, which words.h includes and which refuses the options. */
#pragma GCC optimize("associative-math", "no-signed-zeros", "no-trapping-math")

enum {
    BINS = 1 << 16,
    CELLS = 1 << 18,
    POWERS = 8,
    LAGS = 8,
    TAILS = 4,
    PAIR_BINS = 1024,
    JOINT = 32,
    PAIR_LAG = 16,
    BLOCK = 1 << 11,
    PLACES = 256
};
static const int lags[LAGS] = {1, 2, 4, 8, 16, 32, 48, 64};
static const double tails[TAILS] = {4, 5, 5.5, 6};

typedef struct {
    double edges[BINS];        /* ascending, the last one infinite; bin i is [edges[i - 1], edges[i]) */
    uint32_t first_bin[CELLS]; /* of equal cells of the real line, to begin the search at */
    double start, cells_per_unit;
    int64_t steps; /* that find the bin from there, at most */
    double mean, stddev, low, high;
    int64_t pairs; /* whether elements e and e + 16 are the two of a Box-Muller pair */
} law;

typedef struct {
    int64_t n, outside, at_low, at_high, above[TAILS], below[TAILS];
    double least, largest, powers[POWERS], products[LAGS], square_products[LAGS];
    int64_t bins[BINS], radius[PAIR_BINS], angle[PAIR_BINS], joint[JOINT * JOINT];
    int64_t places[PLACES]; /* within bins, but for the first and the last */
} totals;

static void count_bins(const law *l, totals *t, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double cell = (x[i] - l->start) * l->cells_per_unit;
        uint32_t bin = l->first_bin[cell > 0 ? cell < CELLS - 1 ? (int)cell : CELLS - 1 : 0];
        for (int64_t step = 0; step < l->steps; step++) /* needed or not: a loop that ends anywhere is mispredicted */
            bin += x[i] >= l->edges[bin];
        t->bins[bin]++;
        if (bin > 0 && bin < BINS - 1) {
            const double left = l->edges[bin - 1], place = (x[i] - left) / (l->edges[bin] - left) * PLACES;
            t->places[place < PLACES ? (int)place : PLACES - 1]++;
        }
    }
}

static void count_extremes(const law *l, totals *t, const double *x, int64_t n)
{
    int64_t inside = 0, at_low = 0, at_high = 0;
    for (int64_t i = 0; i < n; i++) {
        inside += x[i] >= l->low && x[i] <= l->high && fabs(x[i]) < INFINITY; /* no NaN is */
        at_low += x[i] == l->low;
        at_high += x[i] == l->high;
    }
    t->outside += n - inside;
    t->at_low += at_low;
    t->at_high += at_high;
    double least = t->least, largest = t->largest;
    for (int64_t i = 0; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        largest = x[i] > largest ? x[i] : largest;
    }
    t->least = least;
    t->largest = largest;
    for (int k = 0; k < TAILS && fmax(largest, -least) > tails[k]; k++)
        for (int64_t i = 0; i < n; i++) {
            t->above[k] += x[i] > tails[k];
            t->below[k] += x[i] < -tails[k];
        }
}

static void add_powers(totals *t, const double *x, int64_t n)
{
    double sums[POWERS] = {0};
    for (int64_t i = 0; i < n; i++) {
        double power = 1;
        for (int k = 0; k < POWERS; k++)
            sums[k] += power *= x[i];
    }
    for (int k = 0; k < POWERS; k++)
        t->powers[k] += sums[k];
}

static void add_products_of(totals *t, int k, const double *x, const double *y, int64_t n)
{
    double product = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        product += x[i] * y[i];
        squares += (x[i] * x[i] - 1) * (y[i] * y[i] - 1);
    }
    t->products[k] += product;
    t->square_products[k] += squares;
}

/* With the element `lag` later in the same block, the last ones with the first: n products of each lag. */
static void add_products(totals *t, const double *x, int64_t n)
{
    for (int k = 0; k < LAGS; k++) {
        add_products_of(t, k, x, x + lags[k], n - lags[k]);
        add_products_of(t, k, x + n - lags[k], x, lags[k]);
    }
}

/* exp(-r * r / 2) and the angle of each pair, both uniform, and the two together. */
static void count_pairs(totals *t, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 2 * PAIR_LAG)
        for (int64_t j = i; j < i + PAIR_LAG; j++) {
            const double u = exp(-(x[j] * x[j] + x[j + PAIR_LAG] * x[j + PAIR_LAG]) / 2);
            const double turn = atan2(x[j + PAIR_LAG], x[j]) / (2 * acos(-1)) + 0.5;
            const int r = (int)fmin(u * PAIR_BINS, PAIR_BINS - 1), a = (int)fmin(turn * PAIR_BINS, PAIR_BINS - 1);
            t->radius[r]++;
            t->angle[a]++;
            t->joint[r / (PAIR_BINS / JOINT) * JOINT + a / (PAIR_BINS / JOINT)]++;
        }
}

/* `n` values, the first of them of an element that is a multiple of BLOCK, as n is; `x` holds them, and is worked in. */
void accumulate(const law *l, totals *t, double *x, int64_t n)
{
    for (const double *end = x + n; x < end; x += BLOCK) {
        count_bins(l, t, x, BLOCK);
        count_extremes(l, t, x, BLOCK);
        if (l->pairs)
            count_pairs(t, x, BLOCK);
        for (int i = 0; i < BLOCK; i++)
            x[i] = (x[i] - l->mean) / l->stddev;
        add_powers(t, x, BLOCK);
        add_products(t, x, BLOCK);
    }
    t->n += n;
}

/* Two sequences of words, given by their keys and counters 2, from one block on: the sum of the products of the words as
 * numbers in [-1, 1), and the number of bits that differ. */
void compare_words(uint64_t key, uint32_t c2, uint64_t other_key, uint32_t other_c2, uint64_t first, double *product, int64_t *differing)
{
    static _Thread_local uint32_t a[WORDS], b[WORDS];
    draw(first, c2, key, BLOCKS, a);
    draw(first, other_c2, other_key, BLOCKS, b);
    double sum = 0;
    int64_t bits = 0;
    for (int i = 0; i < WORDS; i++) {
        sum += (double)(int32_t)a[i] * (int32_t)b[i];
        bits += __builtin_popcount(a[i] ^ b[i]);
    }
    *product += sum * 0x1p-62;
    *differing += bits;
}
