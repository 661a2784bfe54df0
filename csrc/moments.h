/* Sums and extremes of the elements in memory, for the real type whose names are defined; kernel.h includes this for each.
 * Sums are of (scale x - center), so that neither a mean far from 0 nor a small scale costs digits. */

typedef struct {
    FV sum, squares, low, high;
} F(sums);

FASTINIT_INLINE F(sums) F(no_sums)(void) { return (F(sums)){F(set1)(0), F(set1)(0), F(set1)((REAL)INFINITY), F(set1)(-(REAL)INFINITY)}; }

/* Sums of 8-bit floats are exact as they are, or nearly so. */
FASTINIT_INLINE void F(count)(F(sums) * s, FV x, FV scale, FV center, unsigned bytes)
{
    const FV y = bytes == 1 ? x : F(mul)(x, scale), d = bytes == 1 ? x : F(sub)(y, center);
    s->sum = F(add)(s->sum, d);
    s->squares = F(add)(s->squares, F(mul)(d, d));
    s->low = F(min)(y, s->low);
    s->high = F(max)(y, s->high);
}

FASTINIT_INLINE void F(merge)(F(sums) * s, const F(sums) * other)
{
    s->sum = F(add)(s->sum, other->sum);
    s->squares = F(add)(s->squares, other->squares);
    s->low = F(min)(s->low, other->low);
    s->high = F(max)(s->high, other->high);
}

/* Add the first `lanes` lanes, in double. */
FASTINIT_INLINE void F(add_to_moments)(const F(sums) * s, unsigned lanes, fastinit_moments *m)
{
    REAL sum[LANES], squares[LANES], low[LANES], high[LANES];
    F(store)(sum, s->sum);
    F(store)(squares, s->squares);
    F(store)(low, s->low);
    F(store)(high, s->high);
    for (unsigned i = 0; i < lanes; i++) {
        m->sum += (double)sum[i];
        m->squares += (double)squares[i];
        m->low = (double)low[i] < m->low ? (double)low[i] : m->low;
        m->high = (double)high[i] > m->high ? (double)high[i] : m->high;
    }
}
