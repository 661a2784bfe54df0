# Tasks; `just` lists them. https://just.systems

_default:
    @just --list

# lint, types and format
check:
    ruff check .
    ruff format --check .
    mypy
    cython-lint src
    clang-format --dry-run --Werror csrc/*.[ch] csrc/examples/*.c tests/c/*.[ch] tests/reliability/*.[ch] src/fastinit/include/*.h

# rewrite what the formatters would
format:
    ruff check --fix .
    ruff format .
    clang-format -i csrc/*.[ch] csrc/examples/*.c tests/c/*.[ch] tests/reliability/*.[ch] src/fastinit/include/*.h

# all tests
test *arguments:
    python -m pytest {{arguments}}

# throughput beside the peers: docs/benchmarks/
bench *arguments:
    python benchmarks/report.py {{arguments}}
