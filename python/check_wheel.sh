#!/usr/bin/env bash
# check_wheel.sh [--numpy FOLDER] WHEEL PYTHON...: installs the wheel into a new environment of each interpreter, and runs the package without numpy,
# the command line, ONNX Runtime's form and the README's example there. Nothing of this repository's build is in sight: the libraries are the wheel's.
# numpy is of PyPI, or with --numpy the one of that site-packages.
set -euo pipefail
numpy=
[ "$1" != --numpy ] || { numpy=$(realpath "$2"); shift 2; }
wheel=$(realpath "$1") root=$(realpath "$(dirname "$0")/..")
shift
[[ $wheel == *-py3-none-manylinux_*.whl ]] || { echo "$wheel is not for every Linux: auditwheel gave it no such tag"; exit 1; }
bytes=$(stat -c %s "$wheel")
[ "$bytes" -lt 25000000 ] || { echo "$wheel has $bytes bytes"; exit 1; }
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
  "$environment/bin/pip" install -q --disable-pip-version-check --no-index "$wheel"
  "$environment/bin/python" "$scratch/bare.py" 2>"$scratch/log" || { cat "$scratch/log"; exit 1; }
  grep -q "oneDNN .*site-packages/ingot/lib/libdnnl" "$scratch/log" || { echo "the wheel's oneDNN was not found"; cat "$scratch/log"; exit 1; }
  "$environment/bin/python" -m ingot --version | grep -q '^ingot ' && "$environment/bin/ingot" inspect examples/digits/digits.onnx >/dev/null
  if [ -n "$numpy" ]; then ln -s "$numpy"/numpy "$numpy"/numpy.libs "$environment"/lib/python3*/site-packages
  else "$environment/bin/pip" install -q --disable-pip-version-check numpy; fi
  "$environment/bin/python" -c 'import ingot, numpy
session = ingot.InferenceSession("examples/digits/digits.onnx", providers=["CPUExecutionProvider"])
assert abs(session.run(None, {"image": numpy.zeros((1, 1, 8, 8), numpy.uint8)})[0].sum() - 1) < 1e-5'
  (cd "$scratch" && mkdir -p examples && cp -r "$root/examples/digits" examples && "$environment/bin/python" readme.py | grep -qx '\[[0-9 ]*\]')
  echo "$("$python" --version): installs and runs"
done
