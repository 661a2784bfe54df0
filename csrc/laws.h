/* The laws, for the real type whose real32.h or real64.h was just included; kernel.h includes this for each.
 * F(x) and U(x) are the float and unsigned words of the vocabulary at that width. */

/* -2 ln(u) of a word's u in (0, 1): the squared radius of Box-Muller. */
FI_INLINE FV F(radius2)(UV w)
{
    const FV q = F(fraction)(w);
    const FV u = F(select)(w, F(sub)(F(set1)(1), q), q);
    FV k;
    UV below;
    const FV one_minus_m = F(decompose)(u, &k, &below);
    /* Near u = 1 the logarithm needs 1 - u to its last bit: q has it, 1 - m has lost it. */
    const FV g = F(select)(below, one_minus_m, q);
    /* ln(1 - g) = -2 atanh(s). A degree-8 polynomial in g instead of the division ran 5 % slower. */
    const FV s = F(div)(g, F(sub)(F(set1)(2), g));
    const FV minus_2_ln_m = F(mul)(s, F(log_polynomial)(F(mul)(s, s)));
    return F(add)(minus_2_ln_m, F(mul)(k, C(MINUS_2_LN2)));
}

/* Two standard normal numbers from a radius word and an angle word. */
FI_INLINE void F(box_muller)(UV radius_word, UV angle_word, FV *z0, FV *z1)
{
    const FV r = F(sqrt)(F(radius2)(radius_word));
    const FV x = F(phase)(angle_word), t = F(mul)(x, x);
    const UV sign = U(and)(U(shl)(angle_word, 1), U(set1)(SIGN_BIT));
    const FV c = F(mul)(r, F(from_bits)(U(xor)(F(bits)(F(cos_polynomial)(t)), sign)));
    const FV s = F(mul)(r, F(mul)(x, F(sin_polynomial)(t)));
    *z0 = F(select)(angle_word, s, c);
    *z1 = F(select)(angle_word, c, s);
}

typedef struct {
    FV base, scale, low, high, p[3];
} F(params);

FI_INLINE F(params) F(broadcast)(const fi_distribution *d)
{
    F(params) v;
    v.base = F(set1)((REAL)d->base + 0); /* -0 becomes +0 */
    v.scale = F(set1)((REAL)d->scale);
    v.low = F(set1)((REAL)d->low);
    v.high = F(set1)((REAL)d->high);
    for (int i = 0; i < 3; i++)
        v.p[i] = F(set1)((REAL)d->p[i]);
    return v;
}

FI_INLINE FV F(abs)(FV x) { return F(from_bits)(U(and)(F(bits)(x), U(set1)(SIGN_BIT - 1))); }

/* One candidate of a proposal that takes two words, and the lanes that accept it. */
FI_INLINE FV F(propose)(int law, const F(params) * v, UV word, UV accept, unsigned *accepted)
{
    if (law == FI_LAW_NARROW) {
        const FV u = F(unit)(word);
        const FV excess = F(add)(F(mul)(u, F(add)(F(mul)(u, v->p[1]), v->p[0])), v->p[2]);
        *accepted = F(le)(excess, F(radius2)(accept));
        return u;
    }
    const FV r2 = F(radius2)(word);
    FV e;
    if (law == FI_LAW_TAIL) {
        const FV ratio = F(sqrt)(F(add)(F(mul)(r2, v->p[1]), F(set1)(1))); /* x / a */
        e = F(div)(r2, F(add)(ratio, F(set1)(1)));
        *accepted = F(le)(F(mul)(F(unit)(accept), ratio), F(set1)(1));
    } else {
        e = F(mul)(r2, v->p[0]);
        const FV off = F(sub)(e, v->p[1]);
        *accepted = F(le)(F(mul)(off, off), F(radius2)(accept));
    }
    *accepted &= F(le)(e, v->p[2]);
    return e;
}

/* The candidates of `n` vectors of words, and the lanes that accept them. */
FI_INLINE void F(candidates)(int law, const F(params) * v, int n, const UV *words, const UV *accepts, FV *z, unsigned *accepted)
{
    const unsigned all = (1u << LANES) - 1;
    if (law == FI_LAW_UNIFORM) {
        for (int i = 0; i < n; i++)
            z[i] = F(unit)(words[i]);
    } else if (law == FI_LAW_NORMAL || law == FI_LAW_TRUNCATED || law == FI_LAW_HALF) {
        for (int i = 0; i < n; i += 2)
            F(box_muller)(words[i], words[i + 1], &z[i], &z[i + 1]);
    }
    for (int i = 0; i < n; i++) {
        if (law == FI_LAW_HALF)
            z[i] = F(abs)(z[i]);
        if (law == FI_LAW_TRUNCATED || law == FI_LAW_HALF)
            accepted[i] = F(le)(v->p[0], z[i]) & F(le)(z[i], v->p[1]);
        else if (law == FI_LAW_UNIFORM || law == FI_LAW_NORMAL)
            accepted[i] = all;
        else
            z[i] = F(propose)(law, v, words[i], accepts[i], &accepted[i]);
    }
}

/* Rounding may carry a value over a bound, or an untruncated uniform over `high`: it takes the bound. */
FI_INLINE FV F(finish)(int law, const F(params) * v, FV z)
{
    const FV x = F(add)(F(mul)(z, v->scale), v->base);
    return law == FI_LAW_NORMAL ? x : F(max)(F(min)(x, v->high), v->low);
}

FI_INLINE uint32_t F(counter2)(uint32_t domain, uint32_t attempt) { return (domain + DOMAIN_OFFSET) << 24 | attempt; }

FI_INLINE int F(takes_two_words)(int law) { return law == FI_LAW_NARROW || law == FI_LAW_EXPONENTIAL || law == FI_LAW_TAIL; }

