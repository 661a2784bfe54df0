# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
"""The C kernel over memory of Python objects: check, release the GIL, one C call."""

import functools

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    enum:
        WAIT_LOCK
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait)
    void PyThread_release_lock(PyThread_type_lock lock)

cdef extern from "fastinit.h" nogil:
    fastinit_status c_uniform "fastinit_uniform"(
        fastinit_distribution *d, fastinit_dtype dtype, double low, double high)
    fastinit_status c_normal "fastinit_normal"(
        fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev)
    fastinit_status c_truncated_normal "fastinit_truncated_normal"(
        fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev,
        double lower, double upper)
    fastinit_status c_fill "fastinit_fill"(
        const fastinit_distribution *d, uint64_t key, uint64_t index, uint64_t n, void *out)
    fastinit_status c_fill_region "fastinit_fill_region"(
        const fastinit_distribution *d, uint64_t key, const fastinit_region *region,
        uint64_t first, uint64_t n, void *out)
    fastinit_status c_random_words "fastinit_random_words"(
        uint64_t key, uint64_t offset, uint64_t n, uint32_t *out)
    uint64_t c_stream_key "fastinit_stream_key"(uint64_t seed, const void *name, size_t length)
    const char *c_status_message "fastinit_status_message"(fastinit_status status)
    const char *c_isa "fastinit_isa"()
    const char *c_available_isa "fastinit_available_isa"(size_t i)
    fastinit_status c_set_isa "fastinit_set_isa"(const char *name)


cdef extern from "internal.h" nogil:
    ctypedef struct fastinit_moments:
        double sum, squares, low, high
    ctypedef struct fastinit_tier:
        void (**add_moments)(
            const void *items, size_t n, double scale, double center, fastinit_moments *m) nogil
    const fastinit_tier *fastinit_current_tier()

cdef extern from "fp.h" nogil:
    ctypedef struct fp_state:
        pass
    fp_state enter_fp()
    void leave_fp(fp_state saved)


cdef fastinit_status fastinit_uniform(
        fastinit_distribution *d, fastinit_dtype dtype, double low, double high) noexcept nogil:
    return c_uniform(d, dtype, low, high)


cdef fastinit_status fastinit_normal(
        fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev) noexcept nogil:
    return c_normal(d, dtype, mean, stddev)


cdef fastinit_status fastinit_truncated_normal(
        fastinit_distribution *d, fastinit_dtype dtype, double mean, double stddev,
        double lower, double upper) noexcept nogil:
    return c_truncated_normal(d, dtype, mean, stddev, lower, upper)


cdef fastinit_status fastinit_fill(
        const fastinit_distribution *d, uint64_t key, uint64_t index, uint64_t n,
        void *out) noexcept nogil:
    return c_fill(d, key, index, n, out)


cdef fastinit_status fastinit_fill_region(
        const fastinit_distribution *d, uint64_t key, const fastinit_region *region,
        uint64_t first, uint64_t n, void *out) noexcept nogil:
    return c_fill_region(d, key, region, first, n, out)


cdef fastinit_status fastinit_random_words(
        uint64_t key, uint64_t offset, uint64_t n, uint32_t *out) noexcept nogil:
    return c_random_words(key, offset, n, out)


cdef uint64_t fastinit_stream_key(uint64_t seed, const void *name, size_t length) noexcept nogil:
    return c_stream_key(seed, name, length)


cdef const char *fastinit_status_message(fastinit_status status) noexcept nogil:
    return c_status_message(status)


cdef const char *fastinit_isa() noexcept nogil:
    return c_isa()


cdef const char *fastinit_available_isa(size_t i) noexcept nogil:
    return c_available_isa(i)


cdef fastinit_status fastinit_set_isa(const char *name) noexcept nogil:
    return c_set_isa(name)


STREAM_VERSION = FASTINIT_STREAM_VERSION

cdef dict DTYPES = {
    "float32": (FASTINIT_FLOAT32, 4),
    "float64": (FASTINIT_FLOAT64, 8),
    "float16": (FASTINIT_FLOAT16, 2),
    "bfloat16": (FASTINIT_BFLOAT16, 2),
    "float8_e4m3fn": (FASTINIT_FLOAT8_E4M3FN, 1),
    "float8_e5m2": (FASTINIT_FLOAT8_E5M2, 1),
}

