#!/usr/bin/env bash
# Sanitizers and linters, each in a build folder of its own. Called by ./dev check.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
build=${ROWMESH_BUILD:-$top/build}
. scripts/prepare.sh
sources() { git ls-files -co --exclude-standard '*.cpp' '*.hpp' '*.h'; }

# The unit tests, the simulator and the SQLite extension with its threads under load, under a sanitizer. PostgreSQL's extension stays out: its
# host is not built with it; valgrind watches it instead. The simulator has one thread, and the unit tests run some seeds of each kind: more of
# them, of every feature, under the address sanitizer alone.
sanitize() {
  local kind=$1 flags=$2 folder=$build-$1
  [ -f "$folder/build.ninja" ] ||
    cmake -G Ninja -S "$top" -B "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DROWMESH_SANITIZE="$flags" \
      -DROWMESH_POSTGRESQL=OFF >"$folder.log" 2>&1 || die "cmake failed: $folder.log"
  nice -n 5 ninja -C "$folder" rowmesh_tests rowmesh_sqlite_tests rowmesh_sim >"$folder.log" 2>&1 || {
    tail -n 30 "$folder.log" >&2
    die "the build failed"
  }
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1 TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1
  "$folder/shared/rowmesh_tests" --gtest_brief=1 && "$folder/sqlite_ext/rowmesh_sqlite_tests" --gtest_brief=1 || return 1
  [ "$kind" = thread ] || "$folder/shared/rowmesh_sim" --seeds 40
}

check_one() {
  say "== $1"
  case $1 in
    address) sanitize address address,undefined ;;
    thread) sanitize thread thread ;;
    format) need_packages clang-format; sources | xargs -r clang-format --dry-run --Werror ;;
    tidy)
      need_packages clang-tidy
      prepare_build
      # fuzz/entry.cpp: only the fuzzers' build compiles it, once per target, with the target's name.
      sources | grep '\.cpp$' | grep -v '/fuzz/entry\.cpp$' | xargs -r -P 2 -n 4 clang-tidy -quiet -p "$build" --warnings-as-errors='*' ;;
    cppcheck)
      need_packages cppcheck
      cppcheck -q --std=c++20 --library=googletest --error-exitcode=1 --enable=warning,performance,portability --inline-suppr \
        --suppress=missingIncludeSystem --suppress=unknownMacro -I "$top" shared pg_ext sqlite_ext ;;
    valgrind)
      need_packages valgrind
      prepare_all
      /usr/bin/python3 scripts/valgrind.py ;;
    names) /usr/bin/python3 scripts/check_names.py ;;
    documents) /usr/bin/python3 regress/run.py cluster documents ;; # every test that the documents name is there
    mutations) need_packages libgtest-dev; nice -n 10 /usr/bin/python3 scripts/mutations.py ;;
    *) die "check: no such kind: $1 (address, thread, valgrind, tidy, cppcheck, format, names, documents, mutations)" ;;
  esac
}

if [ "${1:-}" = mutations ] && [ $# -gt 1 ]; then # by name
  shift
  exec nice -n 10 /usr/bin/python3 scripts/mutations.py "$@"
fi
[ $# -gt 0 ] || set -- names documents format cppcheck address thread valgrind tidy
failed=()
for kind in "$@"; do (check_one "$kind") || failed+=("$kind"); done
[ ${#failed[@]} -eq 0 ] || die "check: not clean: ${failed[*]}"
say "check: clean"
