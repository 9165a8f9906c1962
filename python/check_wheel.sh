#!/usr/bin/env bash
# check_wheel.sh WHEEL PYTHON...: installs the wheel into a new environment of each interpreter, and runs the README's example, the command line, and
# the package without numpy there. Nothing of this repository's build is in sight: the libraries are the wheel's.
set -euo pipefail
wheel=$(realpath "$1") root=$(realpath "$(dirname "$0")/..")
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
awk '/^```python/ {on = 1; next} /^```/ {on = 0} on' "$root/python/README.md" >"$scratch/readme.py"
cat >"$scratch/bare.py" <<'END'
import logging, os, sys
logging.basicConfig(level=logging.DEBUG)
import ingot
assert "site-packages" in ingot.__file__ and "numpy" not in sys.modules
answer = ingot.build("examples/digits/digits.onnx", device="cpu")(bytes(64))
assert isinstance(answer, ingot.Tensor) and abs(sum(answer.tolist()[0]) - 1) < 1e-5, answer
END
cd "$root"
unset PYTHONPATH INGOT_LIBRARY INGOT_ONEDNN LD_LIBRARY_PATH
for python; do
  environment=$scratch/$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$python" -m venv "$environment"
  "$environment/bin/pip" install -q --disable-pip-version-check "$wheel"
  "$environment/bin/python" "$scratch/bare.py" 2>"$scratch/log" || { cat "$scratch/log"; exit 1; }
  grep -q "oneDNN .*site-packages/ingot/lib/libdnnl" "$scratch/log" || { echo "the wheel's oneDNN was not found"; cat "$scratch/log"; exit 1; }
  "$environment/bin/python" -m ingot --version | grep -q '^ingot ' && "$environment/bin/ingot" inspect examples/digits/digits.onnx >/dev/null
  "$environment/bin/pip" install -q --disable-pip-version-check numpy
  "$environment/bin/python" -c 'import ingot, numpy
session = ingot.InferenceSession("examples/digits/digits.onnx", providers=["CPUExecutionProvider"])
assert abs(session.run(None, {"image": numpy.zeros((1, 1, 8, 8), numpy.uint8)})[0].sum() - 1) < 1e-5'
  (cd "$scratch" && mkdir -p examples && cp -r "$root/examples/digits" examples && "$environment/bin/python" readme.py | grep -qx '\[[0-9 ]*\]')
  echo "$("$python" --version): installs and runs"
done
