// NVRTC's interface over the host's C++ compiler: see compose.c and compile.c.
//
// Environment: INGOT_EMULATOR_SOURCE a folder whose files stand in for the headers of the same name (FOLDER/kernels/tile/mma_tile.cuh): a kernel
// is edited and tried without building Ingot again. Ingot, which knows nothing of that, keeps compiled kernels under keys of its own texts,
// so that such a run needs a kernel cache of its own ($XDG_CACHE_HOME); the folder of objects may be shared, as its keys are of what
// was compiled.
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/fault.h"
#include "tests/emulator/nvrtc.h"

typedef int NvrtcResult;
enum { NVRTC_OK = 0, NVRTC_OUT_OF_MEMORY = 1, NVRTC_INVALID_OPTION = 5, NVRTC_COMPILATION = 6, NVRTC_INTERNAL = 11 };

// NVRTC numbers its errors otherwise than the driver.
static NvrtcResult fault_here(const char *call) {
  CudaResult fault = fault_due(call);
  return !fault ? NVRTC_OK : fault == CUDA_OUT_OF_MEMORY ? NVRTC_OUT_OF_MEMORY : NVRTC_INTERNAL;
}
#define NVRTC_MAY_FAIL()                       \
  do {                                         \
    NvrtcResult fault_ = fault_here(__func__); \
    if (fault_) return fault_;                 \
  } while (0)

EMULATED_API NvrtcResult nvrtcVersion(int *major, int *minor) {
  NVRTC_MAY_FAIL();
  // The version is part of the keys under which compiled kernels are kept: another emulator makes others.
  *major = 1000 + (int)(compiler_identity().low % 100000);
  *minor = 0;
  return NVRTC_OK;
}
EMULATED_API const char *nvrtcGetErrorString(NvrtcResult result) {
  return result == NVRTC_COMPILATION     ? "compilation"
         : result == NVRTC_OUT_OF_MEMORY ? "out of memory"
                                         : "the emulated compiler failed";
}
static const int archs[] = {75, 80, 86, 89, 90, 100, 120};
EMULATED_API NvrtcResult nvrtcGetNumSupportedArchs(int *count) {
  NVRTC_MAY_FAIL();
  *count = sizeof archs / sizeof *archs;
  return NVRTC_OK;
}
EMULATED_API NvrtcResult nvrtcGetSupportedArchs(int *out) {
  NVRTC_MAY_FAIL();
  memcpy(out, archs, sizeof archs);
  return NVRTC_OK;
}

// The header's text, or that of the file that stands in for it.
static const char *header_text(Arena *arena, const char *path, const char *text) {
  const char *folder = getenv("INGOT_EMULATOR_SOURCE");
  const char *file = folder && *folder ? path_join(arena, folder, path) : NULL;
  Bytes bytes;
  if (!file || !file_exists(file)) return arena_string(arena, text);
  Status status = file_read(file, (size_t)1 << 24, arena, &bytes);
  const char *given = status ? arena_printf(arena, "#error \"%s\"\n", status_message(status))
                             : arena_printf(arena, "%.*s", (int)bytes.size, (const char *)bytes.data);
  status_free(status);
  return given;
}

EMULATED_API NvrtcResult nvrtcCreateProgram(Program **out, const char *source, const char *name, int header_count,
                                            const char *const *headers, const char *const *include_names) {
  NVRTC_MAY_FAIL();
  Arena *arena = arena_new();
  Program *p = arena_new_of(arena, Program);
  p->arena = arena;
  p->source = arena_string(arena, source);
  p->name = arena_string(arena, name);
  p->header_count = header_count;
  p->header_paths = arena_array(arena, const char *, (size_t)header_count);
  p->header_texts = arena_array(arena, const char *, (size_t)header_count);
  p->included = arena_array(arena, bool, (size_t)header_count);
  for (int i = 0; i < header_count; i++) {
    p->header_paths[i] = arena_string(arena, include_names[i]);
    p->header_texts[i] = header_text(arena, include_names[i], headers[i]);
  }
  p->log = "";
  live_objects++;
  *out = p;
  return NVRTC_OK;
}
EMULATED_API NvrtcResult nvrtcDestroyProgram(Program **program) {
  NvrtcResult fault = fault_here(__func__);
  if (*program) {
    live_objects--;
    free((*program)->image);
    arena_free((*program)->arena);
  }
  *program = NULL;
  return fault;
}

EMULATED_API NvrtcResult nvrtcCompileProgram(Program *p, int count, const char *const *options) {
  NVRTC_MAY_FAIL();
  int sm = 0;
  for (int i = 0; i < count; i++)
    if (!strncmp(options[i], "-arch=sm_", 9)) sm = atoi(options[i] + 9);
  if (!sm) return NVRTC_INVALID_OPTION;
  return program_build(p, sm) ? NVRTC_OK : NVRTC_COMPILATION;
}
EMULATED_API NvrtcResult nvrtcGetCUBINSize(Program *p, size_t *size) {
  NVRTC_MAY_FAIL();
  if (!p->image) return NVRTC_INTERNAL;
  *size = sizeof *p->image + p->image->size + p->image->source_size;
  return NVRTC_OK;
}
EMULATED_API NvrtcResult nvrtcGetCUBIN(Program *p, char *out) {
  NVRTC_MAY_FAIL();
  if (!p->image) return NVRTC_INTERNAL;
  memcpy(out, p->image, sizeof *p->image + p->image->size + p->image->source_size);
  return NVRTC_OK;
}
EMULATED_API NvrtcResult nvrtcGetProgramLogSize(Program *p, size_t *size) {
  NVRTC_MAY_FAIL();
  *size = strlen(p->log) + 1;
  return NVRTC_OK;
}
EMULATED_API NvrtcResult nvrtcGetProgramLog(Program *p, char *log) {
  NVRTC_MAY_FAIL();
  strcpy(log, p->log);
  return NVRTC_OK;
}
