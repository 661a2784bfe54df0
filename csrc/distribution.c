/* Parameters to prepared distributions: which proposal, which bounds, in double. */
#include <math.h>

#include "internal.h"
#include "fp.h"

typedef struct {
    double largest;      /* finite */
    int precision;       /* significant bits */
    int lowest_exponent; /* of the smallest normal number */
    double reach;        /* no |z| of the normal stream is larger */
} format;

/* reach: sqrt(-2 ln 2^-32) = 6.6604 for 31 bits and a half step, sqrt(-2 ln 2^-53) = 8.5717 for
 * 52 of them, a little more for rounding. */
static const format formats[] = {
    [FASTINIT_FLOAT32] = {FLT_MAX, 24, -126, 6.661}, [FASTINIT_FLOAT64] = {DBL_MAX, 53, -1022, 8.572},
    [FASTINIT_FLOAT16] = {65504, 11, -14, 6.661},    [FASTINIT_BFLOAT16] = {0x1.FEp127, 8, -126, 6.661},
    [FASTINIT_FLOAT8_E4M3FN] = {448, 4, -6, 6.661},  [FASTINIT_FLOAT8_E5M2] = {57344, 3, -14, 6.661},
};

/* Of the arithmetic that makes the values of a dtype. */
static const format *real_format(fastinit_dtype dtype) { return &formats[dtype == FASTINIT_FLOAT64 ? FASTINIT_FLOAT64 : FASTINIT_FLOAT32]; }

static int valid_dtype(fastinit_dtype dtype) { return (unsigned)dtype < sizeof formats / sizeof *formats; }

/* x as a value of the format, by a rounding of numbers to integers; -0 becomes +0, and beyond the largest is the largest. */
static double round_by(double to_integer(double), double x, const format *f)
{
    int exponent;
    x = x > f->largest ? f->largest : x < -f->largest ? -f->largest : x;
    if (x == 0 || f->precision == 53)
        return x + 0.0;
    frexp(x, &exponent);
    exponent -= 1;
    const int quantum = (exponent > f->lowest_exponent ? exponent : f->lowest_exponent) - (f->precision - 1);
    return ldexp(to_integer(ldexp(x, -quantum)), quantum) + 0.0;
}

/* Bounds rounded inward: no value of the format between low and high is outside. */
static double round_up(double x, const format *f) { return round_by(ceil, x, f); }
static double round_down(double x, const format *f) { return round_by(floor, x, f); }

/* The bounds of the output. */
static fastinit_status set_bounds(fastinit_distribution *d, double low, double high)
{
    d->low = round_up(low, &formats[d->dtype]);
    d->high = round_down(high, &formats[d->dtype]);
    return d->low <= d->high ? FASTINIT_OK : FASTINIT_ERR_EMPTY;
}

/* Whether reals in [low, high] need no clamp before they are rounded to the output's dtype: fastinit_narrow clamps what crosses
 * bounds on both sides of 0. (Where the low bound is 0, clamping also turns -0 into +0.) */
static int stays_in_bounds(const fastinit_distribution *d, double low, double high)
{
    const format *f = &formats[d->dtype];
    const int low_stays = d->low < 0 || (round_by(rint, low, f) >= d->low && (d->low != 0 || low == 0));
    const int is_narrowed = f != real_format((fastinit_dtype)d->dtype);
    return low_stays && ((is_narrowed && d->high > 0) || round_by(rint, high, f) <= d->high);
}

/* A scale from which on products with the least u, or the least radius and sine, are far from subnormal or zero. */
#define NORMAL_STEPS 0x1p-60

static int is_at_0(const fastinit_distribution *d) { return d->base == 0 && d->scale >= NORMAL_STEPS; }

