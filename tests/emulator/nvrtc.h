// What lies behind NVRTC's interface: a program is a text with its headers (nvrtc.c), made into one text for the host's compiler (compose.c), which makes
// it a shared object (compile.c).
#pragma once
#include "base/file.h"
#include "base/hash.h"
#include "tests/emulator/emulator.h"
#include "base/device_source.h"

extern const DeviceSource emulator_sources[];  // device.hpp, made by cmake/embed.cmake

typedef struct Program {
  Arena *arena;
  const char *source, *name, *log;
  const char **header_paths, **header_texts;
  int header_count;
  bool *included;
  Image *image;
} Program;

// The program as one text, to go after device.hpp: the source with its headers in place, what registers its kernels.
const char *program_compose(Program *program, int sm);
// Compiles that, or finds it compiled; false: program->log says why.
bool program_build(Program *program, int sm);
// Of the emulator's compilation as a whole: the built-in names and the options.
Hash128 compiler_identity(void);
