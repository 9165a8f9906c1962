// The run-time compiler behind nvrtc.h. Options are few and fixed: fast math is off so that results match the reference's,
// and nothing is searched on disk, so that the same text compiles to the same kernel on every machine.
#include "cuda/nvrtc.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/library.h"

typedef struct NvrtcProgram_st *NvrtcProgram;
typedef int NvrtcResult;
enum { NVRTC_ERROR_OUT_OF_MEMORY = 1, NVRTC_ERROR_COMPILATION = 6 };

// clang-format off
#define NVRTC_TABLE(CALL)                                                                                               \
  CALL(nvrtcVersion, NvrtcResult, (int *major, int *minor))                                                             \
  CALL(nvrtcGetErrorString, const char *, (NvrtcResult result))                                                         \
  CALL(nvrtcGetNumSupportedArchs, NvrtcResult, (int *count))                                                            \
  CALL(nvrtcGetSupportedArchs, NvrtcResult, (int *archs))                                                               \
  CALL(nvrtcCreateProgram, NvrtcResult, (NvrtcProgram *program, const char *source, const char *name, int header_count, \
                                         const char *const *headers, const char *const *include_names))                 \
  CALL(nvrtcDestroyProgram, NvrtcResult, (NvrtcProgram *program))                                                       \
  CALL(nvrtcCompileProgram, NvrtcResult, (NvrtcProgram program, int option_count, const char *const *options))          \
  CALL(nvrtcGetCUBINSize, NvrtcResult, (NvrtcProgram program, size_t *size))                                            \
  CALL(nvrtcGetCUBIN, NvrtcResult, (NvrtcProgram program, char *cubin))                                                 \
  CALL(nvrtcGetProgramLogSize, NvrtcResult, (NvrtcProgram program, size_t *size))                                       \
  CALL(nvrtcGetProgramLog, NvrtcResult, (NvrtcProgram program, char *log))
// clang-format on

struct Nvrtc {
#define NVRTC_FIELD(name, result, parameters) result(*name) parameters;
  NVRTC_TABLE(NVRTC_FIELD)
#undef NVRTC_FIELD
  int version;
  const char *path;
  int *archs;
  int arch_count;
};

static const struct {
  const char *name;
  size_t offset;
} nvrtc_rows[] = {
#define NVRTC_ROW(name, result, parameters) {#name, offsetof(Nvrtc, name)},
    NVRTC_TABLE(NVRTC_ROW)
#undef NVRTC_ROW
};

static const char *const fixed_options[] = {"--std=c++17", "-default-device", "--fmad=true", "--no-source-include"};

const char *nvrtc_options(void) { return "--std=c++17 -default-device --fmad=true --no-source-include"; }

static Status nvrtc_error(const Nvrtc *nvrtc, NvrtcResult result, const char *call) {
  return status_make(result == NVRTC_ERROR_OUT_OF_MEMORY ? ERROR_OUT_OF_MEMORY : ERROR_DEVICE, "%s: %s", call,
                     nvrtc->nvrtcGetErrorString(result));
}