DTYPE_SIZES = {name: size for name, (_, size) in DTYPES.items()}  # bytes


# How the error begins where the dtype has no value between the bounds.
NO_VALUE = c_status_message(FASTINIT_ERR_EMPTY).decode()


cdef check(fastinit_status status, what):
    if status != FASTINIT_OK:
        raise ValueError(f"{c_status_message(status).decode()}: {what}")


cdef class Distribution:
    """A prepared distribution of one dtype; immutable."""
    cdef fastinit_distribution value
    cdef Py_ssize_t itemsize
    cdef str text

    def __repr__(self):
        return self.text


cdef Distribution prepare(str dtype, str text):
    cdef Distribution d = Distribution.__new__(Distribution)
    d.itemsize = DTYPES[dtype][1]
    d.text = text
    return d


def uniform(str dtype, double low, double high):
    d = prepare(dtype, f"uniform in {dtype} with low={low}, high={high}")
    check(c_uniform(&d.value, DTYPES[dtype][0], low, high), d)
    return d


def normal(str dtype, double mean, double stddev):
    what = f"normal in {dtype} with mean={mean}, stddev={stddev}"
    d = prepare(dtype, what if stddev != 0 else f"constant {mean} in {dtype}")
    check(c_normal(&d.value, DTYPES[dtype][0], mean, stddev), d)
    return d


def truncated_normal(str dtype, double mean, double stddev, double lower, double upper):
    d = prepare(dtype, f"truncated normal in {dtype} with mean={mean}, stddev={stddev}, "
                       f"lower={lower}, upper={upper}")
    cdef fastinit_dtype code = DTYPES[dtype][0]
    check(c_truncated_normal(&d.value, code, mean, stddev, lower, upper), d)
    return d


def fill(Distribution d not None, uint64_t key, uint64_t index, out, uint64_t start, uint64_t n):
    """Write elements [index, index + n) to the items [start, start + n) of a C-contiguous array.

    The array must be of the distribution's dtype, which is not checked here. A plain buffer, not a
    typed memoryview: that costs a small fill half its time, and NumPy gives none of bfloat16.
    """
    cdef Py_buffer memory
    cdef fastinit_status status
    cdef uint64_t items, itemsize = <uint64_t>d.itemsize
    if itemsize == 0:
        raise ValueError("the distribution is not prepared")
    PyObject_GetBuffer(out, &memory, PyBUF_WRITABLE)
    try:
        items = <uint64_t>memory.len // itemsize
        if start > items or n > items - start:
            raise ValueError(f"{n} items from {start} on do not lie in a memory of {items}")
        if n == 0:
            return
        with nogil:
            status = c_fill(&d.value, key, index, n, <char *>memory.buf + start * itemsize)
    finally:
        PyBuffer_Release(&memory)
    if status != FASTINIT_OK:
        check(status, f"{n} elements from index {index} on")


cdef class Region:
    """Where the positions of a box of elements lie in `memory`; see fastinit_region."""
    cdef fastinit_region value
    cdef unsigned char[::1] memory
    cdef Py_ssize_t offset
    cdef const uint64_t[::1] count
    cdef const int64_t[::1] index_step, out_step
    cdef object lowest, highest  # of the bytes written; Python ints, which do not overflow

    def __init__(self, const uint64_t[::1] count not None, const int64_t[::1] index_step not None,
                 const int64_t[::1] out_step not None, uint64_t index,
                 unsigned char[::1] memory not None, Py_ssize_t offset):
        cdef Py_ssize_t k
        if not 0 < count.shape[0] == index_step.shape[0] == out_step.shape[0]:
            raise ValueError("count, index_step and out_step must have one length, at least 1")
        self.count, self.index_step, self.out_step = count, index_step, out_step
        self.memory, self.offset = memory, offset
        self.value.ndim = <size_t>count.shape[0]
        self.value.count = &self.count[0]
        self.value.index_step = &self.index_step[0]
        self.value.out_step = &self.out_step[0]
        self.value.index = index
        self.lowest = self.highest = offset
        for k in range(count.shape[0]):
            if count[k] < 1:
                raise ValueError("count must be positive")
            extent = (<object>count[k] - 1) * <object>out_step[k]
            if extent < 0:
                self.lowest += extent
            else:
                self.highest += extent


