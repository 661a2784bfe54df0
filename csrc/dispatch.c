/* Which tiers this build has, which the CPU and the operating system can run, and which is in use. */
#include <stdatomic.h>

#include "internal.h"

#if defined(FASTINIT_X86)
#if defined(_MSC_VER)
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned r[4])
{
    int v[4];
    __cpuid(v, 0);
    if ((unsigned)v[0] < leaf)
        memset(v, 0, sizeof v);
    else
        __cpuidex(v, (int)leaf, (int)sub);
    memcpy(r, v, sizeof v);
}
static uint64_t xcr0(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned r[4])
{
    if (!__get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3]))
        memset(r, 0, 4 * sizeof *r);
}
static uint64_t xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

enum { EAX, EBX, ECX, EDX };

static int has_bits(uint64_t word, uint64_t bits) { return (word & bits) == bits; }

/* Registers that the operating system saves: 2 + 4 for xmm and ymm, 0xE0 for masks and zmm. */
static int os_saves(uint64_t states)
{
    unsigned r[4];
    cpuid(1, 0, r);
    return has_bits(r[ECX], 1u << 27) && has_bits(xcr0(), states); /* OSXSAVE */
}

static int runs_sse2(void)
{
    unsigned r[4];
    cpuid(1, 0, r);
    return has_bits(r[EDX], 1u << 26);
}

static int runs_avx2(void)
{
    unsigned one[4], seven[4];
    cpuid(1, 0, one);
    cpuid(7, 0, seven);
    return os_saves(0x06) && has_bits(one[ECX], 1u << 23 | 1u << 28 | 1u << 29) /* POPCNT, AVX, F16C */
           && has_bits(seven[EBX], 1u << 3 | 1u << 5);                          /* BMI1, AVX2 */
}

static int runs_avx512(void)
{
    unsigned r[4];
    cpuid(7, 0, r);
    return runs_avx2() && os_saves(0xE6) && has_bits(r[EBX], 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31); /* F, DQ, BW, VL */
}
#endif

static int always(void) { return 1; }

/* Widest first: the first one that runs is the default. */
static const struct {
    const fastinit_tier *tier;
    int (*runs)(void);
} tiers[] = {
#if defined(FASTINIT_X86)
    {&fastinit_tier_avx512, runs_avx512},
    {&fastinit_tier_avx2, runs_avx2},
    {&fastinit_tier_sse2, runs_sse2},
#elif defined(FASTINIT_AARCH64)
    {&fastinit_tier_neon, always},
#endif
    {&fastinit_tier_scalar, always},
};
enum { TIERS = sizeof tiers / sizeof *tiers };

static _Atomic(const fastinit_tier *) current;

static const fastinit_tier *available(size_t i)
{
    for (size_t t = 0; t < TIERS; t++)
        if (tiers[t].runs() && i-- == 0)
            return tiers[t].tier;
    return NULL;
}

/* Threads that race here all store the same pointer. */
const fastinit_tier *fastinit_current_tier(void)
{
    const fastinit_tier *tier = atomic_load_explicit(&current, memory_order_relaxed);
    if (!tier) {
        tier = available(0);
        atomic_store_explicit(&current, tier, memory_order_relaxed);
    }
    return tier;
}

const char *fastinit_isa(void) { return fastinit_current_tier()->name; }

const char *fastinit_available_isa(size_t i)
{
    const fastinit_tier *tier = available(i);
    return tier ? tier->name : NULL;
}

fastinit_status fastinit_set_isa(const char *name)
{
    if (!name)
        return FASTINIT_ERR_NULL;
    for (size_t t = 0; t < TIERS; t++)
        if (strcmp(name, tiers[t].tier->name) == 0 && tiers[t].runs()) {
            atomic_store_explicit(&current, tiers[t].tier, memory_order_relaxed);
            return FASTINIT_OK;
        }
    return FASTINIT_ERR_ISA;
}
