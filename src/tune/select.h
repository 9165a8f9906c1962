// Picking a tactic and a candidate for a site: what the tuning database says, else the first tactic that supports it, in its first
// configuration that fits the limits. Ingot's own kernels come first for small sites, where they measured faster (fused epilogues,
// split-K) and need no library; NVIDIA's libraries for large ones.
#pragma once
#include "base/log.h"
#include "kernels/tactic.h"
#include "tune/database.h"

typedef struct Selection {
  const Tactic *tactic;
  Candidate candidate;
  Emission *emission;
  bool measured;  // the database knew
} Selection;

typedef struct SelectOptions {
  CudaContext *cuda;  // NULL: choosing for a GPU that is not here; library tactics are left out
  const TuningDatabase *tuning;
  size_t workspace_limit;
  const Log *log;
  // Called before a library tactic is considered; updates the site's DeviceInfo. NULL: what the DeviceInfo says stays.
  Status (*open_libraries)(void *context);
  void *context;
  const Tactic *forced;  // this tactic's candidate of this number, or nothing; NULL: free choice
  int forced_candidate;
} SelectOptions;

// *out is NULL where nothing supports the site as it is; slow general tactics are offered with `last` only.
MUST_CHECK Status select_tactic(const Site *site, const SelectOptions *options, bool last, Arena *arena, Selection **out);
// Every way there is, for the tuner: at most `limit` selections, best guesses first, their emissions not yet made.
int select_all(const Site *site, const SelectOptions *options, Selection *out, int limit);
MUST_CHECK Status selection_emit(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection);
// Whether some tactic computes the static node when its operands are row-major.
bool select_supports(const Node *node, const DeviceInfo *device, bool tf32);
