// Blocks of a cluster, and launches that overlap. A block's shared memory may be used by the others from when they know that it has begun until it
// knows that they are done; both are found here, whatever happened to come first. The cluster's barrier is one of all threads.
#include <string.h>
#include "tests/emulator/emulator.h"

EMULATED_API unsigned emulated_cluster_rank(void) {
  return emulator.group->launch->cooperative ? 0 : emulator.thread->block->rank;
}
EMULATED_API unsigned emulated_cluster_size(void) { return group_cluster(emulator.group); }

EMULATED_API unsigned emulated_cluster_address(unsigned shared, unsigned rank) {
  if (rank >= group_cluster(emulator.group))
    finding(FOUND_ADDRESS, CALLER, "asks for the shared memory of block %u of a cluster of %u", rank,
            group_cluster(emulator.group));
  if (emulator.group->launch->cooperative) return shared & 0xffffff;
  return rank == emulator.thread->block->rank ? shared & 0xffffff : (shared & 0xffffff) | (rank + 1) << 24;
}

static bool has_started(const Thread *t, const Block *block) {
  for (unsigned i = 0; i < block->thread_count; i++)
    if (clock_knows(t, block->first_thread + i, 1)) return true;
  return false;
}

void cluster_touch(Thread *t, Block *block, bool lasting, uintptr_t pc) {
  if (!(t->started >> block->rank & 1)) {
    if (!has_started(t, block))
      finding(FOUND_HAZARD, pc, "uses shared memory of block %u of its cluster before anything says that this block has begun",
              block->rank);
    t->started |= 1u << block->rank;
  }
  if (block->exited == block->thread_count)
    finding(FOUND_HAZARD, pc, "uses shared memory of block %u of its cluster, which has ended", block->rank);
  if (!lasting) return;
  t->remote[block->rank] = t->clock;
  block->touched = true;
}

// --- barrier.cluster

static void release(Group *group) {
  struct ClusterBarrier *b = &group->cluster_barrier;
  b->completed = clock_add(group, b->gathering, b->completed);
  b->arrived = 0;
  b->phase++;
  for (unsigned i = 0; i < group->thread_count; i++)
    if (group->threads[i]->state == THREAD_WAITING && group->threads[i]->waiting_at == b) thread_wake(group->threads[i]);
}

// The compiler may have made several calls of one line.
static void same_line(const Meeting *m, uintptr_t line) {
  char first[400];
  if (!module_same_line(emulator.group->launch->function->module, m->line, line, first, sizeof first))
    finding(FOUND_INSTRUCTION, line, "arrives at the cluster's barrier here while others of its warp do at %s", first);
}

static void run_arrive(Meeting *m) {
  for (unsigned i = 0; i < m->count; i++) {
    Thread *t = m->threads[i];
    if (!t) continue;
    struct ClusterBarrier *b = &t->group->cluster_barrier;
    if (t->group->launch->cooperative)
      finding(FOUND_INSTRUCTION, m->line, "meets a cluster in a cooperative launch, which has none");
    same_line(m, *(uintptr_t *)m->arguments[i]);
    if (t->in_cluster_barrier)
      finding(FOUND_INSTRUCTION, m->line, "arrives at the cluster's barrier again without having waited");
    t->in_cluster_barrier = true;
    t->cluster_phase = b->phase;
    b->gathering = clock_release(t, b->gathering);
    b->arrived++;
  }
  Group *group = emulator.group;
  if (group->cluster_barrier.arrived + group->exited >= group->thread_count) release(group);
}

EMULATED_API void emulated_cluster_arrive(void) {
  uintptr_t line = CALLER;
  meet("barrier.cluster.arrive", WARP, 0xffffffffu, &line, line, run_arrive);
}
EMULATED_API void emulated_cluster_wait(void) {
  Thread *t = emulator.thread;
  struct ClusterBarrier *b = &t->group->cluster_barrier;
  if (!t->in_cluster_barrier) finding(FOUND_INSTRUCTION, CALLER, "waits at the cluster's barrier without having arrived");
  while (b->phase == t->cluster_phase) thread_wait("the cluster's barrier", b, CALLER);
  t->in_cluster_barrier = false;
  clock_acquire(t, b->completed);
}

// A thread of a block ends: what the others did to its memory and it knows of is past; what its last thread does not know of is not.
void cluster_exit(Thread *t) {
  Group *group = t->group;
  struct ClusterBarrier *b = &group->cluster_barrier;
  if (t->in_cluster_barrier) finding(FOUND_INSTRUCTION, 0, "ends between arriving at the cluster's barrier and waiting there");
  if (b->arrived && b->arrived + group->exited >= group->thread_count) release(group);
  if (!t->block->touched) return;
  unsigned rank = t->block->rank;
  for (unsigned i = 0; i < group->thread_count; i++) {
    Thread *other = group->threads[i];
    uint32_t when = other->remote[rank];
    if (!when) continue;
    if (clock_knows(t, i, when)) {
      other->remote[rank] = 0;
    } else if (t->block->exited == t->block->thread_count) {
      char who[160];
      epoch_name(other->epoch, who, sizeof who);
      finding(FOUND_HAZARD, 0,
              "ends, and with it block %u of its cluster, when nothing says that %s has done with its shared memory", rank,
              who);
    }
  }
}

void cluster_forget(Group *group) {
  knowledge_drop(group, group->cluster_barrier.gathering);
  knowledge_drop(group, group->cluster_barrier.completed);
}

// --- Launches that overlap: who has waited knows of the launch before, and so does who learns of that.

EMULATED_API void emulated_grid_wait(void) {
  Thread *t = emulator.thread;
  emulator.ticks++;
  if (t->group->launch->overlaps) clock_learn_begun(t);
}
EMULATED_API void emulated_grid_launch_next(void) { emulator.ticks++; }
