/* What each status says. */
#include "internal.h"

const char *fastinit_status_message(fastinit_status status)
{
    static const char *const messages[] = {
        [FASTINIT_OK] = "success",
        [FASTINIT_ERR_NULL] = "a pointer is NULL",
        [FASTINIT_ERR_DTYPE] = "unknown dtype",
        [FASTINIT_ERR_MEAN] = "the mean must be finite",
        [FASTINIT_ERR_STDDEV] = "the standard deviation must be finite and not negative",
        [FASTINIT_ERR_BOUNDS] = "the lower bound must be below the upper bound",
        [FASTINIT_ERR_OVERFLOW] = "values could exceed the largest finite number of the dtype",
        [FASTINIT_ERR_EMPTY] = "the dtype has no value between the bounds",
        [FASTINIT_ERR_INDEX] = "elements beyond the last index, or a region of bad rank or size",
        [FASTINIT_ERR_UNPREPARED] = "the distribution was not prepared",
        [FASTINIT_ERR_BUILD] = "this build computes other bits than the stream format defines: its compiler options change arithmetic",
        [FASTINIT_ERR_ISA] = "unknown instruction set, or this machine cannot run it",
    };
    return (unsigned)status < sizeof messages / sizeof *messages ? messages[status] : "unknown status";
}
