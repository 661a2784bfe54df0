/* The floating-point environment: results must not depend on the caller's rounding mode or
 * flush-to-zero flags, which some frameworks set. Work under the default and put theirs back. */
#ifndef FI_FP_H
#define FI_FP_H

#if defined(FI_X86)
#include <xmmintrin.h>
typedef unsigned fp_state;
static inline fp_state enter_fp(void)
{
    const fp_state saved = _mm_getcsr();
    _mm_setcsr(0x1F80); /* all exceptions masked, nearest even, no flushing */
    return saved;
}
static inline void leave_fp(fp_state saved) { _mm_setcsr(saved); }
#elif defined(FI_AARCH64)
typedef uint64_t fp_state;
static inline fp_state enter_fp(void)
{
    fp_state saved;
    const fp_state standard = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(standard));
    return saved;
}
static inline void leave_fp(fp_state saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved)); }
#else
#include <fenv.h>
typedef fenv_t fp_state;
static inline fp_state enter_fp(void)
{
    fp_state saved;
    fegetenv(&saved);
    fesetenv(FE_DFL_ENV); /* the rounding mode alone would leave AArch32 flushing */
    return saved;
}
static inline void leave_fp(fp_state saved) { fesetenv(&saved); }
#endif

#endif
