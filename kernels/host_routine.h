// Calls of the host as data: a routine that is known by name, the site and the way to compute it in, and arguments that are addresses. What a
// run needs of them (packed constants, primitives of oneDNN, tables) is a state, made once for a plan; it also tells the workspace, and so
// it is made when the site is lowered, and kept for the launch.
#pragma once
#include "base/map.h"
#include "base/thread.h"
#include "kernels/site.h"

typedef struct Way {
  int config[12];  // the implementation's own numbers: tile sizes, stages, splits, an algorithm's index
  char name[64];   // what `inspect` prints: "128x128x32 s4 splitk2"; may be empty
  double cost;     // microseconds, as predicted (kernels/cost.h)
  bool at_rung;    // one of the few that open sizes choose among (kernels/tile/way_list.h)
} Way;

typedef struct HostCall {
  void *const *inputs;  // NULL where absent; pointers to element 0 as the site's strides see it
  void *const *outputs;
  void *workspace;  // 64-byte aligned
  ThreadPool *pool;
} HostCall;

typedef struct HostParameters {
  const Site *site;
  const Way *way;
} HostParameters;

typedef struct HostRoutine {
  const char *name;  // stands for the meaning of the parameters: another meaning has another name
  // Makes the state, in the arena (foreign handles are released through arena_on_free), and says how much workspace a run needs. Constants
  // (site->inputs[i].constant) may be packed here. What the site points to outlives the state, the site itself does not, and sizes that the graph
  // states, in types and in attributes, may be other calls' when it runs.
  Status (*open)(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **state, size_t *workspace_bytes);
  Status (*run)(void *state, const HostCall *call);  // one thread at a time for one state
} HostRoutine;

typedef struct HostState {
  void *state;
  size_t workspace_bytes;
} HostState;

// The states of one plan.
typedef struct HostStates {
  Arena *arena;
  ThreadPool *pool;
  Packings *packings;  // NULL: each state has its own
  IntMap *made;        // HostState, by the parameters' address
} HostStates;

HostStates *host_states_new(Arena *arena, ThreadPool *pool, Packings *packings);
// Opens the routine for these parameters, which outlive it, unless it is open for them.
MUST_CHECK Status host_state_take(HostStates *states, const HostRoutine *routine, const HostParameters *parameters,
                                  const HostState **out);
