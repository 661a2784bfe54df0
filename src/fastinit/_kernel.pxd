"""The C interface for other Cython code, without the GIL.

Names, arguments and meaning are those of fastinit.h, which must be on the
include path (``fastinit.get_include()``). The functions are looked up in this
module at import, so nothing else has to be linked.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "fastinit.h" nogil:
    int FI_STREAM_VERSION

    ctypedef enum fi_status:
        FI_OK
        FI_ERR_NULL
        FI_ERR_DTYPE
        FI_ERR_MEAN
        FI_ERR_STDDEV
        FI_ERR_BOUNDS
        FI_ERR_OVERFLOW
        FI_ERR_EMPTY
        FI_ERR_INDEX
        FI_ERR_UNPREPARED
        FI_ERR_ISA

    ctypedef enum fi_dtype:
        FI_FLOAT32
        FI_FLOAT64
        FI_FLOAT16
        FI_BFLOAT16
        FI_FLOAT8_E4M3FN
        FI_FLOAT8_E5M2

    ctypedef struct fi_distribution:
        pass

    ctypedef struct fi_region:
        size_t ndim
        const uint64_t *count
        const int64_t *index_step
        const int64_t *out_step
        uint64_t index


cdef fi_status fi_uniform(
    fi_distribution *d, fi_dtype dtype, double low, double high) noexcept nogil
cdef fi_status fi_normal(
    fi_distribution *d, fi_dtype dtype, double mean, double stddev) noexcept nogil
cdef fi_status fi_truncated_normal(
    fi_distribution *d, fi_dtype dtype, double mean, double stddev,
    double lower, double upper) noexcept nogil
cdef fi_status fi_fill(
    const fi_distribution *d, uint64_t key, uint64_t index, uint64_t n, void *out) noexcept nogil
cdef fi_status fi_fill_region(
    const fi_distribution *d, uint64_t key, const fi_region *region,
    uint64_t first, uint64_t n, void *out) noexcept nogil
cdef fi_status fi_random_words(
    uint64_t key, uint64_t offset, uint64_t n, uint32_t *out) noexcept nogil
cdef uint64_t fi_stream_key(uint64_t seed, const void *name, size_t length) noexcept nogil
cdef const char *fi_status_message(fi_status status) noexcept nogil
cdef const char *fi_isa() noexcept nogil
cdef const char *fi_available_isa(size_t i) noexcept nogil
cdef fi_status fi_set_isa(const char *name) noexcept nogil
