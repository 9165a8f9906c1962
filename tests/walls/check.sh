#!/usr/bin/env bash
# check.sh CC LIBRARY=FOLDERS...: what a source of each library may include, by the include path that it is compiled with: every header of what the
# library stands on, and no other. The order of the house is written here once more, on purpose.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cc=$1
shift

declare -A stands_on=(
  [ingot_base]="" [ingot_ir]="base" [ingot_cuda]="base" [ingot_kernels]="base ir cuda"
  [ingot_passes]="base ir cuda kernels" [ingot_lower]="base ir cuda kernels" [ingot_tune]="base ir cuda kernels lower"
  [ingot_engine]="base ir cuda kernels lower" [ingot_run]="base ir cuda kernels tune lower engine"
  [ingot_onnx_ops]="base ir cuda kernels" [ingot_onnx]="base ir cuda kernels onnx/ops"
  [ingot_api_build]="base ir cuda kernels passes tune lower engine run onnx/ops onnx ingot"
  [ingot_api_run]="base ir cuda kernels passes tune lower engine run onnx/ops ingot"
  [ingot_api]="base ir cuda kernels passes tune lower engine run onnx/ops onnx ingot"
  [ingot_cli]="base ir cuda kernels passes tune lower engine run onnx/ops onnx ingot api"
  [ingot_picture]="base ir"
)
declare -A own=([ingot_run]=run [ingot_onnx_ops]=onnx/ops [ingot_api_run]=api [ingot_api_build]=api [ingot_picture]=cli)

# Headers as includes name them; the part of the house that one belongs to is its first folder, or onnx/ops.
headers=$(git ls-files -co --exclude-standard 'src/*.h' 'kernels/*.h' 'kernels/*.cuh' 'onnx/*.h' 'include/*.h' | sed -E 's#^(src|include)/##' | sort -u)
folder_of() { case $1 in onnx/ops/*) echo onnx/ops ;; *) echo "${1%%/*}" ;; esac; }

failed=0
for argument in "$@"; do
  library=${argument%%=*}
  includes=()
  IFS=: read -ra folders <<<"${argument#*=}"
  for folder in "${folders[@]}"; do includes+=(-I "$folder"); done
  [ -v "stands_on[$library]" ] || { echo "$library has no row above"; failed=1; continue; }
  seen=" ${stands_on[$library]} ${own[$library]:-${library#ingot_}} "
  # __has_include looks where #include does, and one run of the preprocessor asks for all of them.
  for header in $headers; do
    case $seen in
      *" $(folder_of "$header") "*) echo -e "#if !__has_include(\"$header\")\n#error $library does not find $header\n#endif" ;;
      *) echo -e "#if __has_include(\"$header\")\n#error $library finds $header, which stands above it\n#endif" ;;
    esac
  done | (cd / && "$cc" -E -x c "${includes[@]}" -) >/dev/null || failed=1  # what is read from a pipe lies in the folder it is read in
done
[ $# -eq ${#stands_on[@]} ] || { echo "rows above without a library in the build"; failed=1; }

# What would climb over the walls, and what names no folder. tests/install is a program from outside.
! git grep -nE '^ *# *include +"([^"]*\.\./|/|[^/"]*")' -- src kernels onnx tests include | grep -vE '"onnx\.pb-c\.h"|^tests/install/' || failed=1

# Inside kernels/: what families share knows none of them, and scalar programs know only the device types of the rest.
includes() { git grep -nE '# *include +"kernels/[a-z0-9_]+/' -- "$1"; }
! includes kernels/common | grep -vE '"kernels/(program|common)/' || failed=1
! includes kernels/program | grep -vE '"kernels/(program/|common/types\.cuh)' || failed=1
exit $failed
