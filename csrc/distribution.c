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

/* reach: sqrt(-2 ln 2^-33) = 6.7638 for 32-bit words, sqrt(-2 ln 2^-54) = 8.6522 for
 * 52-bit ones, a little more for rounding. */
static const format formats[] = {
    [FI_FLOAT32] = {FLT_MAX, 24, -126, 6.765},
    [FI_FLOAT64] = {DBL_MAX, 53, -1022, 8.653},
    [FI_FLOAT16] = {65504, 11, -14, 6.765},
    [FI_BFLOAT16] = {0x1.FEp127, 8, -126, 6.765},
};

static int valid_dtype(fi_dtype dtype) { return (unsigned)dtype < sizeof formats / sizeof *formats; }

/* The nearest value of the format that is not below x, |x| <= largest. */
static double round_up(double x, const format *f)
{
    int exponent;
    if (x == 0 || f->precision == 53)
        return x + 0.0; /* -0 becomes +0 */
    frexp(x, &exponent);
    exponent -= 1;
    const int quantum = (exponent > f->lowest_exponent ? exponent : f->lowest_exponent) - (f->precision - 1);
    return ldexp(ceil(ldexp(x, -quantum)), quantum) + 0.0;
}

static double round_down(double x, const format *f) { return -round_up(-x, f) + 0.0; }

static double clip(double x, double bound) { return x > bound ? bound : x < -bound ? -bound : x; }

/* Bounds of the output, rounded inward: no output is outside [low, high]. */
static fi_status set_bounds(fi_distribution *d, const format *f, double low, double high)
{
    d->low = round_up(clip(low, f->largest), f);
    d->high = round_down(clip(high, f->largest), f);
    return d->low <= d->high ? FI_OK : FI_ERR_EMPTY;
}

static fi_status normal(fi_distribution *d, fi_dtype dtype, double mean, double stddev)
{
    if (!isfinite(mean))
        return FI_ERR_MEAN;
    if (!(stddev >= 0 && isfinite(stddev)))
        return FI_ERR_STDDEV;
    if (!(fabs(mean) + formats[dtype].reach * stddev <= formats[dtype].largest))
        return FI_ERR_OVERFLOW;
    *d = (fi_distribution){.law = FI_LAW_NORMAL, .dtype = (int32_t)dtype, .base = mean, .scale = stddev};
    return FI_OK;
}

static fi_status uniform(fi_distribution *d, fi_dtype dtype, double low, double high)
{
    if (!(low <= high))
        return FI_ERR_BOUNDS;
    const format *f = &formats[dtype];
    if (!(fabs(low) <= f->largest && fabs(high) <= f->largest && high - low <= f->largest))
        return FI_ERR_OVERFLOW;
    if (low == high)
        return normal(d, dtype, low, 0);
    *d = (fi_distribution){.law = FI_LAW_UNIFORM, .dtype = (int32_t)dtype, .base = low, .scale = high - low};
    return set_bounds(d, f, low, high);
}

/* Choose the proposal for the standardised interval [a, b], reflected so that
 * b > 0, by comparisons of exactly rounded expressions: every platform chooses
 * the same. Acceptance is at least 0.478 everywhere (at a = 1.5, the narrowest tail). */
static void choose_proposal(fi_distribution *d, double a, double b)
{
    const double width = b - a;
    const double sqrt_2pi = 2.5066282746310002;  /* wider than this, the normal accepts more often than the uniform */
    const double log_ratio = 0.7793248768009977; /* ln 2.18: density falls less than this, the uniform accepts >= 0.68 */
    const int across = a < 0;
    if (across ? width < sqrt_2pi : width * (a + b) / 2 <= log_ratio) {
        d->law = FI_LAW_NARROW;
        d->scale *= width;
        d->p[0] = 2 * a * width;
        d->p[1] = width * width;
        d->p[2] = across ? a * a : 0;
    } else if (across || a < 0.25) {
        d->law = across ? FI_LAW_TRUNCATED : FI_LAW_HALF;
        d->p[0] = a;
        d->p[1] = b;
    } else if (a < 1.5) {
        const double rate = (a + sqrt(a * a + 4)) / 2; /* Robert (1995), the best exponential rate */
        d->law = FI_LAW_EXPONENTIAL;
        d->p[0] = 1 / (2 * rate);
        d->p[1] = rate - a;
        d->p[2] = width;
    } else {
        d->law = FI_LAW_TAIL;
        d->scale /= a; /* the tail's own scale: neither a nor 1 / a need fit the real type */
        d->p[1] = 1 / a / a;
        d->p[2] = width * a;
    }
}

