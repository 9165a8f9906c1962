#!/usr/bin/env bash
# What runs on a machine with a GPU: tests, verification, benchmarks; one record and one summary at the end.
#
#   bench/gpu.sh [PART...]        parts: cases instructions emulated models suite regress dynamic zoo bench sanitize; default: all of them, in that order
#
# Needs python3 with torch, torchvision, transformers and onnx for zoo, dynamic and bench. Environment:
#   INGOT_BIN        folder with ingot, ingot-suite and ingot-cases   (default: build/release and its tests folder, or bin of a bundle)
#   INGOT_EMULATED   results of the emulated GPU to compare with  (for emulated; a bundle's share/emulated.record)
#   INGOT_ONNX_DATA  backend/test/data of the onnx 1.22.0 package     (for suite)
#   INGOT_MODELS     folder with mnist, face_rfb320 and silero_vad    (for models)
#   INGOT_DYNAMIC   networks of dynamic to take                       (default: all of bench/dynamic.py)
#   INGOT_BENCH      the run that bench goes on with                  (default: a new one)
#   INGOT_BENCH_OPTIONS  what bench measures                          (default: --quick)
#   INGOT_ZOO        where exported networks are kept                 (default: a temporary folder)
#   INGOT_RECORD     the record to write                              (default: bench/results/DATE-GPU.json)
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
zoo=${INGOT_ZOO:-$work/zoo}
bin=${INGOT_BIN:-}
for try in "$here/../../bin" "$here/../build/release"; do [ -z "$bin" ] && [ -x "$try/ingot" ] && bin=$try; done
tests=$bin
[ -x "$bin/tests/ingot-cases" ] && tests=$bin/tests
passing=$here/../passing.txt
[ -f "$passing" ] || passing=$here/../tests/suite/passing.txt
[ -x "$bin/ingot" ] || { echo "no ingot binary found: build first, or set INGOT_BIN" >&2; exit 2; }
ingot=$bin/ingot
export PYTHONUNBUFFERED=1 PYTHONPATH=$(dirname "$here")${PYTHONPATH:+:$PYTHONPATH}
logs=${INGOT_LOGS:-$work}
mkdir -p "$logs" "$zoo"
failures=0
note() { printf '%s\n' "$*" | tee -a "$work/summary"; }
check() { # NAME COMMAND...: one line in the summary, the command's last line as its result
  local name=$1 start=$SECONDS result code
  shift
  result=$("$@" 2>&1 | tee "$logs/$name.log" | tail -1; exit "${PIPESTATUS[0]}")
  code=$?
  [ $code -eq 0 ] || failures=$((failures + 1))
  note "$([ $code -eq 0 ] && echo pass || echo FAIL) $name ($((SECONDS - start)) s): $result"
}

part_cases() { check cases "$tests/ingot-cases" --device cuda --tactics; }

part_instructions() { check instructions "$tests/ingot-instructions"; }

# Kernels of our own only, as on the emulated GPU; what each result may differ by is in tests/cases/bounds.inc.
part_emulated() {
  local emulated=${INGOT_EMULATED:-$here/../emulated.record}
  check emulated env INGOT_CUBLASLT=/none INGOT_CUDNN=/none "$tests/ingot-cases" --device cuda --tactics --against "$emulated"
  grep -A40 '^kernel ' "$logs/emulated.log" | tee -a "$work/summary"
}

part_models() {
  local model set
  for model in mnist face_rfb320 silero_vad; do
    for set in "${INGOT_MODELS:?}/$model"/test_data_set_*; do
      check "models-$model-$(basename "$set")" "$ingot" verify "$INGOT_MODELS/$model/model.onnx" --device cuda --data "$set" --rtol 1e-3
    done
  done
}

part_suite() {
  check suite "$tests/ingot-suite" --device cuda --quiet --jobs "$(nproc)" --limit 60 --passing "$passing" \
    "${INGOT_ONNX_DATA:?}"
}

# The small models that failed once, as a user runs them, in fp32 and fp16.
part_regress() {
  local cases=$here/../regress
  [ -d "$cases" ] || cases=$here/../tests/regress
  check regress "$tests/ingot-suite" --device cuda --quiet --jobs "$(nproc)" --passing "$cases/passing.txt" "$cases"
  check regress-fp16 "$tests/ingot-suite" --device cuda --fp16 --skip "$cases/fp16_differs.txt" --quiet --jobs "$(nproc)" --passing "$cases/passing.txt" "$cases"
}