FASTINIT_NOINLINE static fastinit_status normal(fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev)
{
    if (!isfinite(mean))
        return FASTINIT_ERR_MEAN;
    if (!(stddev >= 0 && isfinite(stddev)))
        return FASTINIT_ERR_STDDEV;
    if (!(fabs(mean) + formats[dtype].reach * stddev <= formats[dtype].largest))
        return FASTINIT_ERR_OVERFLOW;
    *d = (fastinit_distribution){.dtype = (int32_t)dtype, .base = mean, .scale = 2 * stddev};
    d->law = is_at_0(d) ? FASTINIT_LAW_NORMAL_AT_0 : FASTINIT_LAW_NORMAL;
    return FASTINIT_OK;
}

/* What the largest u gives: base + scale * (1 - ulp / 2), in the arithmetic of the kernel. */
static double largest_uniform(const fastinit_distribution *d)
{
    if (d->dtype == FASTINIT_FLOAT64)
        return (1 - 0x1p-53) * d->scale + d->base;
    const float product = (1 - 0x1p-24f) * (float)d->scale;
    return product + (float)d->base;
}

FASTINIT_NOINLINE static fastinit_status uniform(fastinit_distribution *d, fastinit_dtype dtype, double low, double high)
{
    if (!(low <= high))
        return FASTINIT_ERR_BOUNDS;
    const format *f = &formats[dtype];
    if (!(fabs(low) <= f->largest && fabs(high) <= f->largest && high - low <= f->largest))
        return FASTINIT_ERR_OVERFLOW;
    if (low == high)
        return normal(d, dtype, low, 0);
    const double real_low = round_up(low, real_format(dtype)), real_high = round_down(high, real_format(dtype));
    *d = (fastinit_distribution){.dtype = (int32_t)dtype, .base = real_low, .scale = real_high - real_low};
    /* The largest double below high, rounded down, is the largest value of the dtype below high. */
    const fastinit_status status = set_bounds(d, low, nextafter(high, -INFINITY));
    d->law =
        d->scale >= NORMAL_STEPS && stays_in_bounds(d, real_low, largest_uniform(d)) ? FASTINIT_LAW_UNIFORM : FASTINIT_LAW_UNIFORM_CLAMPED;
    return status;
}

/* Choose the proposal for the standardised interval [a, b], reflected so that
 * b > 0, by comparisons of exactly rounded expressions: every platform chooses
 * the same. Acceptance is at least 0.478 everywhere (at a = 1.5, the narrowest tail). */
static void choose_proposal(fastinit_distribution *d, double a, double b)
{
    const double width = b - a;
    const double sqrt_2pi = 2.5066282746310002;  /* wider than this, the normal accepts more often than the uniform */
    const double log_ratio = 0.7793248768009977; /* ln 2.18: density falls less than this, the uniform accepts >= 0.68 */
    const int across = a < 0;
    if (across ? width < sqrt_2pi : width * (a + b) / 2 <= log_ratio) {
        d->law = FASTINIT_LAW_NARROW;
        d->scale *= width;
        d->p[0] = a * width / 2;
        d->p[1] = width * width / 4;
        d->p[2] = across ? a * a / 4 : 0;
    } else if (across) {
        d->law = FASTINIT_LAW_TRUNCATED;
        d->p[0] = round_up(d->scale * a, real_format((fastinit_dtype)d->dtype));
        d->p[1] = round_down(d->scale * b, real_format((fastinit_dtype)d->dtype));
        d->scale *= 2;
    } else if (a < 0.25) {
        d->law = FASTINIT_LAW_HALF;
        d->p[0] = a;
        d->p[1] = b;
    } else if (a < 1.5) {
        const double rate = (a + sqrt(a * a + 4)) / 2; /* Robert (1995), the best exponential rate */
        d->law = FASTINIT_LAW_EXPONENTIAL;
        d->scale *= 2;
        d->p[0] = 1 / rate;
        d->p[1] = (rate - a) / 2;
        d->p[2] = width / 2;
    } else {
        d->law = FASTINIT_LAW_TAIL;
        d->scale = d->scale / a * 4; /* the tail's own scale: neither a nor 1 / a need fit the real type */
        d->p[1] = 4 / a / a;
        d->p[2] = width * a / 4;
    }
}

/* The largest value of the law's steps before the base is added, in the units of the output. The first steps of the
 * truncated law make values that it rejects: those must be finite too. */
