// Opening shared libraries by name in the places where NVIDIA's are found. See library.h.
#include "cuda/library.h"
#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/text.h"

// Patterns for glob, after the loader had its turn. Wheels lie under the root of a Python environment.
static const char *const toolkit_folders[] = {"/usr/local/cuda/lib64", "/usr/local/cuda-1[23]*/lib64",
                                              "/opt/cuda/lib64",       "/usr/lib/x86_64-linux-gnu",
                                              "/usr/lib/wsl/lib",      "/usr/local/nvidia/lib64"};
static const char *const wheel_folders[] = {
    "/lib/python3*/site-packages/nvidia/*/lib",
    "/lib/python3*/dist-packages/nvidia/*/lib",
    "/lib/python3/dist-packages/nvidia/*/lib",
};

// Opens the first file called name in the folders a pattern matches.
static void *open_matching(const char *pattern, const char *name) {
  char full[PATH_MAX];
  if (snprintf(full, sizeof full, "%s/%s", pattern, name) >= (int)sizeof full) return NULL;
  glob_t found;
  void *library = NULL;
  if (glob(full, 0, NULL, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc && !library; i++) library = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
  globfree(&found);
  return library;
}

static void *open_in_folders(const char *name) {
  void *library = NULL;
  for (size_t i = 0; i < COUNT_OF(toolkit_folders) && !library; i++) library = open_matching(toolkit_folders[i], name);
  const char *roots[] = {getenv("VIRTUAL_ENV"), getenv("CONDA_PREFIX"), "/usr/local", "/usr"};
  for (size_t r = 0; r < COUNT_OF(roots); r++) {
    if (!roots[r] || strpbrk(roots[r], "*?[")) continue;
    for (size_t i = 0; i < COUNT_OF(wheel_folders) && !library; i++) {
      char pattern[PATH_MAX];
      if (snprintf(pattern, sizeof pattern, "%s%s", roots[r], wheel_folders[i]) < (int)sizeof pattern)
        library = open_matching(pattern, name);
    }
  }
  return library;
}

static const char *loaded_path(void *library, const char *otherwise, Arena *arena) {
  char folder[PATH_MAX];
  if (dlinfo(library, RTLD_DI_ORIGIN, folder)) return otherwise;
  return arena_printf(arena, "%s/%s", folder, otherwise);
}

Status library_open(const char *what, const char *variable, const char *const *names, Arena *arena, void **library,
                    const char **path) {
  const char *chosen = getenv(variable);
  if (chosen && *chosen) {
    *library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    if (!*library) FAIL(ERROR_UNSUPPORTED, "%s cannot be opened from $%s: %s", what, variable, dlerror());
    if (path) *path = arena_string(arena, chosen);
    return OK;
  }
  for (int round = 0; round < 2; round++) {
    for (const char *const *name = names; *name; name++) {
      *library = round == 0 ? dlopen(*name, RTLD_NOW | RTLD_LOCAL) : open_in_folders(*name);
      if (!*library) continue;
      if (path) *path = loaded_path(*library, *name, arena);
      return OK;
    }
  }
  FAIL(ERROR_UNSUPPORTED, "%s was not found: no %s on the library path (set $%s to its file)", what, names[0], variable);
}
