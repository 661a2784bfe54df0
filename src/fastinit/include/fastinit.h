/* fastinit: counter-based uniform, normal and truncated normal fills for weight tensors.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * This header is both the C interface and the definition of the stream: with
 * it alone, another language can compute the same bits.
 *
 * =============================================================================
 * The stream, version 1
 * =============================================================================
 *
 * Element `e` of a tensor is a pure function of (key, distribution, dtype, e),
 * where `e` in [0, 2^64) is the flat index in C order of the whole logical
 * tensor. Shards, chunks, threads, strides and instruction sets change nothing.
 *
 * Notation. Words are unsigned and wrap. x[i] is bit i, x[i..j] the bits i to j
 * (i the lowest) as an integer. The real type is float32 for the dtypes
 * of 32 bits and fewer, float64 for float64: "float32:" below speaks of
 * all of the former. real(n) converts an integer to it, rounding to nearest
 * even. Every + - * / and sqrt on reals is one IEEE 754 operation of that type,
 * rounded to nearest even; nothing is fused or re-associated, subnormal numbers
 * are kept, and parentheses, then the usual precedence, then left to right give
 * the order. P(t; k0, k1, k2) stands for (k2 * t + k1) * t + k0, and so on for
 * more coefficients. bits(x) is the IEEE representation as an integer, value(n)
 * its inverse. "c ? x : y" is x where c holds and y elsewhere.
 *
 * 1. Key
 *
 *   A seed in [0, 2^64) without a stream name (or with the empty one) is the
 *   key. With a name:
 *     key = first 8 bytes, little endian, of BLAKE2b-512 (RFC 7693, unkeyed) of
 *           the seed as 8 bytes, little endian, followed by the name in UTF-8.
 *   A stream given as an integer >= 0 is the name made of its decimal digits.
 *
 *   Names. The stream of a tensor is named after the tensor. A tensor that is made of
 *   several draws, such as the sum of two normals, takes its first draw from that
 *   stream. Draw k, for k = 2, 3, ..., has a stream of its own, with a key of its own:
 *   its name is the name of the tensor's stream, then "#", then k in decimal digits.
 *   The second draw of the tensor "layers.0.weight" is the stream "layers.0.weight#2".
 *   A tensor whose own name ends like this shares the stream of that draw.
 *
 * 2. Words
 *
 *   Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC'11) turns a counter
 *   (c0, c1, c2, c3) into a block of four 32-bit words by ten rounds. In round r,
 *   from 0 to 9, with the 64-bit products p = 0xD2511F53 * c0, q = 0xCD9E8D57 * c2:
 *     c0, c1, c2, c3 = q[32..63] ^ c1 ^ (key[0..31]  + r * 0x9E3779B9),  q[0..31],
 *                      p[32..63] ^ c3 ^ (key[32..63] + r * 0xBB67AE85),  p[0..31]
 *   The last counter is the block, words 0 to 3. Counter 0 and key 0 give
 *   6627E8D5 E169C58D BC57AC4C 9B00DBD8. The first counter is
 *     c0 = n[0..31]   c1 = n[32..63]   c2 = (domain << 24) | attempt   c3 = 0
 *   for the block number n, and
 *
 *     domain           raw  uniform  normal  proposal  accept  redraw
 *       float32         0      2        4        6        8      10
 *       float64         -      3        5        7        9      11
 *
 *   A float32 element uses one word, a float64 element one number: number 0 of a
 *   block is word 0 | word 1 << 32, number 1 is word 2 | word 3 << 32. But for
 *   redraws, the attempt is 0 and element e has its word (number) j in block n:
 *     float32  j = (e >> 4) & 3   n = (e >> 6) * 16 + (e & 15)
 *     float64  j = (e >> 4) & 1   n = (e >> 5) * 16 + (e & 15)
 *   So 16 consecutive blocks make a super-block of 64 (32) elements, and vector
 *   registers of up to 16 lanes go to memory in order. Raw word i is word i & 3
 *   of block i >> 2.
 *
 * 3. Transforms of words (float32) or numbers (float64)
 *
 *   unit(w), in [0, 1):
 *     float32  real(w[8..31]) * 2^-24
 *     float64  real(w[11..63]) * 2^-53
 *
 *   h(w) = -ln(u) / 2, a quarter of a squared radius, for a u in (0, 1):
 *     float32  y = (real(w as a signed integer) + 0.5) * RADIUS_SCALE
 *     float64  y = (real(w[0..51]) + 0.5) * RADIUS_SCALE
 *     |y| = m * 2^k exactly, with 1 <= m < 2 and an integer k
 *     s = (R - m) / (R + m)
 *     t = s * s
 *     h = (s + (s * t) * P(t; LOG0, LOG1, ...)) + real(k) * MINUS_HALF_LN2
 *   R is sqrt(2), RADIUS_SCALE the number just below R, times 2^-31 (2^-52): so
 *   u = |y| / R is (n + 1/2) * 2^-31 (2^-52) within 2^-22 (2^-51) of itself, with
 *   n = w[0..30], complemented if the top bit of w is set (n = w[0..51]), and m < R
 *   where k = 0. h is never 0; the largest radius, 2 * sqrt(h), is 6.6604
 *   (float32), 8.5717 (float64), the smallest 0.00041 (2.5e-8).
 *
 *   pair(v, w, S) = two normal reals of standard deviation S / 2, from the radius
 *   word v and the angle word w:
 *     float32  x = real(w with its bit 0 set, as a signed integer) * 2^-31
 *     float64  x = (real(w[0..51] with its bit 0 set) - 2^51) * 2^-51
 *     t = x * x
 *     cosine = P(t; COS0, COS1, ...), its sign changed if a bit of w is set: bit 0 (bit 63)
 *     sine = x * P(t; SIN0, SIN1, ...)
 *     r = sqrt(h(v)) * S
 *     pair = top bit of v ? (r * sine, r * cosine) : (r * cosine, r * sine)
 *   x is never 0, so no normal is an exact zero unless it underflows.
 *
 *   Errors in units in the last place of the result, for the float u or x at hand:
 *   float32, over all words: h 1.81, cosine 1.58, sine 1.61; float64, sampled: 1.9 at most.
 *
 *   Coefficients (C99 hexadecimal; maximum relative error of the polynomial):
 *                float32                  float64
 *     LOG0       0x1.55555cp-2            0x1.5555555555558p-2
 *     LOG1       0x1.997aa0p-3            0x1.9999999995323p-3
 *     LOG2       0x1.2f2ba8p-3            0x1.2492492deec51p-3
 *     LOG3                                0x1.c71c62e681b78p-4
 *     LOG4                                0x1.7462b4ac6aa42p-4
 *     LOG5                                0x1.39fe5b3254a89p-4
 *     LOG6       (2^-21.7)                0x1.2b58ad3e1a058p-4   (2^-51.0)
 *     COS0       0x1.000000p+0            0x1.0000000000000p+0
 *     COS1      -0x1.3bd39cp-2           -0x1.3bd3cc9be459dp-2
 *     COS2       0x1.03b058p-6            0x1.03c1f081b0df1p-6
 *     COS3      -0x1.4e78bep-12          -0x1.55d3c7dc398d6p-12
 *     COS4                                0x1.e1f4fb7f90416p-19
 *     COS5                               -0x1.a6c9c7ffcf2b0p-26
 *     COS6       (2^-24.6)                0x1.f3dc17e3f0089p-34  (2^-53.9)
 *     SIN0       0x1.921fb6p-1            0x1.921fb54442d18p-1
 *     SIN1      -0x1.4abc24p-4           -0x1.4abbce625bdaep-4
 *     SIN2       0x1.4680a4p-9            0x1.466bc6774afcep-9
 *     SIN3      -0x1.33198ep-15          -0x1.32d2ccd46a41ap-15
 *     SIN4                                0x1.507821d4dfca5p-22
 *     SIN5                               -0x1.e2f3f0f0ef819p-30
 *     SIN6       (2^-25.1)                0x1.dfc5b7d4f91a7p-38  (2^-54.5)
 *     MINUS_HALF_LN2 -0x1.62e430p-2      -0x1.62e42fefa39efp-2
 *     R          0x1.6a09e6p+0            0x1.6a09e667f3bcdp+0
 *     RADIUS_SCALE 0x1.6a09e4p-31         0x1.6a09e667f3bccp-52
 *
 * 4. Candidates and output
 *
 *   Parameters (base, scale, p0, p1, p2, low, high) are computed in double from
 *   the arguments, then rounded once, to nearest, to the real type (to infinity
 *   if they are too large for it). A candidate is a real z, and the output is
 *     normal, truncated   x = z + base       (scale went into z)
 *     all others          x = z * scale + base
 *   and then, but for the plain normal,
 *     x = x < high ? x : high
 *     x = x > low ? x : low
 *   low and high are the bounds rounded inward (low up, high down) to values of
 *   the output dtype; a low bound below the most negative finite value takes that
 *   value, a high bound above the largest that one. For the uniform, high is instead
 *   the largest value of the output dtype below H. base, low and high are +0
 *   where that rounding gives -0. Outputs of 16 and 8 bits are x rounded to nearest
 *   even (subnormals kept), but that what goes over a bound so takes low or high.
 *
 *   Uniform on [L, H): z = unit(w), domain uniform; base = L', scale = H' - L' with L
 *   and H rounded inward to values L' and H' of the real type. If L == H, it is the
 *   normal of mean L and stddev 0.
 *
 *   Normal: domain normal; base = mean, scale = 2 * stddev. Words 0 and 1 of a block
 *   make a pair(word 0, word 1, scale) for the elements that have them, e and e + 16,
 *   in this order; so do the words 2 and 3. float64: pair(number 0, number 1, scale).
 *   A standard deviation of 0 gives the mean, rounded to the real type, then the dtype.
 *
 *   Truncated normal on [lower, upper] standard deviations. If stddev == 0, it
 *   is the normal of stddev 0. Otherwise, in double:
 *     L = mean + stddev * lower           H = mean + stddev * upper   (the bounds)
 *     upper <= 0:  a = -upper  b = -lower  sigma = -stddev  near = H
 *     otherwise:   a =  lower  b =  upper  sigma =  stddev  near = L
 *     d = b - a    rate = (a + sqrt(a * a + 4)) / 2
 *   The first condition that holds gives the proposal:
 *
 *     condition                   proposal     base  scale          p0         p1              p2
 *     a < 0 and d < sqrt(2 pi)    narrow       near  sigma * d      a * d / 2  d * d / 4       a * a / 4
 *     a < 0                       truncated    mean  2 * sigma      sigma * a  sigma * b
 *     d * (a + b) / 2 <= ln 2.18  narrow       near  sigma * d      a * d / 2  d * d / 4       0
 *     a < 1/4                     half         mean  sigma          a          b
 *     a < 3/2                     exponential  near  2 * sigma      1 / rate   (rate - a) / 2  d / 2
 *     otherwise                   tail         near  sigma / a * 4             4 / a / a       d * a / 4
 *
 *   where p0 and p1 of truncated are rounded inward to the real type, as low and high are,
 *   and with sqrt(2 pi) = 2.5066282746310002 and ln 2.18 = 0.7793248768009977.
 *   The exponential rate is Robert's (1995), the tail Marsaglia's (1964).
 *
 *     proposal     candidate z                        accepted if
 *     truncated    a normal of pair(v, w, scale)      p0 <= z and z <= p1
 *     half         one of pair(v, w, 2), its sign off p0 <= z and z <= p1
 *     narrow       unit(w)                            z * (z * p1 + p0) + p2 <= h(v)
 *     exponential  h(w) * p0                          (z - p1) * (z - p1) <= h(v) and z <= p2
 *     tail         h(w) / (g + 1)                     unit(v) * g <= 1 and z <= p2
 *                  with g = sqrt(h(w) * p1 + 1)
 *
 *   Candidate 0 of an element: for truncated and half, v and w as for the normal, in
 *   the domain normal.
 *   For the others, w is the element's word (number) in the domain proposal, v
 *   that in the domain accept.
 *   If it is not accepted, attempts 1, 2, ... follow until one is, each with the
 *   block of domain redraw, block number e. Its candidates, in this order:
 *     truncated, half  float32: both of the pair of words 0 and 1, then of words 2 and 3
 *                      float64: both of the pair of numbers 0 and 1
 *     the others       float32: (w, v) = (word 0, word 1), then (word 2, word 3)
 *                      float64: (w, v) = (number 0, number 1)
 *   The element is the first accepted candidate. A candidate is accepted with a
 *   probability of at least 0.478, whatever the bounds.
 *
 * =============================================================================
 * The interface
 * =============================================================================
 *
 * Nothing allocates, prints, aborts or keeps state, but for the choice of the
 * instruction set. Every function may be called from any number of threads at
 * once, on buffers that do not overlap; fastinit_set_isa changes only the speed of
 * fills that start later. Functions run under the default floating-point
 * environment (rounding, flushing to zero, traps) and restore the caller's, its
 * exception flags included.
 *
 * A fill takes up to 96 KiB of stack where it is compiled with optimisation, and up to 512 KiB without (-O0), most
 * with AVX-512: more than the 128 KiB that a thread has by default with musl.
 *
 * The first fill with an instruction set also checks the build, which takes about 0.1 ms: it compares a few values of every
 * sampler with known digests. If they differ because compiler options changed the arithmetic, fills with this
 * instruction set write nothing and return FASTINIT_ERR_BUILD.
 */
