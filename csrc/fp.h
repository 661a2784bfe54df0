/* The floating-point environment: results must not depend on the caller's rounding mode, flush-to-zero flags or
 * trapped exceptions, which some frameworks set. Work under the default and put theirs back, with the exception flags.
 *
 * Compilers may move arithmetic past these: what needs it goes into functions that are not inlined. */
#ifndef FASTINIT_FP_H
#define FASTINIT_FP_H

/* 32-bit x86 has two environments, of SSE and of x87, by which its libm computes: those of <fenv.h> are both. */
#if defined(FASTINIT_X86) && !defined(__i386__)
#include <xmmintrin.h>
typedef unsigned fp_state;
static inline fp_state enter_fp(void)
{
    const fp_state saved = _mm_getcsr();
    _mm_setcsr(0x1F80); /* all exceptions masked, nearest even, no flushing */
    return saved;
}
static inline void leave_fp(fp_state saved) { _mm_setcsr(saved); }
#elif defined(FASTINIT_AARCH64)
typedef struct {
    uint64_t control, status;
} fp_state;
static inline fp_state enter_fp(void)
{
    fp_state saved;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(saved.control), "=r"(saved.status) : : "memory");
    __asm__ volatile("msr fpcr, %0" : : "r"(UINT64_C(0)) : "memory");
    return saved;
}
static inline void leave_fp(fp_state saved)
{
    __asm__ volatile("msr fpsr, %1\n\tmsr fpcr, %0" : : "r"(saved.control), "r"(saved.status) : "memory");
}
#else
#include <fenv.h>
typedef fenv_t fp_state;
static inline fp_state enter_fp(void)
{
    fp_state saved;
    fegetenv(&saved);
    fesetenv(FE_DFL_ENV); /* the rounding mode alone would leave 32-bit ARM flushing */
    return saved;
}
static inline void leave_fp(fp_state saved) { fesetenv(&saved); }
#endif

#endif
