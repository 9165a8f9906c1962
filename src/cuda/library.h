// Finding NVIDIA's libraries at run time. They come with a toolkit, a distribution's package or a Python wheel, and an
// application may have loaded one already: the loader's own search goes first, then the usual folders.
#pragma once
#include "base/arena.h"

// Tries, in order: the file named by the environment variable `variable` (alone, if it is set), every name through the loader, every
// name in the folders where toolkits and Python wheels put them. names: preferred first, ends with NULL.
// The library stays open for the process: these libraries do not survive being closed. *path (may be NULL) says what was opened.
MUST_CHECK Status library_open(const char *what, const char *variable, const char *const *names, Arena *arena, void **library,
                               const char **path);