#ifndef FASTINIT_H
#define FASTINIT_H

#include <stddef.h>
#include <stdint.h>

/* Names of the linker. By default a copy of the library is private to the program or shared library that it is linked
 * into: its functions are hidden, so two copies in one process, such as those of a program and of a plugin, never call
 * each other. Define FASTINIT_SHARED to export them from a shared library, when you build it and in the programs that use
 * it.
 * FASTINIT_PREFIX, defined likewise, is put before all names that a linker sees: with -DFASTINIT_PREFIX=acme_ the function
 * fastinit_fill is acme_fastinit_fill there, and two copies can be linked into one program. The source that calls it says
 * fastinit_fill as before. */
#if defined(_WIN32) && !defined(FASTINIT_SHARED)
#define FASTINIT_API
#elif defined(_WIN32) && defined(FASTINIT_BUILD) /* the library's own files define it */
#define FASTINIT_API __declspec(dllexport)
#elif defined(_WIN32)
#define FASTINIT_API __declspec(dllimport)
#elif defined(FASTINIT_SHARED)
#define FASTINIT_API __attribute__((visibility("default")))
#else
#define FASTINIT_API __attribute__((visibility("hidden")))
#endif

#ifdef FASTINIT_PREFIX
#define FASTINIT_JOIN_EXPANDED(prefix, name) prefix##name
#define FASTINIT_JOIN(prefix, name)          FASTINIT_JOIN_EXPANDED(prefix, name)
#define fastinit_uniform                     FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_uniform)
#define fastinit_normal                      FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_normal)
#define fastinit_truncated_normal            FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_truncated_normal)
#define fastinit_fill                        FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_fill)
#define fastinit_fill_region                 FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_fill_region)
#define fastinit_random_words                FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_random_words)
#define fastinit_stream_key                  FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_stream_key)
#define fastinit_status_message              FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_status_message)
#define fastinit_isa                         FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_isa)
#define fastinit_available_isa               FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_available_isa)
#define fastinit_set_isa                     FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_set_isa)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* From the first release on, a change of any output bit changes this number. */
#define FASTINIT_STREAM_VERSION 1

