/* The laws, for the real type whose real32.h or real64.h was just included; kernel.h includes this for each.
 * F(x) and U(x) are the float and unsigned words of the vocabulary at that width. */

/* -ln(u) / 2 of a word's u in (0, 1): a quarter of the squared radius of Box-Muller. With u = m / R * 2^k and
 * s = (R - m) / (R + m) it is atanh(s) - k ln(2) / 2; keeping the first term of atanh apart saves an ulp. */
FASTINIT_INLINE FV F(half_log)(UV w)
{
    const FV y = F(radius_uniform)(w), m = F(mantissa)(y), k = F(exponent)(y);
    const FV s = F(div)(F(sub)(C(R), m), F(add)(C(R), m)), t = F(mul)(s, s);
    const FV atanh = F(add)(s, F(mul)(F(mul)(s, t), F(log_polynomial)(t)));
    return F(add)(atanh, F(mul)(k, C(MINUS_HALF_LN2)));
}

/* Two normal numbers of standard deviation twice_stddev / 2 from a radius word and an angle word. */
FASTINIT_INLINE void F(box_muller)(UV radius_word, UV angle_word, FV twice_stddev, FV z[2])
{
    const FV r = F(mul)(F(sqrt)(F(half_log)(radius_word)), twice_stddev);
    const FV x = F(phase)(angle_word), t = F(mul)(x, x);
    const FV cosine = F(from_bits)(U(xor)(F(bits)(F(cos_polynomial)(t)), F(spare_sign)(angle_word)));
    const FV c = F(mul)(r, cosine), s = F(mul)(r, F(mul)(x, F(sin_polynomial)(t)));
    z[0] = F(select)(radius_word, s, c);
    z[1] = F(select)(radius_word, c, s);
}

typedef struct {
    FV base, scale, low, high, p[3];
} F(params);

FASTINIT_INLINE F(params) F(broadcast)(int law, const fastinit_distribution *d)
{
    F(params) v;
    v.base = F(set1)((REAL)d->base + 0); /* -0 becomes +0 */
    v.scale = F(set1)((REAL)d->scale * (law == FASTINIT_LAW_UNIFORM ? UNIT : 1));
    v.low = F(set1)((REAL)d->low);
    v.high = F(set1)((REAL)d->high);
    for (int i = 0; i < 3; i++)
        v.p[i] = F(set1)((REAL)d->p[i]);
    return v;
}

FASTINIT_INLINE FV F(unit)(UV w) { return F(mul)(F(unit_digits)(w), F(set1)(UNIT)); }

FASTINIT_INLINE FV F(abs)(FV x) { return F(from_bits)(U(and)(F(bits)(x), U(set1)(SIGN_BIT - 1))); }

/* What a law does, all known when it is compiled. */
FASTINIT_INLINE int F(takes_two_words)(int law)
{
    return law == FASTINIT_LAW_NARROW || law == FASTINIT_LAW_EXPONENTIAL || law == FASTINIT_LAW_TAIL;
}
FASTINIT_INLINE int F(is_uniform)(int law) { return law == FASTINIT_LAW_UNIFORM || law == FASTINIT_LAW_UNIFORM_CLAMPED; }
FASTINIT_INLINE int F(is_normal)(int law) { return law == FASTINIT_LAW_NORMAL || law == FASTINIT_LAW_NORMAL_AT_0; }
FASTINIT_INLINE int F(is_truncated)(int law) { return law == FASTINIT_LAW_TRUNCATED || law == FASTINIT_LAW_TRUNCATED_AT_0; }
FASTINIT_INLINE int F(rejects)(int law) { return !F(is_uniform)(law) && !F(is_normal)(law); }
FASTINIT_INLINE int F(adds_base)(int law) { return law != FASTINIT_LAW_NORMAL_AT_0 && law != FASTINIT_LAW_TRUNCATED_AT_0; }
FASTINIT_INLINE int F(clamps)(int law) { return F(adds_base)(law) && law != FASTINIT_LAW_UNIFORM && law != FASTINIT_LAW_NORMAL; }

