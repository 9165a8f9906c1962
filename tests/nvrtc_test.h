// Compiling kernels in unit tests. A machine without NVRTC skips the test that asks for it.
#pragma once
#include <criterion/criterion.h>
#include "cuda/compiler.h"
#include "cuda/nvrtc.h"
#include "kernels/device_sources.h"

static inline void need_nvrtc(void) {
  Arena *arena = arena_new();
  const Nvrtc *nvrtc;
  Status missing = nvrtc_open(arena, &nvrtc);
  arena_free(arena);
  if (missing) {
    status_free(missing);
    cr_skip_test("NVRTC is not installed");
  }
}

// A compiler of the kernels' own text, which keeps nothing on disk.
static inline Compiler *nvrtc_compiler(Log log) {
  need_nvrtc();
  return compiler_new(&(CompilerOptions){.headers = device_sources, .folder = "", .log = log});
}
