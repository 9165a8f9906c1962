#!/usr/bin/env bash
# bundle.sh BUILD DIR: a folder that runs on any x86-64 Linux with glibc >= 2.36: the tools, the tests, and the shared libraries they need that such
# a system may lack. NVIDIA's libraries are not among them: they are opened at run time where they are.
set -euo pipefail
build=$1 out=$2
mkdir -p "$out/bin" "$out/lib" "$out/share"
tools=("$build/ingot" "$build/tests/ingot-suite" "$build/tests/ingot-cases" "$build/tests/ingot-instructions")
for tool in "${tools[@]}"; do
  cp "$tool" "$out/bin/"
  strip "$out/bin/$(basename "$tool")"
done
cp -L "$build"/libingot*.so.*.* "$out/lib/" 2>/dev/null || true
strip --strip-unneeded "$out"/lib/libingot* 2>/dev/null || true
cp include/ingot/ingot.h "$out/share/"
# Everything the tools need but the C library itself, which must be the system's. oneDNN is opened at run time: it comes along by its name.
onednn=$(/sbin/ldconfig -p | awk '/libdnnl\.so\.[23] / {print $NF; exit}')
[ -z "$onednn" ] || cp -L "$onednn" "$out/lib/"
for library in $(ldd "${tools[@]}" $onednn | awk '$2 == "=>" {print $3}' | sort -u); do
  case $(basename "$library") in
    libc.so* | libm.so* | libdl.so* | libpthread.so* | librt.so* | ld-linux*) ;;
    *) cp -L "$library" "$out/lib/" ;;
  esac
done
strip --strip-unneeded "$out"/lib/*.so* 2>/dev/null || true
for tool in "$out"/bin/*; do patchelf --set-rpath '$ORIGIN/../lib' "$tool"; done
for library in "$out"/lib/*; do patchelf --set-rpath '$ORIGIN' "$library" 2>/dev/null || true; done
mkdir -p "$out/share/bench"
cp bench/*.py bench/*.sh bench/*.c bench/*.css "$out/share/bench/"
cp tests/suite/passing.txt "$out/share/"
cp -r tests/regress "$out/share/"
# What the emulated GPU computes, posing as a chip with as many multiprocessors as the one it will be compared with.
INGOT_EMULATOR_MULTIPROCESSORS=132 ./dev emulate 90 "$build/tests/ingot-cases" --device cuda --tactics --jobs "$(nproc)" \
  --record "$(realpath "$out")/share/emulated.record" | tail -1
du -sh "$out" | cut -f1
