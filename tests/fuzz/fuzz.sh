#!/usr/bin/env bash
# fuzz.sh BUILD runs              some runs of each harness, the same every time
# fuzz.sh BUILD SECONDS [NAME...] fuzzes for so long, divided over the harnesses; what is learnt stays in BUILD/fuzz and is gone on from
# Says how long each ran and what it found; a finding's input lies in BUILD/fuzz/findings.
set -uo pipefail
build=$(cd "$1" && pwd) how=$2
shift 2
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$build/fuzz
names=("$@")
[ $# -gt 0 ] || names=(model engine text plan tuning arrays picture)
# Runs where a run is cheap, and where each is a model built.
declare -A runs=([model]=400 [engine]=300 [text]=3000 [plan]=4000 [tuning]=20000 [arrays]=8000 [picture]=4000)
declare -A longest=([model]=8192 [engine]=65536 [text]=8192 [plan]=8192 [tuning]=1024 [arrays]=4096 [picture]=4096)
# No search for leaks when a harness ends: libFuzzer searches after each input that frees less than it takes, and says which it was. A search at
# the end also judges libFuzzer itself, and where it cannot stop the threads it kills the process, which looks like a crash on an empty input.
export ASAN_OPTIONS=${ASAN_OPTIONS:-quarantine_size_mb=16:allocator_may_return_null=1:max_malloc_fill_size=65536}:leak_check_at_exit=0

mkdir -p "$work/findings" "$work/seeds/model" "$work/seeds/arrays"
cp -r "$source"/tests/fuzz/seeds/. "$work/seeds"
find "$source/tests/regress" -name model.onnx -size -8k -print | while read -r model; do
  cp -n "$model" "$work/seeds/model/$(basename "$(dirname "$model")").onnx"
done
find "$source/tests/regress" -name "*.pb" -size -2k -print | head -40 | while read -r file; do
  cp -n "$file" "$work/seeds/arrays/$(basename "$(dirname "$(dirname "$file")")")-$(basename "$file")"
done
[ -d "$work/seeds/plan" ] || ASAN_OPTIONS=detect_leaks=0 "$build/tests/fuzz/ingot-seeds" "$work/seeds" "$work"/seeds/model/*.onnx || exit 1

# What a log says of a failure: the errors, and its end without the lines of progress and of the sanitizer's shadow.
explain() {
  echo "exit status $2"
  grep -aE 'ERROR|SUMMARY|runtime error|^fuzz:' "$1" | head -5
  echo "the end of $1:"
  grep -avE '^(#[0-9]+|INFO:|[[:space:]]*NEW_FUNC|(=>|  )0x|Shadow|  [A-Z][A-Za-z ]+: +[0-9a-f]{2})' "$1" | tail -30
}

failed=0
for name in "${names[@]}"; do
  start=$SECONDS log=$work/$name.log corpus=$work/corpus/$name
  limits=("-max_len=${longest[$name]}" -rss_limit_mb=2048 -timeout=120 "-artifact_prefix=$work/findings/$name-")
  if [ "$how" = runs ]; then
    corpus=$(mktemp -d)
    limits+=("-runs=${runs[$name]}" -seed=1)
  else
    limits+=("-max_total_time=$((how / ${#names[@]}))")
  fi
  mkdir -p "$corpus"
  "$build/tests/fuzz/fuzz_$name" "${limits[@]}" "$corpus" "$work/seeds/$name" >"$log" 2>&1
  result=$?
  [ "$how" != runs ] || rm -r "$corpus"
  printf '%-8s %5d s  %9s runs  %s\n' "$name" $((SECONDS - start)) "$(grep -aoE '^#[0-9]+' "$log" | tail -1 | tr -d '#')" \
    "$([ $result -eq 0 ] && echo 'nothing found' || echo "FOUND: $(grep -aoE 'Test unit written to .*' "$log" | tail -1), see $log")"
  [ $result -eq 0 ] || { failed=1; explain "$log" "$result"; }
done
exit $failed