/* One candidate of a proposal that takes two words, and the lanes that accept it. */
FASTINIT_INLINE FV F(propose)(int law, const F(params) * v, UV word, UV accept, MASK *accepted)
{
    if (law == FASTINIT_LAW_NARROW) {
        const FV u = F(unit)(word);
        const FV excess = F(add)(F(mul)(u, F(add)(F(mul)(u, v->p[1]), v->p[0])), v->p[2]);
        *accepted = F(le)(excess, F(half_log)(accept));
        return u;
    }
    const FV h = F(half_log)(word);
    FV e;
    if (law == FASTINIT_LAW_TAIL) {
        const FV ratio = F(sqrt)(F(add)(F(mul)(h, v->p[1]), F(set1)(1))); /* x / a */
        e = F(div)(h, F(add)(ratio, F(set1)(1)));
        *accepted = F(le)(F(mul)(F(unit)(accept), ratio), F(set1)(1));
    } else {
        e = F(mul)(h, v->p[0]);
        const FV off = F(sub)(e, v->p[1]);
        *accepted = F(le)(F(mul)(off, off), F(half_log)(accept));
    }
    *accepted = F(and_le)(*accepted, e, v->p[2]);
    return e;
}

/* Two candidates of a law that takes normal numbers, from one pair of words. */
FASTINIT_INLINE void F(propose_normals)(int law, const F(params) * v, UV radius_word, UV angle_word, FV z[2], MASK accepted[2])
{
    F(box_muller)(radius_word, angle_word, law == FASTINIT_LAW_HALF ? F(set1)(2) : v->scale, z);
    for (int i = 0; i < 2; i++) {
        if (law == FASTINIT_LAW_HALF)
            z[i] = F(abs)(z[i]);
        if (!F(is_normal)(law))
            accepted[i] = F(and_le)(F(le)(v->p[0], z[i]), z[i], v->p[1]);
    }
}

/* Rounding may carry a value over a bound: it takes the bound. */
FASTINIT_INLINE FV F(finish)(int law, const F(params) * v, FV z)
{
    FV x = F(is_normal)(law) || F(is_truncated)(law) ? z : F(mul)(z, v->scale);
    x = F(adds_base)(law) ? F(add)(x, v->base) : x;
    return F(clamps)(law) ? F(max)(F(min)(x, v->high), v->low) : x;
}

FASTINIT_INLINE uint32_t F(counter2)(uint32_t domain, uint32_t attempt) { return (domain + DOMAIN_OFFSET) << 24 | attempt; }

/* The words of `groups` groups of blocks. */
FASTINIT_INLINE void F(words)(int groups, const u32v *counters, const uint32_t *c1, uint32_t c2, const fastinit_philox_keys *keys,
                              UV w[][4])
{
    philoxv c0[FASTINIT_GROUPS], x[FASTINIT_GROUPS][4];
    for (int g = 0; g < groups; g++)
        c0[g] = F(split)(counters[g]);
    philox_blocks(groups, c0, c1, c2, keys, x);
    for (int g = 0; g < groups; g++)
        F(join)(x[g], w[g]);
}

/* The words of groups [group, group + groups) from a super-block on, each where the element that takes it will be. */
FASTINIT_INLINE void F(place_words)(int groups, uint32_t c2, const fastinit_philox_keys *keys, uint64_t super_block, unsigned group,
                                    REAL *out)
{
    u32v counters[FASTINIT_GROUPS];
    uint32_t c1[FASTINIT_GROUPS];
    UV w[FASTINIT_GROUPS][4];
    for (int g = 0; g < groups; g++) {
        const uint64_t block = super_block * 16 + (group + (unsigned)g) * FASTINIT_LANES32;
        counters[g] = u32_add(u32_set1((uint32_t)block), u32_load(iota));
        c1[g] = (uint32_t)(block >> 32);
    }
    F(words)(groups, counters, c1, c2, keys, w);
    for (int g = 0; g < groups; g++) {
        const unsigned at = group + (unsigned)g;
        for (unsigned i = 0; i < VECTORS; i++)
            U(store)(out + at / GROUPS_PER_SUPER_BLOCK * SUPER_BLOCK + POSITION(i, at % GROUPS_PER_SUPER_BLOCK), w[g][i]);
    }
}

/* The words of `count` super-blocks. They go through memory, a batch that stays in the nearest cache, because
 * words and laws in one loop are more than out-of-order execution can overlap: 15 % slower on AVX-512. */
static FASTINIT_NOINLINE void F(random_words)(uint32_t domain, const fastinit_philox_keys *keys, uint64_t super_block, unsigned count,
                                              REAL *out)
{
    const unsigned groups = count * GROUPS_PER_SUPER_BLOCK;
    const uint32_t c2 = F(counter2)(domain, 0);
    unsigned group = 0;
    for (; group + FASTINIT_GROUPS <= groups; group += FASTINIT_GROUPS)
        F(place_words)(FASTINIT_GROUPS, c2, keys, super_block, group, out);
    for (; group < groups; group++)
        F(place_words)(1, c2, keys, super_block, group, out);
}

