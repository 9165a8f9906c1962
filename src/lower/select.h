// Picking an implementation and a way for a site, on a GPU and on the CPU: what the tuning database says, else the first implementation that
// supports it, in its first way that fits the limits. On a GPU Ingot's own kernels come first for small sites, where they measured faster (fused
// epilogues, split-K) and need no library; NVIDIA's libraries for large ones. On the CPU the table's order holds.
#pragma once
#include "base/log.h"
#include "cuda/compiler.h"
#include "kernels/implementation.h"
#include "lower/database.h"

enum { MOST_IMPLEMENTATIONS = 16 };  // that serve one site

typedef struct Selection {
  const Implementation *implementation;  // NULL: nothing was found
  Way way;
  Emission *emission;  // the steps
} Selection;

typedef struct SelectOptions {
  Machine machine;  // without it libraries of a GPU are left out
  const TuningDatabase *tuning;
  const Compiler
      *compiler;  // knows the hashes of kernels: what was measured of others is stale. Without it nothing measured is taken
  size_t workspace_limit;  // 0: none
  const Log *log;
  // Called before a library is considered; updates the site's DeviceInfo. NULL: what the DeviceInfo says stays.
  Status (*open_libraries)(void *context);
  void *context;
  struct AlikeSites *alike;  // of one plan, whose device and limits are the same for all its sites; NULL: none are remembered
  BestWays *best;            // of the device; NULL: none are remembered
  bool general_only;         // implementations that are not general are left out
  const Implementation *forced;  // for sites it serves: its way of this number, or nothing; NULL: free choice
  int forced_way;
  bool *forced_taken;  // set when a site was; may be NULL
  // Where open sizes choose among a few ways (Way.at_rung): not the best for those at hand, but the next, which sizes near them take.
  bool other_rung;
} SelectOptions;

// out->implementation is NULL where nothing supports the site as it is; slow general implementations are offered with `last` only, when every
// input is as dense as it gets.
MUST_CHECK Status select_implementation(const Site *site, const SelectOptions *options, bool last, Arena *arena,
                                        Selection *out);
// The implementations for the site in the order in which they are asked, those that do not take it among them, at most `limit`; and what that order is, in words.
int select_order(const Site *site, const Implementation **out, int limit, const char **order);
// What the database says alone; *entry NULL: nothing that fits.
MUST_CHECK Status select_measured(const Site *site, const SelectOptions *options, Arena *arena, Selection *out,
                                  const TuningEntry **entry);
// Every way there is, for the tuner: at most `limit` selections, best guesses first, their emissions not yet made.
int select_all(const Site *site, const SelectOptions *options, Selection *out, int limit);
MUST_CHECK Status selection_lower(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection);
// Whether some implementation computes the static node when its operands are row-major.
bool select_supports(const Node *node, const DeviceInfo *device, bool tf32);
// Microseconds, as predicted.
double selection_cost(const Selection *selection, const Site *site);
// "mma_matmul 128x128x32 s4", or the implementation's name where its way has none.
char *selection_text(const Selection *selection, Arena *arena);