typedef enum fastinit_status {
    FASTINIT_OK = 0,
    FASTINIT_ERR_NULL,       /* a pointer is NULL */
    FASTINIT_ERR_DTYPE,      /* not a fastinit_dtype */
    FASTINIT_ERR_MEAN,       /* the mean is NaN or infinite */
    FASTINIT_ERR_STDDEV,     /* the standard deviation is negative, NaN or infinite */
    FASTINIT_ERR_BOUNDS,     /* lower >= upper, low > high, or a NaN */
    FASTINIT_ERR_OVERFLOW,   /* values could exceed the largest finite number of the dtype */
    FASTINIT_ERR_EMPTY,      /* the dtype has no value between the bounds */
    FASTINIT_ERR_INDEX,      /* elements beyond index 2^64 - 1, or a region of bad rank or size */
    FASTINIT_ERR_UNPREPARED, /* the distribution comes from a call that failed, or from none */
    FASTINIT_ERR_ISA,        /* unknown instruction set, or the CPU or operating system lacks it */
    FASTINIT_ERR_BUILD       /* compiled so that values are not those of the stream format; found by the first fill */
} fastinit_status;

/* float16 is IEEE binary16, bfloat16 the upper half of float32; both are written as uint16_t. The 8-bit types are those
 * of Micikevicius et al., "FP8 formats for deep learning" (2022), in bytes: e4m3fn has no infinity and reaches 448, e5m2 is
 * the upper half of float16 and reaches 57344. */
