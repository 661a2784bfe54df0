/* What each status says. */
#include "internal.h"

const char *fi_status_message(fi_status status)
{
    static const char *const messages[] = {
        [FI_OK] = "success",
        [FI_ERR_NULL] = "a pointer is NULL",
        [FI_ERR_DTYPE] = "unknown dtype",
        [FI_ERR_MEAN] = "the mean must be finite",
        [FI_ERR_STDDEV] = "the standard deviation must be finite and not negative",
        [FI_ERR_BOUNDS] = "the lower bound must be below the upper bound",
        [FI_ERR_OVERFLOW] = "values could exceed the largest finite number of the dtype",
        [FI_ERR_EMPTY] = "the dtype has no value between the bounds",
        [FI_ERR_INDEX] = "elements beyond the last index, or a region of bad rank or size",
        [FI_ERR_UNPREPARED] = "the distribution was not prepared",
        [FI_ERR_ISA] = "unknown instruction set, or this machine cannot run it",
    };
    return (unsigned)status < sizeof messages / sizeof *messages ? messages[status] : "unknown status";
}
