// NVRTC's interface over the host's C++ compiler. The text that NVRTC would get becomes a shared object: its includes are expanded in
// place, line markers keep the names of its files, device.hpp goes before it and gives CUDA's built-in names, and after it each kernel is
// registered by name. The compiler is told to instrument it as for the thread sanitizer; hooks.c is what it then calls. Objects are kept
// in a folder by the hash of the preprocessed text, so that architectures that see the same text share them.
//
// Environment: INGOT_EMULATOR_CXX the compiler (g++), INGOT_EMULATOR_CACHE the folder (cache_folder()/emulator). INGOT_EMULATOR_SOURCE a
// folder whose files stand in for the headers of the same name (FOLDER/kernels/common/mma_tile.cuh): a kernel is edited and tried
// without building Ingot again. Ingot, which knows nothing of that, keeps compiled kernels under keys of its own texts, so that such a run
// needs a kernel cache of its own ($XDG_CACHE_HOME); the folder of objects may be shared, as its keys are of what was compiled.
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "fault.h"
#include "kernels/device_source.h"

typedef int NvrtcResult;
enum { NVRTC_OK = 0, NVRTC_OUT_OF_MEMORY = 1, NVRTC_INVALID_OPTION = 5, NVRTC_COMPILATION = 6, NVRTC_INTERNAL = 11 };
extern const DeviceSource emulator_sources[];  // device.hpp, made by cmake/embed.cmake

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

typedef struct Program {
  Arena *arena;
  const char *source, *name, *log;
  const char **header_paths, **header_texts;
  int header_count;
  bool *included;
  Image *image;
} Program;

static const char flags[] =
    "-std=c++17 -O1 -g1 -w -fPIC -shared -fno-exceptions -fno-rtti -fno-asynchronous-unwind-tables -fno-math-errno "
    "-ffp-contract=off "
    "-fno-strict-aliasing -ftrivial-auto-var-init=pattern -fsanitize=thread -fno-gnu-unique";
// gcc's own: vectors stay whole, so that their alignment is seen; extern __shared__ needs no initialiser.
static const char gcc_flags[] = "-fno-tree-sra -fno-extern-tls-init --param=tsan-instrument-func-entry-exit=0";

