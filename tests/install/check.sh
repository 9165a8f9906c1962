#!/usr/bin/env bash
# check.sh BUILD: installs into a folder that is then moved, builds a small C program against each library by pkg-config and by
# CMake, and runs them. Also: another project may hold Ingot as a folder, nothing but the public interface is visible, and running an engine needs no protobuf.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=$here/../../examples/digits/digits.onnx

fail() { echo "install check: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/prefix"  # nothing may remember where it was installed
libraries=$(dirname "$(find "$work/prefix" -name libingot.so)")
export LD_LIBRARY_PATH=$libraries PKG_CONFIG_PATH=$libraries/pkgconfig

for name in ingot ingot-runtime; do
  library=$libraries/lib$name.so
  foreign=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^ingot_' || true)
  [ -z "$foreign" ] || fail "lib$name.so shows what is not public: $(echo $foreign | head -c 200)"
  undefined=$(ldd -r "$library" 2>&1 | grep -E 'undefined symbol|not found' || true)
  [ -z "$undefined" ] || fail "lib$name.so: $undefined"
done
needed=$(ldd "$libraries/libingot-runtime.so" | awk '{print $1}' | grep -vE '^(linux-vdso|libc|libm|.*/ld-linux.*)\.so' || true)
[ -z "$needed" ] || fail "libingot-runtime needs more than libc and libm: $needed"
! nm -D "$libraries/libingot-runtime.so" | grep -q ' ingot_model_open' || fail "libingot-runtime holds the importer"

cc=${CC:-cc}
"$cc" -std=c99 -Wall -Wextra -Werror -pedantic "$here/consumer.c" -o "$work/by_pkg_config" $(pkg-config --cflags --libs ingot)
"$cc" -DRUNTIME_ONLY "$here/consumer.c" -o "$work/runtime_by_pkg_config" $(pkg-config --cflags --libs ingot-runtime)
"$work/by_pkg_config" "$model" "$work/digits.ingot"
"$work/runtime_by_pkg_config" none "$work/digits.ingot"

cmake -S "$here" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/log" || { cat "$work/log"; fail "find_package(Ingot)"; }
cmake --build "$work/consumer" >"$work/log" || { cat "$work/log"; fail "building with CMake"; }
"$work/consumer/consumer" "$model" "$work/again.ingot"
"$work/consumer/consumer_runtime" none "$work/again.ingot"
cmp "$work/digits.ingot" "$work/again.ingot" || fail "the same model gave two different engines"

# Ingot as a folder of another project: found whole, compiled as far as its IR, and the other's build left as it was.
mkdir -p "$work/outer/build/include"
touch "$work/outer/build/include/theirs.h"
printf 'cmake_minimum_required(VERSION 3.25)\nproject(outer LANGUAGES C)\nadd_subdirectory(%s ingot)\n' "$(dirname "$(dirname "$here")")" >"$work/outer/CMakeLists.txt"
printf 'add_library(user STATIC %s)\ntarget_link_libraries(user PRIVATE Ingot::ingot)\n' "$here/consumer.c" >>"$work/outer/CMakeLists.txt"
cmake -S "$work/outer" -B "$work/outer/build" >"$work/log" || { cat "$work/log"; fail "Ingot as a folder of another project"; }
cmake --build "$work/outer/build" --target ingot_ir >"$work/log" || { cat "$work/log"; fail "building in another project"; }
[ -e "$work/outer/build/include/theirs.h" ] || fail "another project's build folder was written to"

"$work/prefix/bin/ingot" run "$work/again.ingot" --device cpu --quiet >/dev/null
[ -n "$(find "$work/prefix" -name LICENSE)" ] || fail "LICENSE is not installed"

# The header beside dlpack.h: an old one and a new one, before and behind it, in C and in C++.
compilers=("$cc -std=c11")
! command -v g++ >/dev/null || compilers+=("g++ -x c++ -std=c++11" "g++ -x c++ -std=c++20")
for compiler in "${compilers[@]}"; do
  for version in old new; do
    for first in "" -DFIRST; do
      $compiler -Wall -Wextra -Werror $first "-DDLPACK=\"dlpack_$version.h\"" "$here/dlpack.c" -o "$work/dlpack" $(pkg-config --cflags --libs ingot-runtime) ||
        fail "$compiler: ingot.h and the $version dlpack.h, $first"
      "$work/dlpack" "$work/again.ingot" || fail "$compiler: a tensor of the $version dlpack.h, $first"
    done
  done
done
echo "install check passed"