# Detectors and others whose shapes depend on their data, against PyTorch, on the GPU and on the CPU of this machine.
part_dynamic() {
  local device names=${INGOT_DYNAMIC:-}
  check dynamic-export python3 -m bench.dynamic --out "$work/dynamic" ${names:+--models "$names"}
  for device in cuda cpu; do
    check "dynamic-$device" python3 -m bench.dynamic_check --ingot "$ingot" --device "$device" --record "$work/dynamic-$device.json" "$work"/dynamic/*
    grep -E '^(ok|FAIL) ' "$logs/dynamic-$device.log" | sed 's/^/     /' | tee -a "$work/summary"
  done
}

part_zoo() {
  [ -e "$zoo/.exported" ] || check export python3 -m bench export --out "$zoo" --data && touch "$zoo/.exported"
  local folder name
  for folder in "$zoo"/*-script "$zoo"/*-dynamo; do
    [ -f "$folder/test_data_set_0/output_0.pb" ] || { note "FAIL zoo-$(basename "$folder"): not exported"; failures=$((failures + 1)); continue; }
    name=$(basename "$folder")
    check "zoo-$name-fp32" "$ingot" verify "$folder/model.onnx" --device cuda --data "$folder/test_data_set_0" --norm 1e-4
    check "zoo-$name-fp16" "$ingot" verify "$folder/model.onnx" --device cuda --fp16 --data "$folder/test_data_set_0" --norm 1e-2
    check "zoo-$name-cpu" "$ingot" verify "$folder/model.onnx" --device cpu --data "$folder/test_data_set_0" --norm 1e-4
  done
}

# Exit code 3: the time limit cut it, and the same command goes on.
part_bench() {
  local run=${INGOT_BENCH:-$work/bench.jsonl}
  check bench python3 -m bench zoo --ingot "ingot=$ingot" --run "$run" --work "$zoo/measured" ${INGOT_BENCH_OPTIONS:---quick}
  python3 -m bench report "$run" --json "$work/bench.json" | tee -a "$work/summary"
}

# Every tactic; initcheck without the libraries, whose kernels write and read in ways that it does not follow.
part_sanitize() {
  local tool libraries
  for tool in memcheck racecheck initcheck synccheck; do
    libraries=()
    [ $tool = initcheck ] && libraries=(INGOT_CUBLASLT=/none INGOT_CUDNN=/none)
    check "sanitize-$tool" env "${libraries[@]}" compute-sanitizer --tool "$tool" --print-limit 20 --error-exitcode 9 "$tests/ingot-cases" --device cuda --tactics --quick
    note "     $(grep -h 'ERROR SUMMARY\|RACECHECK SUMMARY' "$logs/sanitize-$tool.log" | tail -1)"
  done
  # Of the instructions' kernels racecheck sees those within a block: it does not follow a barrier that another block completes.
  check sanitize-instructions-memcheck compute-sanitizer --tool memcheck --report-api-errors no --error-exitcode 9 "$tests/ingot-instructions"
  check sanitize-instructions-synccheck compute-sanitizer --tool synccheck --error-exitcode 9 "$tests/ingot-instructions"
  local kind
  for kind in warp mbarrier bulk matrices mma tensor wgmma; do
    check "sanitize-instructions-racecheck-$kind" compute-sanitizer --tool racecheck --error-exitcode 9 "$tests/ingot-instructions" --filter "$kind/"
  done
}

parts=("$@")
[ $# -gt 0 ] || parts=(cases instructions emulated models suite regress dynamic zoo bench sanitize)
for part in "${parts[@]}"; do "part_$part"; done
record=${INGOT_RECORD:-$here/results/$(date +%F)-$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1 | tr ' ' '-' | tr -dc 'A-Za-z0-9-').json}
mkdir -p "$(dirname "$record")"
python3 - "$work" "$record" <<'PY'
import json, os, subprocess, sys
work, path = sys.argv[1:]
load = lambda name: json.load(open(os.path.join(work, name))) if os.path.exists(os.path.join(work, name)) else None
query = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip()
record = {"gpu": query, "checks": open(os.path.join(work, "summary")).read().splitlines(), "bench": load("bench.json"),
          "dynamic": {device: load(f"dynamic-{device}.json") for device in ("cuda", "cpu")}}
json.dump(record, open(path, "w"), indent=1)
PY
printf '\n== summary (%s)\n' "$record"
grep -v '^pass zoo' "$work/summary"
echo "$(grep -c '^pass' "$work/summary") checks passed, $failures failed"
exit $((failures > 0))