typedef enum fastinit_dtype {
    FASTINIT_FLOAT32 = 0,
    FASTINIT_FLOAT64 = 1,
    FASTINIT_FLOAT16 = 2,
    FASTINIT_BFLOAT16 = 3,
    FASTINIT_FLOAT8_E4M3FN = 4,
    FASTINIT_FLOAT8_E5M2 = 5
} fastinit_dtype;

/* A prepared distribution: made by the three functions below, a plain value to copy; the members are
 * private. After an error, fills refuse it. */
typedef struct fastinit_distribution {
    int32_t law, dtype;
    double base, scale, low, high, p[3];
} fastinit_distribution;

/* Uniform on [low, high), low <= high: low + (high - low) * u, u in [0, 1). low can occur, high cannot: a value that
 * rounding would bring to high is the largest value of the dtype below it. Where [low, high) holds no value of the dtype, the
 * status is FASTINIT_ERR_EMPTY; low == high gives the constant. low, high and high - low must not exceed the largest finite
 * number of the dtype. */
FASTINIT_API fastinit_status fastinit_uniform(fastinit_distribution *d, fastinit_dtype dtype, double low, double high);

/* Normal with this mean and standard deviation >= 0 (0 gives the constant mean).
 * |x - mean| <= 6.661 stddev (float64: 8.572), which must not leave the dtype's range. */
