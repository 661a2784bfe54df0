#!/usr/bin/env bash
# The Python suite over an extension with AddressSanitizer and UndefinedBehaviorSanitizer, or under valgrind:
#
#     tests/reliability/sanitize.sh asan [PYTEST ARGUMENTS]
#     tests/reliability/sanitize.sh valgrind [PYTEST ARGUMENTS]
#
# It builds a copy in a temporary folder with the python that is active (it needs the extra `test`) and leaves nothing.
# Left out: tests that build or measure programs of their own. Leaks are not asked for: Python keeps memory at its end
# (tests/test_leaks.py counts ours).
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
tool=${1:?asan or valgrind}
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$top"/{csrc,src,tests,docs,benchmarks,setup.py,pyproject.toml,README.md,LICENSE} "$work"
rm -f "$work"/src/fastinit/_kernel*.so
cd "$work"
case $tool in
asan) flags="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined" ;;
valgrind) flags="-O2 -g" ;;
*) exit 2 ;;
esac
FASTINIT_CFLAGS=$flags FASTINIT_LDFLAGS=$flags python setup.py -q build_ext --inplace >build.log 2>&1 || {
    cat build.log
    exit 1
}
export PYTHONPATH=$work/src PYTHONMALLOC=malloc
arguments=(-q -p no:cacheprovider --deselect tests/test_build.py --deselect tests/test_instructions.py
    --deselect tests/test_memory.py --deselect tests/test_supply_chain.py --deselect tests/test_leaks.py "$@")
if [ "$tool" = asan ]; then
    # Of programs that the tests start, too, some of which are to die of signals; an address space with a limit has no
    # room for shadow memory.
    preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
    options=detect_leaks=0:allocator_may_return_null=1:handle_segv=0:handle_sigbus=0
    LD_PRELOAD=$preload ASAN_OPTIONS=$options UBSAN_OPTIONS=print_stacktrace=1 \
        python -m pytest "${arguments[@]}"
else
    # Here the processor cannot flush subnormal numbers, and has other instruction sets than for what tests start.
    arguments+=(--deselect tests/test_environment.py --deselect tests/test_cli.py::test_info)
    status=0
    valgrind --log-file=valgrind.log --num-callers=30 python -m pytest "${arguments[@]}" || status=$?
    tail -3 valgrind.log
    # Python's own reads are not in question: only errors with our module in their stack count, but for the decorator,
    # by which Python calls Python.
    if grep _kernel valgrind.log | grep -v ' by .*_kernel_[0-9]*in_default_arithmetic'; then
        cat valgrind.log
        exit 1
    fi
    exit $status
fi
