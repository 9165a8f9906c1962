// A site lowered for the CPU in a test: the routine it becomes, open.
#pragma once
#include <criterion/criterion.h>
#include "kernels/implementation.h"

typedef struct HostTest {
  const HostRoutine *routine;
  void *state;
  size_t workspace_bytes;
} HostTest;

// Lowers the site in the implementation's first way.
static inline Status host_lower(const Implementation *implementation, const Site *site, Arena *arena, ThreadPool *pool,
                                HostTest *out) {
  Machine machine = {.host = host_states_new(arena, pool, NULL)};
  Emission emission = {.arena = arena};
  Way way;
  const HostState *state;
  cr_assert_eq(implementation->ways(site, &machine, &way, 1), 1);
  TRY(implementation_lower(implementation, site, &way, &machine, &emission));
  cr_assert_eq(emission.launch_count, 1);
  const Launch *launch = emission.launches;
  TRY(host_state_take(machine.host, launch->host, launch->site, &state));
  cr_assert_eq(state->workspace_bytes, emission.workspace_bytes);
  *out = (HostTest){launch->host, state->state, emission.workspace_bytes};
  return OK;
}