FASTINIT_API fastinit_status fastinit_normal(fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev);

/* Normal(mean, stddev) conditioned on mean + stddev * [lower, upper]: bounds in
 * standard deviations, lower < upper, either may be infinite. No output lies
 * outside the bounds, as numbers of the output's dtype; a bound itself can occur.
 * A standard deviation of 0 gives the constant mean. */
FASTINIT_API fastinit_status fastinit_truncated_normal(fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev,
                                                       double lower, double upper);

/* Write elements [index, index + n) to `out`, contiguous items of the distribution's dtype, any alignment. */
FASTINIT_API fastinit_status fastinit_fill(const fastinit_distribution *d, uint64_t key, uint64_t index, uint64_t n, void *out);

/* A box of elements of a tensor, and where it lies in memory. Position
 * (i_0, ..., i_{ndim-1}), 0 <= i_k < count[k], is the element
 *     index + sum over k of i_k * index_step[k]   (modulo 2^64)
 * stored `sum over k of i_k * out_step[k]` bytes after `out`. 1 <= ndim <= 64;
 * steps may be negative. Long runs along the last dimension with index_step 1 are
 * fast. A run costs at least as much as 64 to 200 elements or, if that is less, 5 to
 * 15 times as much as its elements do elsewhere; so do elements of other steps. */
typedef struct fastinit_region {
    size_t ndim;
    const uint64_t *count;
    const int64_t *index_step;
    const int64_t *out_step;
    uint64_t index;
} fastinit_region;

/* Write the positions [first, first + n) of a region, numbered in C order; the
 * product of the counts must be at least first + n. */
FASTINIT_API fastinit_status fastinit_fill_region(const fastinit_distribution *d, uint64_t key, const fastinit_region *region,
                                                  uint64_t first, uint64_t n, void *out);

/* Raw words [offset, offset + n). */
FASTINIT_API fastinit_status fastinit_random_words(uint64_t key, uint64_t offset, uint64_t n, uint32_t *out);

/* The key of a seed and a stream name (`length` bytes of UTF-8; 0 gives the seed itself). */
FASTINIT_API uint64_t fastinit_stream_key(uint64_t seed, const void *name, size_t length);

/* One English sentence without a full stop; "unknown status" for other numbers. */
FASTINIT_API const char *fastinit_status_message(fastinit_status status);

/* The instruction set in use: "avx512", "avx2", "sse2", "neon" or "scalar". */
FASTINIT_API const char *fastinit_isa(void);

/* The i-th instruction set that this build has and this machine runs, widest first; NULL past the end. */
FASTINIT_API const char *fastinit_available_isa(size_t i);

/* Use this one from now on. All give the same bits. */
FASTINIT_API fastinit_status fastinit_set_isa(const char *name);

#ifdef __cplusplus
}
#endif

#endif