/* No accepted |z| of the proposal is larger; `reach` is sqrt(max r2). */
static double largest_candidate(const fi_distribution *d, double reach)
{
    switch (d->law) {
    case FI_LAW_NARROW:
        return 1;
    case FI_LAW_EXPONENTIAL:
        return reach + d->p[1];
    case FI_LAW_TAIL:
        return reach * reach / 2;
    default:
        return fmin(reach, fmax(fabs(d->p[0]), fabs(d->p[1])));
    }
}

/* Whether all outputs are finite in the dtype, and so are the steps that lead to them in the real type. */
static int in_range(const fi_distribution *d, const format *f, double low, double high)
{
    const double reach = largest_candidate(d, f->reach) * fabs(d->scale);
    const double real_largest = d->dtype == FI_FLOAT64 ? DBL_MAX : FLT_MAX;
    return fabs(d->base) <= real_largest && fabs(d->scale) <= real_largest && reach <= real_largest &&
           fmax(low, d->base - reach) >= -f->largest && fmin(high, d->base + reach) <= f->largest;
}

static fi_status truncated_normal(fi_distribution *d, fi_dtype dtype, double mean, double stddev, double lower, double upper)
{
    if (!isfinite(mean))
        return FI_ERR_MEAN;
    if (!(stddev >= 0 && isfinite(stddev)))
        return FI_ERR_STDDEV;
    if (!(lower < upper))
        return FI_ERR_BOUNDS;
    if (stddev == 0)
        return normal(d, dtype, mean, 0);

    const format *f = &formats[dtype];
    const int reflect = upper <= 0;
    const double a = reflect ? -upper : lower, b = reflect ? -lower : upper;
    const double low = mean + stddev * lower, high = mean + stddev * upper;
    *d = (fi_distribution){.dtype = (int32_t)dtype, .scale = reflect ? -stddev : stddev};
    choose_proposal(d, a, b);
    d->base = d->law == FI_LAW_TRUNCATED || d->law == FI_LAW_HALF ? mean : reflect ? high : low;
    if (!in_range(d, f, low, high))
        return FI_ERR_OVERFLOW;
    return set_bounds(d, f, low, high);
}

/* What the three public functions do around their work. */
static fi_status begin(fi_distribution *d, fi_dtype dtype, fp_state *saved)
{
    if (!d)
        return FI_ERR_NULL;
    d->law = FI_LAW_COUNT; /* until it is prepared */
    if (!valid_dtype(dtype))
        return FI_ERR_DTYPE;
    *saved = enter_fp();
    return FI_OK;
}

static fi_status end(fi_distribution *d, fi_status status, fp_state saved)
{
    leave_fp(saved);
    if (status != FI_OK)
        d->law = FI_LAW_COUNT;
    return status;
}

fi_status fi_uniform(fi_distribution *d, fi_dtype dtype, double low, double high)
{
    fp_state saved;
    const fi_status status = begin(d, dtype, &saved);
    return status == FI_OK ? end(d, uniform(d, dtype, low, high), saved) : status;
}

fi_status fi_normal(fi_distribution *d, fi_dtype dtype, double mean, double stddev)
{
    fp_state saved;
    const fi_status status = begin(d, dtype, &saved);
    return status == FI_OK ? end(d, normal(d, dtype, mean, stddev), saved) : status;
}

fi_status fi_truncated_normal(fi_distribution *d, fi_dtype dtype, double mean, double stddev, double lower, double upper)
{
    fp_state saved;
    const fi_status status = begin(d, dtype, &saved);
    return status == FI_OK ? end(d, truncated_normal(d, dtype, mean, stddev, lower, upper), saved) : status;
}
