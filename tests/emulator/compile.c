// Running the host's C++ compiler. It is told to instrument the text as for the thread sanitizer; hooks.c is what it then calls. Objects are kept in
// a folder by the hash of the preprocessed text, so that architectures that see the same text share them; a link from the hash of the
// text before that saves preprocessing it again. Several processes may share the folder.
//
// Environment: INGOT_EMULATOR_CXX the compiler (g++), INGOT_EMULATOR_CACHE the folder (cache_folder()/emulator).
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/text.h"
#include "nvrtc.h"

static const char flags[] =
    "-std=c++17 -O1 -g1 -w -fPIC -shared -fno-exceptions -fno-rtti -fno-asynchronous-unwind-tables -fno-math-errno "
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

// FOLDER/HASH.SUFFIX of a text, as this compiler would make it.
static const char *keyed_path(Program *p, const char *folder, const char *text, const char *suffix) {
  char hex[33];
  hash128_hex(hash128_combine(hash_text(text), hash128_combine(compiler_identity(), hash_text(compiler_name()))), hex);
  return arena_printf(p->arena, "%s/%s.%s", folder, hex, suffix);
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

// Makes FOLDER/HASH.so of the preprocessed text, unless it is there; other processes that want the same one wait.
static bool make_object(Program *p, const char *folder, const char *text_path, const char *out) {
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
    dladdr((void *)compiler_identity, &self);
    const char *compiler = compiler_name();
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

// Without the line markers that name the file, which is this process's own.
static const char *unnamed(Program *p, Bytes text, const char *name) {
  Text out = text_new(p->arena);
  for (const char *line = (const char *)text.data, *end = line + text.size; line < end;) {
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    stop = stop ? stop + 1 : end;
    bool own = line[0] == '#' && memmem(line, (size_t)(stop - line), name, strlen(name));
    if (!own) text_add_n(&out, line, (size_t)(stop - line));
    line = stop;
  }
  return text_get(&out);
}

// The text as the compiler's preprocessor leaves it, through files of this process's own; NULL: the log says why.
static const char *preprocess(Program *p, const char *folder, const char *whole, const char *raw) {
  const char *name = strrchr(raw, '/') + 1;
  Bytes text = {0};
  bool good = write_whole(p, raw, whole) &&
              run(p, arena_printf(p->arena, "cd '%s' && %s -std=c++17 -E -w '%s' -o '%s.ii' 2>&1", folder, compiler_name(), raw,
                                  raw)) &&
              read_whole(p, arena_printf(p->arena, "%s.ii", raw), &text);
  unlink(raw);
  return good ? unnamed(p, text, name) : NULL;
}

bool program_build(Program *p, int sm) {
  const char *folder = object_folder(p->arena), *whole = program_compose(p, sm);
  const char *known = keyed_path(p, folder, whole, "known.so");
  if (file_exists(known)) return take_object(p, known);
  const char *raw = keyed_path(p, folder, whole, arena_printf(p->arena, "%d.cpp", (int)getpid()));
  const char *plain = arena_printf(p->arena, "%s.ii", raw), *text = preprocess(p, folder, whole, raw), *object = NULL;
  if (text) object = keyed_path(p, folder, text, "so");
  bool good = object && (file_exists(object) || write_whole(p, plain, text)) && make_object(p, folder, plain, object);
  unlink(plain);
  if (!good || (symlink(object, known) && errno != EEXIST)) return false;
  return take_object(p, object);
}