/* The words of blocks in any places, a group of vectors for each FASTINIT_LANES32 of them. */
static FASTINIT_NOINLINE void F(block_words)(const uint32_t *c0, uint32_t c1, uint32_t c2, const fastinit_philox_keys *keys,
                                             unsigned blocks, REAL *words)
{
    for (unsigned block = 0; block < blocks; block += FASTINIT_GROUPS * FASTINIT_LANES32, words += FASTINIT_GROUPS * VECTORS * LANES) {
        u32v counters[FASTINIT_GROUPS];
        uint32_t high[FASTINIT_GROUPS];
        UV w[FASTINIT_GROUPS][4];
        for (unsigned g = 0; g < FASTINIT_GROUPS; g++) {
            counters[g] = u32_load(c0 + block + g * FASTINIT_LANES32);
            high[g] = c1;
        }
        F(words)(FASTINIT_GROUPS, counters, high, c2, keys, w);
        for (unsigned g = 0; g < FASTINIT_GROUPS; g++)
            for (unsigned i = 0; i < VECTORS; i++)
                U(store)(words + (g * VECTORS + i) * LANES, w[g][i]);
    }
}

/* Elements in any places are worked on in super-blocks too, of which a law knows no more than of others: each has a place
 * for its word or, if words make pairs, its pair has two places, 16 apart, and it is one of them. */
FASTINIT_INLINE int F(takes_pairs)(int law) { return !F(is_uniform)(law) && !F(takes_two_words)(law); }
FASTINIT_INLINE unsigned F(pair_place)(int pairs, unsigned i) { return pairs ? i / 16 * 32 + i % 16 : i; }
FASTINIT_INLINE unsigned F(place)(int pairs, const fastinit_elements *e, unsigned i)
{
    return F(pair_place)(pairs, i) + (pairs ? e->low[i] & 16 : 0);
}
FASTINIT_INLINE unsigned F(at_place)(int pairs, unsigned place) { return pairs ? place / 32 * 16 + place % 16 : place; }

/* The words of `n` elements in any places from number `begin` on, each where it is worked on. */
static FASTINIT_NOINLINE void F(scattered_words)(uint32_t domain, int pairs, const fastinit_philox_keys *keys, const fastinit_elements *e,
                                                 unsigned begin, unsigned n, REAL *out)
{
    uint32_t c0[REDRAWS];
    REAL words[REDRAWS / FASTINIT_LANES32 * VECTORS * LANES];
    for (unsigned i = 0; i < n; i++) {
        const unsigned at = i % REDRAWS;
        if (at == 0) {
            for (unsigned k = 0; k < REDRAWS; k++) {
                const uint64_t element = e->first | e->low[begin + i + k];
                c0[k] = (uint32_t)(element / SUPER_BLOCK * 16 + element % 16);
            }
            F(block_words)(c0, (uint32_t)(e->first / SUPER_BLOCK * 16 >> 32), F(counter2)(domain, 0), keys, REDRAWS, words);
        }
        const REAL *block = words + (at / FASTINIT_LANES32 * VECTORS + at % FASTINIT_LANES32 / LANES * 2) * LANES + at % LANES;
        const unsigned word = e->low[begin + i] / 16 % (VECTORS / HALVES);
        REAL *to = out + F(pair_place)(pairs, i);
        memcpy(to, block + (pairs ? word & ~1u : word) * LANES, sizeof *to);
        if (pairs)
            memcpy(to + 16, block + (word | 1) * LANES, sizeof *to);
    }
}

/* The words of super-blocks [b, b + count) of those to be filled. */
FASTINIT_INLINE void F(batch_words)(uint32_t domain, int pairs, const fastinit_philox_keys *keys, const fastinit_elements *e, unsigned b,
                                    unsigned count, REAL *out)
{
    if (e->low)
        F(scattered_words)(domain, pairs, keys, e, F(at_place)(pairs, b * SUPER_BLOCK), F(at_place)(pairs, count * SUPER_BLOCK), out);
    else
        F(random_words)(domain, keys, e->first / SUPER_BLOCK + b, count, out);
}

/* A bit for each element of super-block b of those in any places. */
FASTINIT_INLINE uint64_t F(wanted)(int pairs, const fastinit_elements *e, unsigned b)
{
    const unsigned begin = F(at_place)(pairs, b * SUPER_BLOCK), end = F(at_place)(pairs, (b + 1) * SUPER_BLOCK);
    uint64_t bits = 0;
    for (unsigned i = begin; i < end && i < e->count; i++)
        bits |= UINT64_C(1) << F(place)(pairs, e, i) % SUPER_BLOCK;
    return bits;
}

