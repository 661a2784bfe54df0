#!/usr/bin/env bash
# Build the C programs of docs/reliability.md into a folder: build.sh FOLDER
# Those whose libraries are missing (MPFR, TestU01), or whose instructions are another machine's, are left out and named.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."

compile() {
    name=$1
    shift
    gcc -O3 -std=c11 -ffp-contract=off -I src/fastinit/include "$@" -lm -o "$out/$name" 2>"$out/$name.log" ||
        { echo "not built: $name, see $out/$name.log" && return; }
    rm "$out/$name.log"
}
others=$(ls csrc/*.c | grep -v kernel_scalar) # which these programs include

compile accuracy -DREFERENCE_MPFR tests/c/test_accuracy.c -lmpfr -lgmp
for tier in scalar sse2 avx2 avx512 neon; do
    compile "transforms_$tier" -DTIER="\"../../csrc/kernel_$tier.c\"" tests/c/test_transforms.c
done
compile words tests/reliability/words.c $others
compile testu01 tests/reliability/testu01.c $others -ltestu01 -ltestu01probdist -ltestu01mylib