EMULATED_API NvrtcResult nvrtcVersion(int *major, int *minor) {
  NVRTC_MAY_FAIL();
  // The version is part of the keys under which compiled kernels are kept: another emulator makes others.
  Hash128 hash = hash128_bytes(emulator_sources[0].text, strlen(emulator_sources[0].text));
  hash = hash128_combine(hash, hash128_bytes(flags, sizeof flags));
  *major = 1000 + (int)(hash.low % 100000);
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

// --- One text of many.

// Every header is included once, as their #pragma once says.
static void expand(Program *p, const char *name, const char *text, Text *out) {
  static const char directive[] = "#include \"";
  text_add(out, "#line 1 \"%s\"\n", name);
  for (int line = 1; *text; line++) {
    const char *end = strchrnul(text, '\n');
    bool known = false;
    if (!strncmp(text, directive, sizeof directive - 1)) {
      const char *path = text + sizeof directive - 1;
      size_t length = strcspn(path, "\"\n");
      for (int i = 0; i < p->header_count && !known; i++) {
        if (strncmp(p->header_paths[i], path, length) || p->header_paths[i][length]) continue;
        known = true;
        if (p->included[i]) continue;
        p->included[i] = true;
        expand(p, p->header_paths[i], p->header_texts[i], out);
        text_add(out, "#line %d \"%s\"", line, name);
      }
    }
    if (!known && strncmp(text, "#pragma once", 12)) text_add_n(out, text, (size_t)(end - text));
    text_add(out, "\n");
    text = *end ? end + 1 : end;
  }
}

// Registers each kernel of the text: finds "__global__", then its bounds if it has any, then the name before the parameters.
static void register_kernels(const char *text, Text *out) {
  text_add(out, "#line 1 \"registration\"\n");
  for (const char *at = strstr(text, "__global__"); at; at = strstr(at, "__global__")) {
    const char *bounds = "0", *end;
    size_t bounds_length = 1;
    at += 10;
    const char *open = strchr(at, '(');
    const char *given = strstr(at, "__launch_bounds__");
    if (!open) return;
    if (given && given < open) {
      bounds = open + 1;
      bounds_length = strcspn(bounds, ",)");
      open = strchr(strchr(bounds, ')'), '(');
      if (!open) return;
    }
    for (end = open; end > at && isspace((unsigned char)end[-1]); end--) {}
    const char *begin = end;
    while (begin > at && (isalnum((unsigned char)begin[-1]) || begin[-1] == '_')) begin--;
    text_add(out, "EMULATED_KERNEL(%.*s, %.*s)\n", (int)(end - begin), begin, (int)bounds_length, bounds);
  }
}

// The variable of dynamic shared memory, whatever its declared type: all the memory there can be.
static void define_dynamic(const char *text, Text *out) {
  const char *at = strstr(text, "extern __shared__ ");
  if (!at) return;
  const char *end = strchr(at, '[');
  if (!end) return;
  const char *begin = end;
  while (isalnum((unsigned char)begin[-1]) || begin[-1] == '_') begin--;
  text_add(out, "EMULATED_DYNAMIC(\"%.*s\")\n", (int)(end - begin), begin);
}

// --- Running the compiler.

static bool run(Program *p, const char *command) {
  Text log = text_new(p->arena);
  FILE *pipe = popen(command, "r");
  if (!pipe) return false;
  char buffer[4096];
  size_t got;
  while ((got = fread(buffer, 1, sizeof buffer, pipe))) text_add_n(&log, buffer, got);
  int code = pclose(pipe);
  if (code) p->log = text_get(&log);
  return code == 0;
}

static bool read_whole(Program *p, const char *path, Bytes *out) {
  Status status = file_read(path, (size_t)1 << 28, p->arena, out);
  if (status) p->log = arena_string(p->arena, status_message(status));
  bool good = !status;
  status_free(status);
  return good;
}

static bool write_whole(Program *p, const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  bool good = file && fputs(text, file) >= 0;
  if (file) good &= fclose(file) == 0;
  if (!good) p->log = arena_printf(p->arena, "%s cannot be written", path);
  return good;
}

// Makes FOLDER/HASH.so of the preprocessed text, unless it is there; other processes that want the same one wait.
static bool make_object(Program *p, const char *compiler, const char *folder, const char *text_path, const char *out) {
  if (file_exists(out)) return true;
  const char *lock_path = arena_printf(p->arena, "%s.lock", out);
  int lock = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  if (lock < 0 || flock(lock, LOCK_EX)) {
    p->log = arena_printf(p->arena, "%s cannot be locked", lock_path);
    if (lock >= 0) close(lock);
    return false;
  }
  bool made = file_exists(out);
  if (!made) {
    Dl_info self;
    dladdr((void *)nvrtcVersion, &self);
    bool clang = strstr(compiler, "clang") != NULL;
    const char *part = arena_printf(p->arena, "%s.%d.part", out, (int)getpid());
    // Linked by the compiler's own linker driver, but without the sanitizer's library: the emulator is what it calls.
    made =
        run(p,
            arena_printf(
                p->arena, "cd '%s' && %s %s %s -x c++-cpp-output -c '%s' -o '%s.o' 2>&1 && %s -shared -o '%s' '%s.o' '%s' 2>&1",
                folder, compiler, flags, clang ? "" : gcc_flags, text_path, part, compiler, part, part, self.dli_fname)) &&
        !rename(part, out);
    unlink(arena_printf(p->arena, "%s.o", part));
  }
  unlink(lock_path);
  close(lock);
  return made;
}

static bool take_object(Program *p, const char *path) {
  Bytes object;
  if (!read_whole(p, path, &object)) return false;
  size_t source_size = strlen(p->source) + 1;
  p->image = malloc(sizeof *p->image + object.size + source_size);
  if (!p->image) return false;
  memcpy(p->image->magic, image_magic, sizeof p->image->magic);
  p->image->size = object.size;
  p->image->source_size = source_size;
  memcpy(p->image->data, object.data, object.size);
  memcpy(p->image->data + object.size, p->source, source_size);
  return true;
}

static bool build(Program *p, int sm) {
  const char *compiler = getenv("INGOT_EMULATOR_CXX");
  if (!compiler || !*compiler) compiler = "g++";
  const char *folder = getenv("INGOT_EMULATOR_CACHE");
  if (!folder || !*folder) folder = path_join(p->arena, cache_folder(p->arena), "emulator");
  status_free(directory_make(folder));

  Text text = text_new(p->arena), tail = text_new(p->arena);
  text_add(&text, "#define EMULATED 1\n#define __CUDA_ARCH__ %d\n#line 1 \"device.hpp\"\n%s", sm * 10,
           emulator_sources[0].text);
  memset(p->included, 0, (size_t)p->header_count * sizeof *p->included);
  Text body = text_new(p->arena);
  expand(p, "kernel.cu", p->source, &body);
  register_kernels(text_get(&body), &tail);
  define_dynamic(text_get(&body), &tail);
  text_add(&text, "%s\n%s", text_get(&body), text_get(&tail));

  const char *whole = text_get(&text);
  char hex[33];
  Hash128 given = hash128_combine(hash128_bytes(whole, strlen(whole)), hash128_bytes(flags, sizeof flags));
  given = hash128_combine(given, hash128_bytes(compiler, strlen(compiler)));
  hash128_hex(given, hex);
  // What this very text became before, without preprocessing it again.
  const char *known = arena_printf(p->arena, "%s/%s.known.so", folder, hex);
  if (file_exists(known)) return take_object(p, known);
  const char *raw = arena_printf(p->arena, "%s/%s.%d.cpp", folder, hex, (int)getpid()),
             *plain = arena_printf(p->arena, "%s.ii", raw);
  if (!write_whole(p, raw, whole)) return false;
  bool good = run(p, arena_printf(p->arena, "cd '%s' && %s -std=c++17 -E -w '%s' -o '%s' 2>&1", folder, compiler, raw, plain));
  Bytes preprocessed = {0};
  const char *out = NULL;
  good = good && read_whole(p, plain, &preprocessed);
  if (good) {
    // The first line names the file, which is this process's own.
    const char *from = memchr(preprocessed.data, '\n', preprocessed.size);
    size_t skip = from ? (size_t)(from - (const char *)preprocessed.data) : 0;
    const char *content = (const char *)preprocessed.data + skip;
    Text unnamed = text_new(p->arena);
    for (const char *line = content, *end = content + preprocessed.size - skip; line < end;) {
      const char *stop = memchr(line, '\n', (size_t)(end - line));
      stop = stop ? stop + 1 : end;
      bool own = line[0] == '#' && memmem(line, (size_t)(stop - line), hex, 32);
      if (!own) text_add_n(&unnamed, line, (size_t)(stop - line));
      line = stop;
    }
    const char *clean = text_get(&unnamed);
    Hash128 hash = hash128_combine(hash128_bytes(clean, strlen(clean)), hash128_bytes(flags, sizeof flags));
    hash = hash128_combine(hash, hash128_bytes(compiler, strlen(compiler)));
    hash128_hex(hash, hex);
    out = arena_printf(p->arena, "%s/%s.so", folder, hex);
    good = (file_exists(out) || write_whole(p, plain, clean)) && make_object(p, compiler, folder, plain, out);
  }
  unlink(raw);
  unlink(plain);
  if (!good) return false;
  if (symlink(out, known) && errno != EEXIST) return false;
  return take_object(p, out);
}

EMULATED_API NvrtcResult nvrtcCompileProgram(Program *p, int count, const char *const *options) {
  NVRTC_MAY_FAIL();
  int sm = 0;
  for (int i = 0; i < count; i++)
    if (!strncmp(options[i], "-arch=sm_", 9)) sm = atoi(options[i] + 9);
  if (!sm) return NVRTC_INVALID_OPTION;
  return build(p, sm) ? NVRTC_OK : NVRTC_COMPILATION;
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