/* Candidate 0 of every element of one super-block, over its words; returns a bit for each element that rejects it. */
FASTINIT_INLINE uint64_t F(first_pass)(int law, const F(params) * v, const REAL *accept_words, REAL *out)
{
    uint64_t accepted_elements = 0;
    for (int g = 0; g < GROUPS_PER_SUPER_BLOCK; g++) {
        FV z[VECTORS];
        MASK accepted[VECTORS];
        for (int i = 0; i < VECTORS; i++) {
            const UV word = U(load)(out + POSITION(i, g));
            if (F(is_uniform)(law))
                z[i] = law == FASTINIT_LAW_UNIFORM ? F(unit_digits)(word) : F(unit)(word);
            else if (F(takes_two_words)(law))
                z[i] = F(propose)(law, v, word, U(load)(accept_words + POSITION(i, g)), &accepted[i]);
            else if (i % 2 == 0)
                F(propose_normals)(law, v, word, U(load)(out + POSITION(i + 1, g)), z + i, accepted + i);
        }
        for (int i = 0; i < VECTORS; i++) {
            F(store)(out + POSITION(i, g), F(finish)(law, v, z[i]));
            if (F(rejects)(law))
                accepted_elements |= (uint64_t)F(lanes)(accepted[i]) << POSITION(i, g);
        }
    }
    return F(rejects)(law) ? ~accepted_elements & (~(uint64_t)0 >> (64 - SUPER_BLOCK)) : 0;
}

/* Candidates from the words of one group for FASTINIT_LANES32 elements: their values, and a bit for each that is accepted. */
FASTINIT_INLINE unsigned F(redraw)(int law, const F(params) * v, const REAL *words, unsigned wanted, REAL *drawn)
{
    unsigned accepted_elements = 0;
    for (int half = 0; half < HALVES; half++) {
        const int pairs = VECTORS / 2 / HALVES; /* of words per element */
        MASK accepted = F(le)(F(set1)(1), F(set1)(0));
        FV chosen = F(set1)(0);
        for (int pair = half * pairs; pair < (half + 1) * pairs; pair++) {
            const UV first = U(load)(words + 2 * pair * LANES), second = U(load)(words + (2 * pair + 1) * LANES);
            FV z[2];
            MASK ok[2];
            if (F(takes_two_words)(law)) {
                z[0] = F(propose)(law, v, first, second, &ok[0]);
            } else {
                F(propose_normals)(law, v, first, second, z, ok);
                z[0] = F(choose)(ok[0], z[0], z[1]);
                ok[0] = F(either)(ok[0], ok[1]);
            }
            chosen = F(choose)(accepted, chosen, z[0]);
            accepted = F(either)(accepted, ok[0]);
            /* The second pair is seldom needed: 1 element in 480 at +-2 standard deviations. */
            if (HALVES == 1 && (F(lanes)(accepted) & wanted) == wanted)
                break;
        }
        F(store)(drawn + half * LANES, F(finish)(law, v, chosen));
        accepted_elements |= F(lanes)(accepted) << half * LANES;
    }
    return accepted_elements;
}

/* The low counters of the redraws of REDRAWS elements; the next word is the upper half of all of them. */
FASTINIT_INLINE void F(redraw_counters)(int pairs, const fastinit_elements *e, const uint16_t *queue, uint32_t *c0)
{
    if (e->low)
        for (unsigned i = 0; i < REDRAWS; i++)
            c0[i] = e->low[F(at_place)(pairs, queue[i])];
    else
        for (unsigned i = 0; i < REDRAWS; i++)
            c0[i] = (uint32_t)e->first + queue[i];
}

/* Draw again for up to REDRAWS elements; returns how many are still missing, now the first ones of `missing`. */
FASTINIT_INLINE unsigned F(redraw_batch)(int law, const F(params) * v, const fastinit_philox_keys *keys, const fastinit_elements *e,
                                         uint32_t attempt, const uint16_t *queue, unsigned n, uint16_t *missing, REAL *out)
{
    REAL words[REDRAWS / FASTINIT_LANES32 * VECTORS * LANES], drawn[REDRAWS];
    uint32_t c0[REDRAWS];
    uint64_t rejected = 0;
    F(redraw_counters)(F(takes_pairs)(law), e, queue, c0);
    F(block_words)(c0, (uint32_t)(e->first >> 32), F(counter2)(FASTINIT_DOMAIN_REDRAW, attempt), keys, n, words);
    for (unsigned i = 0; i < n; i += FASTINIT_LANES32) {
        const unsigned wanted = n - i < FASTINIT_LANES32 ? (1u << (n - i)) - 1 : (unsigned)((UINT64_C(1) << FASTINIT_LANES32) - 1);
        rejected |= (uint64_t)(~F(redraw)(law, v, words + i / FASTINIT_LANES32 * VECTORS * LANES, wanted, drawn + i) & wanted) << i;
    }
    for (unsigned i = 0; i < n; i++)
        memcpy(out + queue[i], drawn + i, sizeof *out); /* what is missing is overwritten by a later attempt */
    unsigned kept = 0;
    for (; rejected; rejected &= rejected - 1)
        missing[kept++] = queue[fastinit_lowest_bit(rejected)];
    return kept;
}