static double largest_step(const fastinit_distribution *d)
{
    const double reach = formats[d->dtype].reach;
    switch (d->law) {
    case FASTINIT_LAW_NARROW:
        return fabs(d->scale);
    case FASTINIT_LAW_EXPONENTIAL:
        return fabs(d->scale) * (reach / 2 + d->p[1]);
    case FASTINIT_LAW_TAIL:
        return fabs(d->scale) * (reach * reach / 8);
    case FASTINIT_LAW_HALF:
        return fabs(d->scale) * fmin(reach, d->p[1]);
    default:
        return d->scale * (reach / 2);
    }
}

/* Whether all outputs are finite in the dtype, and so are the steps that lead to them in the real type. */
static int in_range(const fastinit_distribution *d, double low, double high)
{
    const double reach = largest_step(d), largest = formats[d->dtype].largest;
    const double real_largest = real_format((fastinit_dtype)d->dtype)->largest;
    return fabs(d->base) <= real_largest && fabs(d->scale) <= real_largest && reach <= real_largest &&
           fmax(low, d->base - reach) >= -largest && fmin(high, d->base + reach) <= largest;
}

FASTINIT_NOINLINE static fastinit_status truncated_normal(fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev,
                                                          double lower, double upper)
{
    if (!isfinite(mean))
        return FASTINIT_ERR_MEAN;
    if (!(stddev >= 0 && isfinite(stddev)))
        return FASTINIT_ERR_STDDEV;
    if (!(lower < upper))
        return FASTINIT_ERR_BOUNDS;
    if (stddev == 0)
        return normal(d, dtype, mean, 0);

    const int reflect = upper <= 0;
    const double a = reflect ? -upper : lower, b = reflect ? -lower : upper;
    const double low = mean + stddev * lower, high = mean + stddev * upper;
    *d = (fastinit_distribution){.dtype = (int32_t)dtype, .scale = reflect ? -stddev : stddev};
    choose_proposal(d, a, b);
    d->base = d->law == FASTINIT_LAW_TRUNCATED || d->law == FASTINIT_LAW_HALF ? mean : reflect ? high : low;
    if (!in_range(d, low, high))
        return FASTINIT_ERR_OVERFLOW;
    const fastinit_status status = set_bounds(d, low, high);
    if (d->law == FASTINIT_LAW_TRUNCATED && is_at_0(d) && stays_in_bounds(d, d->p[0], d->p[1]))
        d->law = FASTINIT_LAW_TRUNCATED_AT_0;
    return status;
}

/* What the three public functions do around their work. */
static fastinit_status begin(fastinit_distribution *d, fastinit_dtype dtype, fp_state *saved)
{
    if (!d)
        return FASTINIT_ERR_NULL;
    d->law = FASTINIT_LAW_NONE; /* until it is prepared */
    if (!valid_dtype(dtype))
        return FASTINIT_ERR_DTYPE;
    *saved = enter_fp();
    return FASTINIT_OK;
}

static fastinit_status end(fastinit_distribution *d, fastinit_status status, fp_state saved)
{
    leave_fp(saved);
    if (status != FASTINIT_OK)
        d->law = FASTINIT_LAW_NONE;
    return status;
}

fastinit_status fastinit_uniform(fastinit_distribution *d, fastinit_dtype dtype, double low, double high)
{
    fp_state saved;
    const fastinit_status status = begin(d, dtype, &saved);
    return status == FASTINIT_OK ? end(d, uniform(d, dtype, low, high), saved) : status;
}

fastinit_status fastinit_normal(fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev)
{
    fp_state saved;
    const fastinit_status status = begin(d, dtype, &saved);
    return status == FASTINIT_OK ? end(d, normal(d, dtype, mean, stddev), saved) : status;
}

fastinit_status fastinit_truncated_normal(fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev, double lower,
                                          double upper)
{
    fp_state saved;
    const fastinit_status status = begin(d, dtype, &saved);
    return status == FASTINIT_OK ? end(d, truncated_normal(d, dtype, mean, stddev, lower, upper), saved) : status;
}
