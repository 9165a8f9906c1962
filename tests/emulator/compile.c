// Running the host's C++ compiler. It is told to instrument the text as for the thread sanitizer; hooks.c is what it then calls. Objects are kept in
// a folder by the hash of the text, and the built-in names as a precompiled header. Several processes may share the folder.
//
// Environment: INGOT_EMULATOR_CXX the compiler (g++), INGOT_EMULATOR_CACHE the folder (cache_folder()/emulator).
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/text.h"
#include "tests/emulator/nvrtc.h"

static const char flags[] =
    "-std=c++17 -O1 -g1 -w -fPIC -fno-exceptions -fno-rtti -fno-asynchronous-unwind-tables -fno-math-errno "
    "-ffp-contract=off -fno-strict-aliasing -ftrivial-auto-var-init=pattern -fsanitize=thread";
// gcc: vectors stay whole, so that their alignment is seen; extern __shared__ needs no initialiser; modules can be unloaded.
static const char gcc_flags[] = "-fno-tree-sra -fno-extern-tls-init -fno-gnu-unique --param=tsan-instrument-func-entry-exit=0";

static Hash128 hash_text(const char *text) { return hash128_bytes(text, strlen(text)); }

Hash128 compiler_identity(void) {
  return hash128_combine(hash_text(emulator_sources[0].text), hash128_combine(hash_text(flags), hash_text(gcc_flags)));
}

static const char *compiler_name(void) {
  const char *name = getenv("INGOT_EMULATOR_CXX");
  return name && *name ? name : "g++";
}

static const char *object_folder(Arena *arena) {
  const char *folder = getenv("INGOT_EMULATOR_CACHE");
  if (!folder || !*folder) folder = path_join(arena, cache_folder(arena), "emulator");
  status_free(directory_make(folder));  // what cannot be made shows when it is written to
  return folder;
}

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

// FOLDER/HASH.SUFFIX of a text, as this compiler would make it.
static const char *keyed_path(Program *p, const char *text, const char *suffix) {
  char hex[33];
  hash128_hex(hash128_combine(hash_text(text), hash128_combine(compiler_identity(), hash_text(compiler_name()))), hex);
  return arena_printf(p->arena, "%s/%s.%s", object_folder(p->arena), hex, suffix);
}

static bool compile(Program *p, const char *options, const char *source, const char *out) {
  const char *compiler = compiler_name(), *slash = strrchr(source, '/');
  // Named without its folder: what the result says of itself is the same wherever it was made.
  return run(p, arena_printf(p->arena, "cd '%.*s' && %s %s %s %s '%s' -o '%s' 2>&1", (int)(slash - source), source, compiler,
                             flags, strstr(compiler, "clang") ? "" : gcc_flags, options, slash + 1, out));
}

// `out` of a text, unless it is there; other processes that want the same one wait.
typedef bool Make(Program *p, const char *text, const char *out, const char *part);
static bool make_once(Program *p, const char *text, const char *out, Make *make) {
  if (file_exists(out)) return true;
  const char *lock_path = arena_printf(p->arena, "%s.lock", out);
  int lock = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  if (lock < 0 || flock(lock, LOCK_EX)) {
    p->log = arena_printf(p->arena, "%s cannot be locked", lock_path);
    if (lock >= 0) close(lock);
    return false;
  }
  const char *part = arena_printf(p->arena, "%s.%d.part", out, (int)getpid());
  bool made = file_exists(out) || (make(p, text, out, part) && !rename(part, out));
  unlink(lock_path);
  close(lock);
  return made;
}

// NAME.gch beside NAME is what compilers take when they are told to include NAME.
static bool make_header(Program *p, const char *text, const char *out, const char *part) {
  const char *header = arena_printf(p->arena, "%.*s", (int)(strlen(out) - 4), out);
  return write_whole(p, header, text) && compile(p, "-x c++-header -c", header, part);
}

// Linked without the sanitizer's library and whatever else a compiler would link: the emulator is what a module calls.
static bool make_object(Program *p, const char *text, const char *out, const char *part) {
  const char *source = arena_printf(p->arena, "%s.cpp", part), *object = arena_printf(p->arena, "%s.o", part);
  const char *names = emulator_sources[0].text, *header = keyed_path(p, names, "device.hpp");
  if (!make_once(p, names, keyed_path(p, names, "device.hpp.gch"), make_header)) return false;
  Dl_info self;
  dladdr((void *)compiler_identity, &self);
  bool made = write_whole(p, source, text) && compile(p, arena_printf(p->arena, "-include '%s' -c", header), source, object) &&
              run(p, arena_printf(p->arena, "%s -shared -nostdlib -o '%s' '%s' '%s' -lm -lgcc 2>&1", compiler_name(), part,
                                  object, self.dli_fname));
  unlink(source);
  unlink(object);
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

bool program_build(Program *p, int sm) {
  const char *text = program_compose(p, sm), *object = keyed_path(p, text, "so");
  return make_once(p, text, object, make_object) && take_object(p, object);
}
