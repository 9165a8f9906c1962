#!/usr/bin/env bash
# check.sh BUILD PYTHON [ingot options]: whole models against their expected outputs: the onnx package's nine light ones, and the real ones
# where they are found, in $INGOT_MODELS or ../shared/models beside the repository. $INGOT_LIGHT: words in the names of the light ones to take, for
# devices that would need minutes for all.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ingot=$1/ingot python=$2
shift 2
models=${INGOT_MODELS:-$here/../../../shared/models}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 count=0

verify() { # MODEL DATA
  count=$((count + 1))
  "$ingot" verify "$1" --data "$2" --quiet "${@:3}" || { echo "model check: $1 with $2 differs or fails" >&2; failures=$((failures + 1)); }
}

light=${INGOT_LIGHT:-light} least=9
[ -z "${INGOT_LIGHT:-}" ] || least=$(wc -w <<<"$light")
while read -r model data; do
  if grep -qE "${light// /|}" <<<"$(basename "$model")"; then verify "$model" "$data" "$@"
  else echo "SKIPPED $(basename "$model"): only $light"; fi
done < <("$python" "$here/light.py" "$work")
if [ -d "$models" ]; then
  for data in "$models"/*/test_data_set_*; do verify "$(dirname "$data")/model.onnx" "$data" "$@"; done
else
  echo "SKIPPED real models: no folder $models (set INGOT_MODELS)"
fi
echo "model check: $((count - failures)) of $count data sets agree"
[ "$failures" -eq 0 ] && [ "$count" -ge "$least" ]
