#!/usr/bin/env bash
# libFuzzer with address and undefined-behaviour sanitizers on one target. Called by ./dev fuzz.
# usage: fuzz.sh NAME [SECONDS]. New inputs gather in BUILD-fuzz/corpus/NAME; what breaks a target is left there as crash-*.
# `fuzz.sh keep NAME` makes the smallest set with the same coverage the kept one (shared/fuzz/corpus/NAME).
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
build=${ROWMESH_BUILD:-$top/build}
. scripts/prepare.sh
targets=(document request json values sqlite)
keep=
[ "${1:-}" != keep ] || { keep=yes; shift; }
name=${1:-} seconds=${2:-60}
[[ " ${targets[*]} " == *" $name "* ]] || die "fuzz: which? ${targets[*]}"
need_packages clang libclang-rt-14-dev
folder=$build-fuzz
[ -f "$folder/build.ninja" ] ||
  cmake -G Ninja -S "$top" -B "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang -DROWMESH_FUZZ=ON \
    -DROWMESH_SANITIZE=address,undefined -DROWMESH_POSTGRESQL=OFF -DROWMESH_TESTS=OFF >"$folder.log" 2>&1 || die "cmake failed: $folder.log"
nice -n 5 ninja -C "$folder" "rowmesh_fuzz_$name" >"$folder.log" 2>&1 || {
  tail -n 30 "$folder.log" >&2
  die "the build failed"
}
program=$(find "$folder" -name "rowmesh_fuzz_$name" -type f -perm -u+x)
kept=$top/shared/fuzz/corpus/$name found=$folder/corpus/$name
mkdir -p "$kept" "$found"
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
if [ -n "$keep" ]; then
  mkdir -p "$folder/merged" && rm -rf "$folder/merged/$name" && mkdir "$folder/merged/$name"
  "$program" -merge=1 -max_len=4096 "$folder/merged/$name" "$kept" "$found"
  rsync -a --delete "$folder/merged/$name/" "$kept/" 2>/dev/null || { rm -rf "$kept" && cp -r "$folder/merged/$name" "$kept"; }
  exit
fi
exec nice -n 19 "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1500 -max_len=65536 -print_final_stats=1 \
  -artifact_prefix="$found/" "$found" "$kept"
