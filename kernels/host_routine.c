// See host_routine.h.
#include "kernels/host_routine.h"

HostStates *host_states_new(Arena *arena, ThreadPool *pool, Packings *packings) {
  HostStates *states = arena_new_of(arena, HostStates);
  *states = (HostStates){arena, pool, packings, int_map_new(arena)};
  return states;
}

Status host_state_take(HostStates *states, const HostRoutine *routine, const HostParameters *parameters,
                       const HostState **out) {
  uint64_t key = (uintptr_t)parameters;
  *out = int_map_get(states->made, key);
  if (*out) return OK;
  Site site = *parameters->site;
  site.packings = states->packings;
  HostState *made = arena_new_of(states->arena, HostState);
  TRY(routine->open(&(HostParameters){&site, parameters->way}, states->arena, states->pool, &made->state,
                    &made->workspace_bytes));
  int_map_set(states->made, key, made);
  *out = made;
  return OK;
}
