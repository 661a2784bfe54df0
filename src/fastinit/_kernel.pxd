"""The C interface for other Cython code, without the GIL.

Names, arguments and meaning are those of fastinit.h, which must be on the
include path (``fastinit.get_include()``). The functions are looked up in this
module at import, so nothing else has to be linked.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "fastinit.h" nogil:
    int FASTINIT_STREAM_VERSION

    ctypedef enum fastinit_status:
        FASTINIT_OK
        FASTINIT_ERR_NULL
        FASTINIT_ERR_DTYPE
        FASTINIT_ERR_MEAN
        FASTINIT_ERR_STDDEV
        FASTINIT_ERR_BOUNDS
        FASTINIT_ERR_OVERFLOW
        FASTINIT_ERR_EMPTY
        FASTINIT_ERR_INDEX
        FASTINIT_ERR_UNPREPARED
        FASTINIT_ERR_ISA
        FASTINIT_ERR_BUILD

    ctypedef enum fastinit_dtype:
        FASTINIT_FLOAT32
        FASTINIT_FLOAT64
        FASTINIT_FLOAT16
        FASTINIT_BFLOAT16
        FASTINIT_FLOAT8_E4M3FN
        FASTINIT_FLOAT8_E5M2

    ctypedef struct fastinit_distribution:
        pass

    ctypedef struct fastinit_region:
        size_t ndim
        const uint64_t *count
        const int64_t *index_step
        const int64_t *out_step
        uint64_t index


cdef fastinit_status fastinit_uniform(
    fastinit_distribution *d, fastinit_dtype dtype, double low, double high) noexcept nogil
cdef fastinit_status fastinit_normal(
    fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev) noexcept nogil
cdef fastinit_status fastinit_truncated_normal(
    fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev,
    double lower, double upper) noexcept nogil
cdef fastinit_status fastinit_fill(
    const fastinit_distribution *d, uint64_t key, uint64_t index, uint64_t n,
    void *out) noexcept nogil
cdef fastinit_status fastinit_fill_region(
    const fastinit_distribution *d, uint64_t key, const fastinit_region *region,
    uint64_t first, uint64_t n, void *out) noexcept nogil
cdef fastinit_status fastinit_random_words(
    uint64_t key, uint64_t offset, uint64_t n, uint32_t *out) noexcept nogil
cdef uint64_t fastinit_stream_key(uint64_t seed, const void *name, size_t length) noexcept nogil
cdef const char *fastinit_status_message(fastinit_status status) noexcept nogil
cdef const char *fastinit_isa() noexcept nogil
cdef const char *fastinit_available_isa(size_t i) noexcept nogil
cdef fastinit_status fastinit_set_isa(const char *name) noexcept nogil
