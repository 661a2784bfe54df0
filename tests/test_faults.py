"""Interrupts, forks, exits, want of memory and guarded memory: right bits or a clean error, never a crash or a hang.

Where a process is at risk it is another one: `run` asserts that it ends in time, well, and without a word of complaint.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time

import pytest

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

#: What the programs below share. `expected` is made by one thread, without `share`.
PRELUDE = """
import ctypes, gc, os, signal, sys, threading, time, weakref
import numpy as np
import fastinit as fi
from fastinit import threads
N = 2**21
LAW = fi.TruncatedNormal(0, 1, lower=1, upper=9)
def fill(n=N, seed=0, **options):
    return LAW((n,), seed=seed, **options)
def same(a, b):
    return a.tobytes() == b.tobytes()
def expected(n=N, seed=0):
    return fill(n, seed, threads=1)
"""


def run(program: str, timeout: float = 600) -> str:
    """What a program prints that ends well, without anything on its standard error."""
    code = PRELUDE + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout
    )
    assert (done.returncode, done.stderr) == (0, ""), (done.returncode, done.stdout, done.stderr)
    return done.stdout


# Signals


@posix
def test_more_interrupts_do_not_end_the_wait_for_a_helper() -> None:
    """The caller is interrupted at a task, and three times while it waits: the helper's task is over all the same."""
    program = """
    at_work, ended = threading.Event(), []
    main = threading.main_thread()
    def task(i):
        if threading.current_thread() is main:
            at_work.wait()
            signal.raise_signal(signal.SIGINT)
            return
        at_work.set()
        for _ in range(3):
            time.sleep(0.1)
            signal.pthread_kill(main.ident, signal.SIGINT)
        time.sleep(0.1)
        ended.append(i)
    try:
        threads.share(task, 2, 2)
    except KeyboardInterrupt:
        print(len(ended))
    """
    assert run(program) == "1\n"


@posix
def test_a_storm_of_exceptions_from_a_timer() -> None:
    """A handler raises every 2 ms: after each of the fills that it stops, nobody writes to the array any more."""
    program = """
    class Alarm(Exception): pass
    armed = False
    def handler(*_):
        if armed:
            raise Alarm
    signal.signal(signal.SIGALRM, handler)
    want, stopped = expected(), 0
    out = np.empty_like(want)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    while stopped < 30:
        out.fill(7)
        try:
            armed = True
            LAW.fill(out, seed=0, threads=3)
            armed = False
        except Alarm:
            armed = False
            stopped += 1
            seen = out.copy()
            time.sleep(0.003)
            assert same(out, seen)
            assert ((out == want) | (out == 7)).all()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert same(fill(threads=3), want)
    print(stopped)
    """
    assert run(program) == "30\n"


@posix
def test_handlers_that_fill_during_fills() -> None:
    """1 kHz: re-entrant fills, and those that they interrupt, have the right bits."""
    program = """
    small, want, inner = expected(2**20, 5), expected(), []
    def handler(*_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        inner.append(same(fill(2**20, 5, threads=2), small))
        signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    outer = []
    while len(inner) < 50:
        outer.append(same(fill(threads=3), want))
    signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a handler that comes late would set it again
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(all(inner), all(outer))
    """
    assert run(program) == "True True\n"


@posix
def test_interrupt_while_another_thread_fills() -> None:
    """The main thread gets it, and the fill goes on to its end."""
    program = """
    made, want = [], expected(2**24)
    filler = threading.Thread(target=lambda: made.append(fill(2**24, threads=3)))
    filler.start()
    try:
        signal.raise_signal(signal.SIGINT)
        print("not interrupted")
    except KeyboardInterrupt:
        filler.join()
        print(same(made[0], want))
    """
    assert run(program) == "True\n"