/* Draw again for the elements of the queue until all are accepted. This ends: see choose_proposal. */
FASTINIT_INLINE void F(redraw_all)(int law, const F(params) * v, const fastinit_philox_keys *keys, const fastinit_elements *e,
                                   uint16_t *queue, unsigned n, REAL *out)
{
    for (uint32_t attempt = 1; n; attempt++) {
        unsigned kept = 0;
        memset(queue + n, 0, REDRAWS * sizeof *queue);
        for (unsigned i = 0; i < n; i += REDRAWS)
            kept += F(redraw_batch)(law, v, keys, e, attempt, queue + i, n - i < REDRAWS ? n - i : REDRAWS, queue + kept, out);
        n = kept;
    }
}

FASTINIT_INLINE void F(fill)(int law, const fastinit_distribution *d, const fastinit_philox_keys *keys, const fastinit_elements *e,
                             REAL *out)
{
    enum { BATCH = 16 }; /* super-blocks: 4 KiB of words */
    const int pairs = F(takes_pairs)(law);
    const uint32_t domain = F(is_uniform)(law) ? FASTINIT_DOMAIN_UNIFORM : pairs ? FASTINIT_DOMAIN_NORMAL : FASTINIT_DOMAIN_PROPOSAL;
    const unsigned count = e->low ? F(pair_place)(pairs, e->count - 1) / SUPER_BLOCK + 1 : e->count;
    const F(params) v = F(broadcast)(law, d);
    uint16_t queue[FASTINIT_CHUNK + REDRAWS]; /* room for a batch of redraws, or one step of enqueue, past the end */
    REAL accept_words[BATCH * SUPER_BLOCK];
    unsigned n = 0;
    for (unsigned b = 0; b < count; b++) {
        const unsigned left = count - b < BATCH ? count - b : BATCH;
        if (b % BATCH == 0) {
            F(batch_words)(domain, pairs, keys, e, b, left, out + b * SUPER_BLOCK);
            if (F(takes_two_words)(law))
                F(batch_words)(FASTINIT_DOMAIN_ACCEPT, pairs, keys, e, b, left, accept_words);
        }
        uint64_t rejected = F(first_pass)(law, &v, accept_words + b % BATCH * SUPER_BLOCK, out + b * SUPER_BLOCK);
        if (F(rejects)(law)) {
            if (e->low)
                rejected &= F(wanted)(pairs, e, b);
            n += enqueue(rejected, b * SUPER_BLOCK, queue + n);
        }
    }
    F(redraw_all)(law, &v, keys, e, queue, n, out);
    for (unsigned i = 0; e->low && i < e->count; i++)
        out[i] = out[F(place)(pairs, e, i)];
}

#define FILL(name, law)                                                                                                                    \
    static void F(fill_##name)(const fastinit_distribution *d, const fastinit_philox_keys *keys, const fastinit_elements *e, void *out)    \
    {                                                                                                                                      \
        F(fill)(law, d, keys, e, (REAL *)out);                                                                                             \
    }
FILL(uniform, FASTINIT_LAW_UNIFORM)
FILL(uniform_clamped, FASTINIT_LAW_UNIFORM_CLAMPED)
FILL(normal, FASTINIT_LAW_NORMAL)
FILL(normal_at_0, FASTINIT_LAW_NORMAL_AT_0)
FILL(truncated, FASTINIT_LAW_TRUNCATED)
FILL(truncated_at_0, FASTINIT_LAW_TRUNCATED_AT_0)
FILL(half, FASTINIT_LAW_HALF)
FILL(narrow, FASTINIT_LAW_NARROW)
FILL(exponential, FASTINIT_LAW_EXPONENTIAL)
FILL(tail, FASTINIT_LAW_TAIL)

#undef F
#undef U
#undef FV
#undef UV
#undef MASK
#undef REAL
#undef DOMAIN_OFFSET
#undef UNIT
#undef LANES
#undef HALVES
#undef VECTORS
#undef SUPER_BLOCK
#undef POSITION
#undef GROUPS_PER_SUPER_BLOCK
#undef SIGN_BIT
#undef C
#undef FILL
