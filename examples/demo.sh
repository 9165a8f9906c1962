#!/usr/bin/env bash
# demo.sh BUILD [cpu|cuda]: the examples, one after the other. Digits always; faces and voice where their models are found, in
# $INGOT_MODELS or ../shared/models beside the repository.
set -euo pipefail
build=$1 device=${2:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
models=${INGOT_MODELS:-$here/../../shared/models}

title() { if [ -t 1 ]; then printf '  \033[1m%s\033[0m\n' "$1"; else printf '  %s\n' "$1"; fi; }

"$build/examples/example_digits" "$here/digits" $device

if [ -f "$models/face_rfb320/model.onnx" ]; then
  title "Faces"
  "$build/examples/example_face" "$models/face_rfb320/model.onnx" "$models/face_rfb320/photo.jpg" "$build/faces.png" $device
  echo
fi
if [ -f "$models/silero_vad/model.onnx" ]; then
  title "Voice"
  "$build/examples/example_voice" "$models/silero_vad/model.onnx" "$models/silero_vad" $device
  echo
fi