@posix
def test_stopped_and_continued() -> None:
    program = (
        "want = expected()\nprint('ready', flush=True)\nprint(all(same(fill(threads=3, seed=0), "
        "want) for _ in range(30)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(5):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.02)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.02)
        assert process.communicate(timeout=600)[0] == "True\n"


def test_an_exception_set_from_outside_stops_the_fill() -> None:
    """PyThreadState_SetAsyncExc, as debuggers and test runners use it, at a thread within a fill."""
    program = """
    class Stop(BaseException): pass
    out, caught = np.zeros(2**25, np.float32), []
    fi.set_isa("scalar")  # a fill of seconds
    def work():
        try:
            LAW.fill(out, seed=0, threads=2)
        except Stop:
            caught.append(out.copy())
    worker = threading.Thread(target=work)
    worker.start()
    while not out[0]:
        time.sleep(0.001)
    ident, stop = ctypes.c_ulong(worker.ident), ctypes.py_object(Stop)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, stop) == 1
    worker.join()
    time.sleep(0.05)
    print(same(caught[0], out), 0 < np.count_nonzero(out) < out.size)
    """
    assert run(program) == "True True\n"


def test_a_fill_that_fails_lets_go_of_its_memory() -> None:
    """At once, and not when cycles are next collected: it may be most of the machine's memory."""
    program = """
    gc.disable()
    class Own(np.ndarray): pass
    def interrupted():
        out = np.empty(N, np.float32).view(Own)
        def task(i):
            out[i] = 1
            raise KeyboardInterrupt
        alive = weakref.ref(out)
        try:
            threads.share(task, 8, 3)
        except KeyboardInterrupt:
            pass
        return alive
    alive = interrupted()
    deadline = time.monotonic() + 10
    while alive() is not None and time.monotonic() < deadline:
        time.sleep(0.001)  # a helper that comes late
    print(alive() is None)
    """
    assert run(program) == "True\n"


# Processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forks_in_the_middle_of_fills_of_other_threads() -> None:
    """Children fill with threads of their own, right away."""
    program = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of any fork with threads
    stop, want, wrong = threading.Event(), expected(2**21), []
    def loop():
        while not stop.is_set():
            if not same(fill(2**21, threads=3), want):
                wrong.append(1)
    loops = [threading.Thread(target=loop) for _ in range(3)]
    for thread in loops:
        thread.start()
    codes = []
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os._exit(0 if same(fill(2**21, threads=3), want) else 1)
        codes.append(os.waitpid(child, 0)[1])
    stop.set()
    for thread in loops:
        thread.join()
    print(codes == [0] * 10, wrong)
    """
    assert run(program) == "True []\n"


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing(method: str, tmp_path: os.PathLike[str]) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this platform")
    path = os.path.join(tmp_path, "program.py")
    with open(path, "w") as file:
        file.write(
            textwrap.dedent(f"""
            import multiprocessing, warnings
            import fastinit as fi

            def make(seed):
                return fi.he_normal((1000, 1100), seed=seed, threads=3)

            if __name__ == "__main__":
                warnings.simplefilter("ignore", DeprecationWarning)
                want = [make(seed).tobytes() for seed in range(6)]
                with multiprocessing.get_context("{method}").Pool(3) as pool:
                    print([a.tobytes() for a in pool.map(make, range(6))] == want)
            """)
        )
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == ("True\n", "")


EXITS = {
    "daemon threads": """
        for _ in range(3):
            threading.Thread(target=loop, daemon=True).start()
        time.sleep(0.02)
        """,
    "sys.exit": """
        for _ in range(3):
            threading.Thread(target=loop, daemon=True).start()
        time.sleep(0.02)
        sys.exit(0)
        """,
    "thread": """
        made = []
        threading.Thread(target=lambda: print(same(fill(threads=3), want))).start()
        """,
    "pool": """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(4)
        pool.map(lambda seed: print(same(fill(threads=3), want)), range(1))
        pool.submit(fill, 2**23)
        """,
    "atexit": """
        import atexit
        atexit.register(lambda: print(same(fill(threads=3), want)))
        """,
    "atexit, daemon threads": """
        import atexit
        for _ in range(3):
            threading.Thread(target=loop, daemon=True).start()
        atexit.register(lambda: print(same(fill(threads=3), want)))
        """,
    "finalizer": """
        class Last: pass
        last = Last()
        weakref.finalize(last, lambda: print(same(fill(threads=3), want)))
        """,
    "global's __del__": """
        class Last:
            def __init__(self):
                self.fill, self.want = LAW, want
            def __del__(self, write=os.write, N=N):
                same = self.fill((N,), seed=0, threads=3).tobytes() == self.want.tobytes()
                write(1, b"True\\n" if same else b"False\\n")
        last = Last()
        """,
}


@pytest.mark.parametrize("kind", EXITS)
def test_exit_with_fills_under_way(kind: str) -> None:
    """Ends at once and well, several times over; what still runs its course is right."""
    if FREE_THREADED and "daemon" in EXITS[kind]:
        pytest.skip("free-threaded CPython 3.13 itself may hang where daemon threads start others")
    program = """
    want = expected()
    def loop():
        while True:
            fill(threads=3)
    """
    for _ in range(3):
        printed = run(textwrap.dedent(program) + textwrap.dedent(EXITS[kind]))
        assert printed == ("" if kind in ("daemon threads", "sys.exit") else "True\n")


# Threads


def test_32_threads_at_once_with_instruction_sets_switched_meanwhile() -> None:
    """Different dtypes, seeds and layouts, and eight threads on disjoint parts of one array."""
    program = """
    isas, stop = fi.available_isas(), threading.Event()
    dtypes = ("float32", "float64", "float16")
    laws = (fi.Uniform(), fi.Normal(), LAW, fi.he_normal)
    def make(k, out=None, threads=3):
        out = np.empty((1200, 700), dtypes[k % 3], order="CF"[k % 2]) if out is None else out
        return laws[k % 4].fill(out, seed=k, threads=threads)
    want = [make(k, threads=1) for k in range(24)]
    whole = expected()
    shared, bad = np.zeros(N, np.float32), []
    def part(k):
        index = slice(k * N // 8, (k + 1) * N // 8)
        LAW.fill(shared[index], seed=0, shape=(N,), index=index, threads=2)
    def work(k):
        for _ in range(3):
            if k < 24 and not same(make(k), want[k]):
                bad.append(k)
            if k >= 24:
                part(k - 24)
    def switch():
        while not stop.is_set():
            for isa in isas:
                fi.set_isa(isa)
                time.sleep(0.0005)
    sys.setswitchinterval(1e-6)
    switcher = threading.Thread(target=switch)
    workers = [threading.Thread(target=work, args=[k]) for k in range(32)]
    for thread in [switcher, *workers]:
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    switcher.join()
    print(bad, same(shared, whole))
    """
    assert run(program) == "[] True\n"


@linux
def test_affinity_that_changes_during_fills() -> None:
    program = """
    want, cpus = expected(), os.sched_getaffinity(0)
    stop, pid = threading.Event(), os.getpid()
    def flip():
        while not stop.is_set():
            for those in ({min(cpus)}, cpus):
                os.sched_setaffinity(pid, those)
                time.sleep(0.001)
    flipper = threading.Thread(target=flip)
    flipper.start()
    right = all(same(fill(), want) for _ in range(30))
    stop.set()
    flipper.join()
    os.sched_setaffinity(0, {min(cpus)})
    print(right, fi.get_num_threads())
    """
    assert run(program) == "True 1\n"


def test_memory_cannot_be_resized_or_closed_while_it_is_filled() -> None:
    """The kernel holds its buffer: bytearrays and memory maps refuse to change."""
    program = """
    import mmap
    fi.set_isa("scalar")
    for memory in (bytearray(2**25), mmap.mmap(-1, 2**25)):
        begun, refused = threading.Event(), []
        def work():
            begun.set()
            LAW.fill(np.frombuffer(memory, np.float32), seed=0, threads=2)
        worker = threading.Thread(target=work)
        worker.start()
        begun.wait()
        while not any(memory[:64]):
            pass
        while worker.is_alive():
            try:
                memory.extend(b"x") if isinstance(memory, bytearray) else memory.close()
            except BufferError:
                refused.append(1)
        worker.join()
        print(len(refused) > 0)
    """
    assert run(program) == "True\nTrue\n"


# Interpreters


@pytest.mark.skipif(
    not any(map(importlib.util.find_spec, ("_interpreters", "_xxsubinterpreters"))),
    reason="no module of sub-interpreters",
)
def test_sub_interpreters_refuse_the_import() -> None:
    """An ImportError in NumPy or in the kernel; the main interpreter goes on as before."""
    program = """
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    want = expected()
    code = "try:\\\\n    import fastinit\\\\n    print('imported')\\\\nexcept ImportError:\\\\n    print('refused')"
    kernel = ("try:\\\\n    from importlib.util import spec_from_file_location, module_from_spec\\\\n"
              "    spec = spec_from_file_location('fastinit._kernel', %r)\\\\n"
              "    spec.loader.exec_module(module_from_spec(spec))\\\\n"
              "    print('imported')\\\\nexcept ImportError:\\\\n    print('refused')") % fi._kernel.__file__
    for one in (code, kernel):
        made = interpreters.create()
        interpreters.run_string(made, "import warnings; warnings.simplefilter('ignore')\\\\n" + one)
        interpreters.destroy(made)
    print(same(fill(threads=3), want))
    """
    assert run(program.replace("\\\\", "\\")) == "refused\nrefused\nTrue\n"


@pytest.mark.skipif(not FREE_THREADED, reason="needs a free-threaded Python")
def test_the_gil_stays_off() -> None:
    program = """
    want = expected()
    assert not sys._is_gil_enabled()
    made = []
    workers = [threading.Thread(target=lambda: made.append(fill(threads=3))) for _ in range(16)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    print(all(same(a, want) for a in made), sys._is_gil_enabled())
    """
    assert run(program) == "True False\n"


# Want of memory


@linux
def test_an_array_beyond_the_address_space() -> None:
    """MemoryError, a hundred times over, and nothing is left of it."""
    program = """
    import resource
    want = expected()
    def in_use():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    fill(threads=3)  # stacks of threads are kept
    before, files = in_use(), os.listdir("/proc/self/fd")
    resource.setrlimit(resource.RLIMIT_AS, (before + 2**28, resource.getrlimit(resource.RLIMIT_AS)[1]))
    errors = 0
    for _ in range(100):
        try:
            fill(2**30)
        except MemoryError:
            errors += 1
    print(errors, in_use() - before < 2**22, os.listdir("/proc/self/fd") == files)
    print(same(fill(threads=3), want))
    """
    assert run(program) == "100 True True\nTrue\n"


@linux
def test_threads_refused_for_want_of_memory() -> None:
    """No room for a stack: the caller's thread does it all."""
    program = """
    import resource
    want, out = expected(), np.empty(N, np.float32)
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    threading.stack_size(2**26)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**24, limits[1]))
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        print("refused")
    LAW.fill(out, seed=0, threads=8)
    resource.setrlimit(resource.RLIMIT_AS, limits)
    print(same(out, want))
    """
    assert run(program) == "refused\nTrue\n"


#: Python alone, without NumPy and this package, where allocations fail in turn: CPython 3.13.0 crashes.
ALONE = """
import _testcapi
def call():
    return [str(i) for i in range(40)], dict(a=1), (lambda *a, **k: (a, k))(1, 2, x=3)
call()
for start in range(1, 150):
    try:
        _testcapi.set_nomemory(start, start + 1)
        call()
    except MemoryError:
        _testcapi.remove_mem_hooks()
    finally:
        _testcapi.remove_mem_hooks()
"""


@pytest.fixture(scope="module")
def _python_survives() -> None:
    if subprocess.run([sys.executable, "-c", ALONE], capture_output=True).returncode:
        pytest.skip("this Python crashes by itself where allocations fail")


@pytest.mark.usefixtures("_python_survives")
@pytest.mark.skipif(importlib.util.find_spec("_testcapi") is None, reason="needs _testcapi")
@pytest.mark.skipif(FREE_THREADED, reason="free-threaded CPython 3.13 itself crashes there")
@pytest.mark.parametrize(
    "call",
    [
        "fi.he_normal.fill(small, seed=1, stream='a')",
        "fi.Uniform().fill(large, seed=1, threads=1)",
        "fi.Uniform().fill(large, seed=1, threads=3)",
    ],
)
def test_every_allocation_that_can_fail(call: str) -> None:
    """Each in turn fails: MemoryError or the right bits, and the next fill is right."""
    program = f"""
    import _testcapi
    sys.unraisablehook = lambda _: None  # a helper's thread may not even start
    small, large = np.zeros((30, 40), np.float32), np.zeros(2**19 + 2**18, np.float32)
    def call():
        {call}
    call()
    want = small.copy(), large.copy()
    failed = 0
    for start in range(1, 150):
        small.fill(0), large.fill(0)
        fi.initializers.prepare.__wrapped__.cache_clear()
        try:
            _testcapi.set_nomemory(start, start + 1)  # for longer, Python loops where it enters a handler
            call()
        except MemoryError:
            _testcapi.remove_mem_hooks()
            failed += 1
            call()
        finally:
            _testcapi.remove_mem_hooks()
        assert same(small, want[0]) and same(large, want[1]), start
    print(failed)
    """
    assert int(run(program)) > 80


# Guarded memory


GUARD = """
import mmap
import ml_dtypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE = mmap.PAGESIZE
ROOM = 96 * PAGE
memory = mmap.mmap(-1, ROOM + 2 * PAGE)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for guard in (base, base + PAGE + ROOM):
    assert libc.mprotect(guard, PAGE, 0) == 0
room = np.frombuffer(memory, np.uint8)[PAGE : PAGE + ROOM]
"""


@linux
def test_guard_pages() -> None:
    """Arrays that end, or begin, where memory that must not be touched begins: no byte outside is read or written."""
    pytest.importorskip("ml_dtypes")
    program = """
    laws = (fi.Uniform(-1, 2), fi.Normal(), fi.TruncatedNormal(), fi.TruncatedNormal(0, 1, lower=0.1, upper=4),
            fi.TruncatedNormal(0, 1, lower=-0.7, upper=0.9), LAW, fi.TruncatedNormal(0, 1, lower=3, upper=9))
    names = ("float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
    lengths = (1, 3, 8, 15, 17, 33, 63, 65, 129, 511, 513, 4097, 9001)
    fills = 0
    def check(out, init, name, index):
        global fills
        n = out.size
        part = slice(index, index + n)
        want = init.shard((2**20,), part, seed=3, dtype=name).reshape(out.shape)
        init.fill(out, seed=3, shape=(2**20,), index=part) if out.ndim == 1 else init.fill(out, seed=3)
        if out.ndim > 1:
            want = init(out.shape, seed=3, dtype=name)
        assert same(np.ascontiguousarray(out), want), (init, name, n, index)
        fills += 1
    for isa in fi.available_isas():
        fi.set_isa(isa)
        for name in names:
            dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
            for init in laws:
                for n in lengths:
                    nbytes = n * dtype.itemsize
                    for index in (0, 5):
                        check(room[:nbytes].view(dtype), init, name, index)
                        check(room[ROOM - nbytes :].view(dtype), init, name, index)
                        # one byte from the guards: elements that are not aligned
                        check(room[1 : 1 + nbytes].view(dtype), init, name, index)
                        check(room[ROOM - 1 - nbytes : -1].view(dtype), init, name, index)
                last = room[ROOM - ROOM // 2 :].view(dtype)
                first = room[: ROOM // 2].view(dtype)
                for whole in (first, last):
                    check(whole[::-1][: 3 * 700].reshape(3, 700), init, name, 0)
                    check(whole[: 8 * 700].reshape(700, 8).T, init, name, 0)
                    check(whole[-8 * 700 :].reshape(700, 8).T, init, name, 0)
                    check(whole[-999:][::2].reshape(50, 10), init, name, 0)
                    check(whole[:999][::-2].reshape(50, 10), init, name, 0)
    print(fills > 0)
    """
    assert run(GUARD + textwrap.dedent(program)) == "True\n"


@linux
def test_the_guard_pages_guard() -> None:
    """A byte before and a byte after are the end of the process."""
    for at in ("base + PAGE - 1", "base + PAGE + ROOM"):
        code = PRELUDE + GUARD + f"ctypes.memset({at}, 0, 1)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True)
        assert done.returncode == -signal.SIGSEGV


@linux
def test_a_memory_map_of_a_file_that_was_cut(tmp_path: os.PathLike[str]) -> None:
    """The operating system ends the process, for this library as for NumPy's own assignment."""
    for write in ("LAW.fill(out, seed=0)", "out[:] = 1"):
        code = f"""
path = {os.path.join(tmp_path, "cut")!r}
out = np.memmap(path, np.float32, "w+", shape=(2**16,))
os.truncate(path, 4096)
{write}
"""
        done = subprocess.run([sys.executable, "-c", PRELUDE + code], capture_output=True)
        assert done.returncode == -signal.SIGBUS


def test_the_recursion_limit() -> None:
    """However little of the stack is left: RecursionError or the right bits."""
    program = """
    want, seen = expected(2**20), set()
    def call(depth):
        try:
            seen.add(same(fill(2**20, threads=2), want))
        except RecursionError:
            seen.add("error")
        if depth:
            call(depth - 1)
    sys.setrecursionlimit(150)
    try:
        call(10**6)
    except RecursionError:
        pass
    sys.setrecursionlimit(1000)
    print(sorted(map(str, seen)), same(fill(2**20, threads=2), want))
    """
    assert run(program) == "['True', 'error'] True\n"


def test_collections_during_fills() -> None:
    program = """
    want = expected()
    gc.set_threshold(1)
    print(all(same(fill(threads=3), want) for _ in range(5)))
    """
    assert run(program) == "True\n"
