// Kernels by their text: compiled once, then found. A kernel's key is the hash of its source, of every device text it
// includes, of the architecture and of the compiler's options; the same key on another machine means the same kernel, so an engine
// stores cubins under it. Lookups go through memory (with what an engine file brought along), then a folder on disk, then NVRTC.
// The folder may be shared by any number of processes: files appear whole by renaming, and are checked when read.
// In memory a kernel stays while somebody holds it, and then until newer ones that nobody holds need its room.
// No GPU is needed. All functions are safe to call from several threads, except compiler_new and compiler_free.
#pragma once
#include <stdbool.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/device_source.h"

typedef struct Compiler Compiler;

typedef struct CompilerOptions {
  const DeviceSource *headers;  // what kernels may include: device_sources; kept, not copied
  const char *folder;           // of the cache on disk; NULL: cache_folder()/kernels; "": none
  size_t idle_bytes;            // of kernels that nobody holds; 0: COMPILER_IDLE_BYTES
  Log log;
} CompilerOptions;
enum { COMPILER_IDLE_BYTES = 16 << 20 };
Compiler *compiler_new(const CompilerOptions *options);  // never NULL; NVRTC is opened when first needed
void compiler_free(Compiler *compiler);                  // NULL is fine

typedef struct Cubin {
  Hash128 key;
  const void *data;  // until compiler_release
  size_t size;
} Cubin;

typedef struct KernelSource {
  const char *label;   // for messages: names the site
  const char *source;  // a complete translation unit; NULL: only its key is known, and it must be in memory
  int sm;
  Hash128 key;  // without a source
} KernelSource;

Hash128 compiler_key(const Compiler *compiler, const char *source, int sm);
// What these two give is held, each time it is given, until it is released.
MUST_CHECK Status compiler_compile(Compiler *compiler, const KernelSource *source, Cubin *out);

// Compiles all of them, equal ones once, on `threads` threads (0: one a core). Stops at the first failure. out: count cubins, or NULL.
// Where the call has a budget, its thread only watches it meanwhile.
MUST_CHECK Status compiler_compile_all(Compiler *compiler, const KernelSource *sources, int count, int threads, Cubin *out);

void compiler_release(Compiler *compiler, const Cubin *cubins, int count);  // those without data are left out

// Makes a kernel of an engine file known. The bytes stay the caller's, and outlive the compiler.
MUST_CHECK Status compiler_preload(Compiler *compiler, Hash128 key, const void *cubin, size_t size);

typedef struct CompilerStats {
  int memory_hits, disk_hits, compiled, distrusted;  // distrusted: files on disk that failed their check
  double compile_seconds;                            // summed over threads
  size_t held_bytes, idle_bytes;                     // in memory now; those of engine files are the engine's
} CompilerStats;
CompilerStats compiler_stats(Compiler *compiler);
