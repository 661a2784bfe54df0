/* The features that each instruction set requires of the CPU and of the operating system, on x86. A simulated CPU lacks
 * one feature at a time, so a real one that lacks it is not needed. Builds without the kernel:
 *
 *     cc -std=c11 -Isrc/fastinit/include tests/c/test_dispatch.c -o test_dispatch && ./test_dispatch
 */
#include <cpuid.h>
#include <stdio.h>

/* The registers of the simulated CPU, and whether it may be asked for XCR0: without OSXSAVE, xgetbv traps. */
static unsigned leaf1_ecx, leaf1_edx, leaf7_ebx, xcr0_bits, highest_leaf;
static int failed;

static int simulated_cpuid(unsigned leaf, unsigned subleaf, unsigned *eax, unsigned *ebx, unsigned *ecx, unsigned *edx)
{
    *eax = *ebx = *ecx = *edx = 0;
    if (leaf > highest_leaf)
        return 0;
    if (leaf == 1)
        *ecx = leaf1_ecx, *edx = leaf1_edx;
    if (leaf == 7 && subleaf == 0)
        *ebx = leaf7_ebx;
    return 1;
}

static unsigned long long simulated_xcr0(void)
{
    if (!(leaf1_ecx & 1u << 27)) {
        printf("FAILED: xgetbv without OSXSAVE\n");
        failed++;
    }
    return xcr0_bits;
}

/* dispatch.c defines xcr0(void) and calls xcr0(): only the calls come here. */
#define __get_cpuid_count simulated_cpuid
#define xcr0(parameters)  XCR0_##parameters
#define XCR0_void         __attribute__((unused)) real_xcr0(void)
#define XCR0_             simulated_xcr0()
#include "../../csrc/dispatch.c"

const fastinit_tier fastinit_tier_scalar = {.name = "scalar"}, fastinit_tier_sse2 = {.name = "sse2"}, fastinit_tier_avx2 = {.name = "avx2"},
                    fastinit_tier_avx512 = {.name = "avx512"};

/* Intel, Software Developer's Manual, volume 2A, CPUID; volume 1, 13.3, XCR0. Without a feature, `left` is what remains. */
static const struct {
    const char *name;
    unsigned *where, bit;
    const char *left;
} features[] = {
    {"SSE2", &leaf1_edx, 26, "avx512 avx2 scalar "},
    {"POPCNT", &leaf1_ecx, 23, "sse2 scalar "},
    {"OSXSAVE", &leaf1_ecx, 27, "sse2 scalar "},
    {"AVX", &leaf1_ecx, 28, "sse2 scalar "},
    {"F16C", &leaf1_ecx, 29, "sse2 scalar "},
    {"BMI1", &leaf7_ebx, 3, "sse2 scalar "},
    {"AVX2", &leaf7_ebx, 5, "sse2 scalar "},
    {"AVX512F", &leaf7_ebx, 16, "avx2 sse2 scalar "},
    {"AVX512DQ", &leaf7_ebx, 17, "avx2 sse2 scalar "},
    {"AVX512BW", &leaf7_ebx, 30, "avx2 sse2 scalar "},
    {"AVX512VL", &leaf7_ebx, 31, "avx2 sse2 scalar "},
    {"XMM state", &xcr0_bits, 1, "sse2 scalar "},
    {"YMM state", &xcr0_bits, 2, "sse2 scalar "},
    {"mask state", &xcr0_bits, 5, "avx2 sse2 scalar "},
    {"ZMM_Hi256 state", &xcr0_bits, 6, "avx2 sse2 scalar "},
    {"Hi16_ZMM state", &xcr0_bits, 7, "avx2 sse2 scalar "},
};
enum { FEATURES = sizeof features / sizeof *features };

static void check(const char *missing, const char *expected)
{
    static const char *const names[] = {"avx512", "avx2", "sse2", "scalar"};
    char got[64] = "";
    const char *name;
    for (size_t i = 0; (name = fastinit_available_isa(i)) != NULL; i++)
        strcat(strcat(got, name), " ");
    int same = strcmp(got, expected) == 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        same &= (fastinit_set_isa(names[i]) == FASTINIT_OK) == (strstr(expected, names[i]) != NULL);
    if (!same)
        printf("FAILED: without %s: expected %s, got %s\n", missing, expected, got);
    failed += !same;
}

int main(void)
{
    for (int i = -1; i < FEATURES; i++) {
        highest_leaf = 7;
        leaf1_ecx = leaf1_edx = leaf7_ebx = xcr0_bits = 0;
        for (int j = 0; j < FEATURES; j++)
            *features[j].where |= (unsigned)(i != j) << features[j].bit;
        check(i < 0 ? "nothing" : features[i].name, i < 0 ? "avx512 avx2 sse2 scalar " : features[i].left);
    }
    leaf1_ecx = leaf1_edx = leaf7_ebx = xcr0_bits = ~0u;
    highest_leaf = 1;
    check("leaf 7", "sse2 scalar ");
    highest_leaf = 0;
    check("leaf 1", "scalar ");
    printf("%d features, %d failed\n", FEATURES, failed);
    return failed != 0;
}