def fill_region(Distribution d not None, uint64_t key, Region region not None,
                uint64_t first, uint64_t n):
    """Write the positions [first, first + n) of a region."""
    cdef fastinit_status status
    if n == 0:
        return
    if region.lowest < 0 or region.highest + d.itemsize > region.memory.shape[0]:
        raise ValueError(f"bytes [{region.lowest}, {region.highest + d.itemsize}) do not lie in "
                         f"a memory of {region.memory.shape[0]}")
    with nogil:
        status = c_fill_region(&d.value, key, &region.value, first, n,
                               &region.memory[0] + region.offset)
    check(status, f"{n} positions of a region of {region.value.ndim} dimensions")


def add_moments(str dtype not None, const unsigned char[::1] items not None, double scale,
                double center, double[::1] moments not None):
    """Add elements x to `moments`: sums of y - center and of its square, extremes of y = scale x.

    `scale` is a power of two; sums keep six digits.
    """
    cdef size_t n = <size_t>items.shape[0] // <size_t>DTYPE_SIZES[dtype]
    cdef fastinit_dtype code = DTYPES[dtype][0]
    cdef fastinit_moments *m
    cdef fp_state saved
    if moments.shape[0] != 4:
        raise ValueError(f"moments must be of 4 numbers, got {moments.shape[0]}")
    if n == 0:
        return
    m = <fastinit_moments *>&moments[0]
    with nogil:
        saved = enter_fp()
        fastinit_current_tier().add_moments[<int>code](&items[0], n, scale, center, m)
        leave_fp(saved)


def random_words(uint64_t key, uint64_t offset, uint32_t[::1] out not None):
    """Raw Philox words from `offset` on."""
    cdef fastinit_status status
    if out.shape[0] == 0:
        return
    with nogil:
        status = c_random_words(key, offset, <uint64_t>out.shape[0], &out[0])
    check(status, f"{out.shape[0]} words from offset {offset} on")


def stream_key(uint64_t seed, bytes name not None):
    """The key of a seed and a stream name."""
    return c_stream_key(seed, <const char *>name, <size_t>len(name))


def isa():
    return c_isa().decode()


def available_isas():
    names = []
    while c_available_isa(<size_t>len(names)) is not NULL:
        names.append(c_available_isa(<size_t>len(names)).decode())
    return tuple(names)


def set_isa(str name not None):
    check(c_set_isa(name.encode()), name)


def in_default_arithmetic(function):
    """Decorator: the function computes in the default floating-point environment.

    Python's own arithmetic, and its conversions of text, would follow the caller's rounding mode;
    where subnormal numbers count as zero, caches would mix up different initializers.
    """
    def run(*args, **kwargs):
        cdef fp_state saved = enter_fp()
        try:
            return function(*args, **kwargs)
        finally:
            leave_fp(saved)
    return functools.update_wrapper(run, function)


cdef class Turn:
    """Calls functions, one at a time.

    Unlike a lock of Python's it needs no memory to be let go, no interrupt comes between a call and
    that, and waiting for it is not interrupted.
    """
    cdef PyThread_type_lock lock

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock is NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.lock is not NULL:
            PyThread_free_lock(self.lock)

    cdef void take(self) noexcept:
        with nogil:
            PyThread_acquire_lock(self.lock, WAIT_LOCK)

    cdef void end(self) noexcept:
        PyThread_release_lock(self.lock)

    def __call__(self, function, *args):
        self.take()
        try:
            return function(*args)
        finally:
            self.end()


def help_out(Turn turn not None, work, list going not None, list errors not None):
    """What a helper's thread does: `work()` while it has its turn, an error to the list.

    In Python, an exception that another thread sets could come before anything is there to catch
    it.
    """
    turn.take()
    try:
        work()
    except BaseException as error:
        going[0] = False
        errors.append(error)
    finally:
        turn.end()


def run_then_wait(run, list going not None, list turns not None):
    """Call `run()`; then end ``going[0]``, which stops helpers, and wait for `turns`.

    In Python, an interrupt could come between any two instructions and end the wait.
    """
    cdef Turn turn
    if None in turns:
        raise TypeError("turns must be of Turn, got None")
    try:
        run()
    finally:
        going[0] = False
        for turn in turns:
            turn.take()
            turn.end()