/* Candidate 0 of every element of one super-block; returns a bit for each element that rejects it. */
FI_INLINE uint64_t F(first_pass)(int law, const F(params) * v, const fi_philox_keys *keys, uint64_t super_block, REAL *out)
{
    const uint32_t domain = law == FI_LAW_UNIFORM ? FI_DOMAIN_UNIFORM : F(takes_two_words)(law) ? FI_DOMAIN_PROPOSAL : FI_DOMAIN_NORMAL;
    static const uint32_t iota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint32_t c0 = (uint32_t)super_block * 16, c1 = (uint32_t)(super_block >> 28);
    uint64_t rejected = 0;
    for (int g = 0; g < 16 / FI_LANES32; g++) {
        const u32v lanes = u32_add(u32_set1(c0), u32_load(iota + g * FI_LANES32));
        UV words[4], accepts[4];
        FV z[VECTORS];
        unsigned accepted[VECTORS];
        F(words)(lanes, c1, F(counter2)(domain, 0), keys, words);
        if (F(takes_two_words)(law))
            F(words)(lanes, c1, F(counter2)(FI_DOMAIN_ACCEPT, 0), keys, accepts);
        F(candidates)(law, v, VECTORS, words, accepts, z, accepted);
        for (int i = 0; i < VECTORS; i++) {
            F(store)(out + POSITION(i, g), F(finish)(law, v, z[i]));
            rejected |= (uint64_t)(~accepted[i] & ((1u << LANES) - 1)) << POSITION(i, g);
        }
    }
    return rejected;
}

/* Draw again for the elements `queue[0..n)` of a chunk, once; returns how many still have
 * no accepted candidate, compacted to the front of the queue. */
FI_INLINE unsigned F(redraw)(int law, const F(params) * v, const fi_philox_keys *keys, uint64_t first, uint32_t attempt, uint16_t *queue,
                             unsigned n, REAL *out)
{
    unsigned kept = 0;
    for (unsigned begin = 0; begin < n; begin += FI_LANES32) {
        const unsigned lanes = n - begin < FI_LANES32 ? n - begin : FI_LANES32;
        uint32_t counters[FI_LANES32] = {0};
        for (unsigned lane = 0; lane < lanes; lane++)
            counters[lane] = (uint32_t)first + queue[begin + lane];
        UV words[4];
        F(words)(u32_load(counters), (uint32_t)(first >> 32), F(counter2)(FI_DOMAIN_REDRAW, attempt), keys, words);
        FV z[VECTORS];
        unsigned accepted[VECTORS];
        int per_half = VECTORS / HALVES;
        if (F(takes_two_words)(law)) {
            UV proposals[VECTORS / 2], accepts[VECTORS / 2];
            for (int i = 0; i < VECTORS / 2; i++) {
                proposals[i] = words[2 * i];
                accepts[i] = words[2 * i + 1];
            }
            F(candidates)(law, v, VECTORS / 2, proposals, accepts, z, accepted);
            per_half /= 2;
        } else {
            F(candidates)(law, v, VECTORS, words, words, z, accepted);
        }
        REAL drawn[VECTORS][LANES];
        for (int i = 0; i < per_half * HALVES; i++)
            F(store)(drawn[i], F(finish)(law, v, z[i]));
        for (unsigned lane = 0; lane < lanes; lane++) {
            const unsigned place = lane % LANES, vector = lane / LANES * (unsigned)per_half;
            unsigned c = vector;
            while (c < vector + (unsigned)per_half && !(accepted[c] >> place & 1))
                c++;
            if (c < vector + (unsigned)per_half)
                out[queue[begin + lane]] = drawn[c][place];
            else
                queue[kept++] = queue[begin + lane];
        }
    }
    return kept;
}

FI_INLINE void F(fill)(int law, const fi_distribution *d, const fi_philox_keys *keys, uint64_t super_block, unsigned count, REAL *out)
{
    const F(params) v = F(broadcast)(d);
    uint16_t queue[FI_CHUNK];
    unsigned n = 0;
    for (unsigned b = 0; b < count; b++) {
        uint64_t rejected = F(first_pass)(law, &v, keys, super_block + b, out + b * SUPER_BLOCK);
        if (law == FI_LAW_UNIFORM || law == FI_LAW_NORMAL)
            continue;
        for (; rejected; rejected &= rejected - 1)
            queue[n++] = (uint16_t)(b * SUPER_BLOCK + fi_lowest_bit(rejected));
    }
    for (uint32_t attempt = 1; n; attempt++)
        n = F(redraw)(law, &v, keys, super_block * SUPER_BLOCK, attempt, queue, n, out);
}

#define FILL(name, law)                                                                                                                    \
    static void F(fill_##name)(const fi_distribution *d, const fi_philox_keys *keys, uint64_t super_block, unsigned count, void *out)      \
    {                                                                                                                                      \
        F(fill)(law, d, keys, super_block, count, (REAL *)out);                                                                            \
    }
FILL(uniform, FI_LAW_UNIFORM)
FILL(normal, FI_LAW_NORMAL)
FILL(truncated, FI_LAW_TRUNCATED)
FILL(half, FI_LAW_HALF)
FILL(narrow, FI_LAW_NARROW)
FILL(exponential, FI_LAW_EXPONENTIAL)
FILL(tail, FI_LAW_TAIL)

#undef F
#undef U
#undef FV
#undef UV
#undef REAL
#undef DOMAIN_OFFSET
#undef LANES
#undef HALVES
#undef VECTORS
#undef SUPER_BLOCK
#undef POSITION
#undef SIGN_BIT
#undef C
#undef FILL
