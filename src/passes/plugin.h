// Passes of one's own, in shared objects: `ingot COMMAND MODEL --pass FILE`. Such an object is built from Ingot's own headers (`./dev pass FILE.c`) and exports
//
//   const PassPlugin ingot_plugin = {INGOT_VERSION, &pass, "fuse_elementwise"};
//
// Its rules are like the built-in ones: verified, logged, left out by name. It is code of this process: load what you trust.
#pragma once
#include "passes/rule.h"

typedef struct PassPlugin {
  const char *version;  // INGOT_VERSION: the interface between rules and the workshop is of one version
  const Pass *pass;     // of rules
  const char *before;   // the pass of the pipeline before whose first run it runs
} PassPlugin;

// Loads a file; for the whole process, and for good. What it holds is checked first, names, patterns and all; what is refused is not kept. Not while
// other threads build.
MUST_CHECK Status plugin_load(const char *path);
const PassPlugin *plugin_at(int index);  // in the order in which they were loaded; NULL behind the last