#define NVRTC_TRY(nvrtc, call, ...)                           \
  do {                                                        \
    NvrtcResult result_ = (nvrtc)->call(__VA_ARGS__);         \
    if (result_) return nvrtc_error((nvrtc), result_, #call); \
  } while (0)

Status nvrtc_open(Arena *arena, const Nvrtc **out) {
  static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", NULL};
  Nvrtc *nvrtc = arena_new_of(arena, Nvrtc);
  void *library;
  TRY(library_open("the run-time compiler NVRTC", "INGOT_NVRTC", names, arena, &library, &nvrtc->path));
  for (size_t i = 0; i < COUNT_OF(nvrtc_rows); i++) {
    void *function = dlsym(library, nvrtc_rows[i].name);
    if (!function) FAIL(ERROR_UNSUPPORTED, "%s has no %s: NVRTC 12.0 or newer is needed", nvrtc->path, nvrtc_rows[i].name);
    memcpy((char *)nvrtc + nvrtc_rows[i].offset, &function, sizeof function);
  }
  int major, minor;
  NVRTC_TRY(nvrtc, nvrtcVersion, &major, &minor);
  nvrtc->version = major * 1000 + minor * 10;
  if (major < 12) FAIL(ERROR_UNSUPPORTED, "%s is NVRTC %d.%d; 12.0 or newer is needed", nvrtc->path, major, minor);
  NVRTC_TRY(nvrtc, nvrtcGetNumSupportedArchs, &nvrtc->arch_count);
  nvrtc->archs = arena_array(arena, int, (size_t)nvrtc->arch_count);
  NVRTC_TRY(nvrtc, nvrtcGetSupportedArchs, nvrtc->archs);
  *out = nvrtc;
  return OK;
}

int nvrtc_version(const Nvrtc *nvrtc) { return nvrtc->version; }
const char *nvrtc_path(const Nvrtc *nvrtc) { return nvrtc->path; }

const char *cuda_arch_name(int sm, char out[16]) {
  snprintf(out, 16, "sm_%d%s", sm, sm >= 90 ? "a" : "");
  return out;
}

static bool supports_arch(const Nvrtc *nvrtc, int sm) {
  for (int i = 0; i < nvrtc->arch_count; i++)
    if (nvrtc->archs[i] == sm) return true;
  return false;
}

// Takes the log out of a program; "" where there is none.
static const char *program_log(const Nvrtc *nvrtc, NvrtcProgram program, Arena *arena) {
  size_t size = 0;
  if (nvrtc->nvrtcGetProgramLogSize(program, &size) || size < 2) return "";
  char *log = arena_alloc(arena, size + 1);
  return nvrtc->nvrtcGetProgramLog(program, log) ? "" : log;
}

typedef struct OpenProgram {
  const Nvrtc *nvrtc;
  NvrtcProgram program;
} OpenProgram;

static void program_close(void *context) {
  OpenProgram *open = context;
  if (open->program) open->nvrtc->nvrtcDestroyProgram(&open->program);
}

static Status compile(const Nvrtc *nvrtc, const char *name, const char *source, int sm, const DeviceSource *headers,
                      Arena *scratch, Arena *arena, Bytes *cubin, const char **remarks) {
  uint32_t count = 0;
  while (headers && headers[count].path) count++;
  const char **texts = arena_array(scratch, const char *, count), **paths = arena_array(scratch, const char *, count);
  for (uint32_t i = 0; i < count; i++) texts[i] = headers[i].text, paths[i] = headers[i].path;

  OpenProgram *open = arena_new_of(scratch, OpenProgram);
  open->nvrtc = nvrtc;
  arena_on_free(scratch, program_close, open);
  NVRTC_TRY(nvrtc, nvrtcCreateProgram, &open->program, source, name, (int)count, texts, paths);

  char arch[16];
  const char *options[COUNT_OF(fixed_options) + 1];
  memcpy(options, fixed_options, sizeof fixed_options);
  options[COUNT_OF(fixed_options)] = arena_printf(scratch, "-arch=%s", cuda_arch_name(sm, arch));
  NvrtcResult result = nvrtc->nvrtcCompileProgram(open->program, COUNT_OF(options), options);
  if (result == NVRTC_ERROR_COMPILATION)
    FAIL(ERROR_INTERNAL, "%s does not compile for %s:\n%s", name, arch, program_log(nvrtc, open->program, scratch));
  if (result) return nvrtc_error(nvrtc, result, "nvrtcCompileProgram");

  size_t size = 0;
  NVRTC_TRY(nvrtc, nvrtcGetCUBINSize, open->program, &size);
  void *bytes;
  TRY(arena_try_alloc(arena, size, 16, &bytes));
  NVRTC_TRY(nvrtc, nvrtcGetCUBIN, open->program, bytes);
  *cubin = (Bytes){bytes, size};
  NVRTC_TRY(nvrtc, nvrtcGetProgramLogSize, open->program, &size);
  char *log = arena_alloc(arena, size + 1);
  *remarks = "";
  if (size < 2) return OK;
  NVRTC_TRY(nvrtc, nvrtcGetProgramLog, open->program, log);
  *remarks = log;
  return OK;
}

Status nvrtc_compile(const Nvrtc *nvrtc, const char *name, const char *source, int sm, const DeviceSource *headers,
                     Arena *arena, Bytes *cubin, const char **remarks) {
  if (!supports_arch(nvrtc, sm))
    FAIL(ERROR_UNSUPPORTED, "NVRTC %d.%d (%s) does not compile for sm_%d", nvrtc->version / 1000, nvrtc->version % 1000 / 10,
         nvrtc->path, sm);
  Arena *scratch = arena_scratch();
  Status status = compile(nvrtc, name, source, sm, headers, scratch, arena, cubin, remarks);
  arena_free(scratch);
  return status_context(status, "compiling a kernel");
}
