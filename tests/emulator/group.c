// The threads of a cluster, or of a block on its own, run as fibers: one at a time, until each waits. Who runs next is the seed's choice, so a
// failure replays; and so that not only the order of waits is tried, a thread may also be interrupted at any access.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "tests/emulator/emulator.h"

enum { PREEMPT_TICKS = 4096, WATCHDOG_TICKS = 2000000000 };

// --- Waiting and going on.

static void to_scheduler(Thread *t) {
  emulator.thread = NULL;
  fiber_leave(&t->fiber, t->state == THREAD_EXITED);
}

static void push_ready(Thread *t) {
  Group *g = t->group;
  t->state = THREAD_READY;
  g->ready[g->ready_tail] = t;
  g->ready_tail = (g->ready_tail + 1) % (g->thread_count + 1);
}

void thread_yield(void) {
  Thread *t = emulator.thread;
  push_ready(t);
  to_scheduler(t);
}

void thread_wait(const char *what, void *at, uintptr_t line) {
  Thread *t = emulator.thread;
  t->state = THREAD_WAITING;
  t->waiting_for = what;
  t->waiting_at = at;
  t->waiting_line = line;
  to_scheduler(t);
}

void thread_wake(Thread *t) {
  if (t->state == THREAD_WAITING) push_ready(t);
}

// --- Making a group.

static void thread_main(void) {
  fiber_entered();
  Thread *t = emulator.thread;
  Launch *launch = t->group->launch;
  launch->function->kernels[t->block->rank]->invoke(launch->arguments);
  thread_exit(t);
  t->state = THREAD_EXITED;
  to_scheduler(t);
  abort();
}

// Variables hold a pattern. The dynamic one may lie among the static ones.
static void forget_shared(const Block *block) {
  uint32_t before = block->static_bytes;
  if (block->dynamic && block->dynamic > block->statics) before = MIN(before, (uint32_t)(block->dynamic - block->statics));
  if (before) memset(block->statics, 0xa5, before);
  if (before < block->static_bytes) memset(shared_pointer(block, before), 0xa5, block->static_bytes - before);
  if (block->dynamic) memset(block->dynamic, 0xa5, block->dynamic_bytes);
}

static Block *block_new(Group *group, unsigned rank, Index3 index, unsigned threads, uint32_t first_thread) {
  static Block *kept[CLUSTER_BLOCKS];  // with their cells, for the next group
  static uint32_t used[CLUSTER_BLOCKS];
  const Launch *launch = group->launch;
  if (!kept[rank]) {
    kept[rank] = calloc(1, sizeof(Block));
    kept[rank]->cells = calloc(SHARED_WINDOW, sizeof(Cell));
    if (!kept[rank]->cells) abort();
  }
  Block *block = kept[rank];
  Cell *cells = block->cells;
  memset(cells, 0, used[rank] * sizeof *cells);
  *block = (Block){
      .group = group, .rank = rank, .index = index, .thread_count = threads, .first_thread = first_thread, .cells = cells};
  block->copy = launch->function->module->copies[rank];
  block->statics = block->copy->anchor() - block->copy->anchor_offset;
  block->dynamic = block->copy->dynamic ? block->copy->dynamic() : NULL;
  block->dynamic_gap = block->copy->dynamic_gap;
  block->static_bytes = block->copy->statics_bytes;
  block->dynamic_offset = (block->static_bytes + 15) & ~15u;  // aligned to 16 bytes, and here to no more
  block->dynamic_bytes = block->dynamic ? launch->shared_bytes : 0;
  used[rank] = block->dynamic_offset + block->dynamic_bytes;
  forget_shared(block);
  return block;
}

static void threads_make(Group *group) {
  static Thread *kept;
  static Thread **pointers, **ring;
  static unsigned room;
  if (group->thread_count > room) {
    room = group->thread_count < BLOCK_THREADS ? BLOCK_THREADS : group->thread_count;
    kept = realloc(kept, room * sizeof *kept);
    pointers = realloc(pointers, room * sizeof *pointers);
    ring = realloc(ring, (room + 1) * sizeof *ring);
    if (!kept || !pointers || !ring) abort();
  }
  size_t stack_size;
  char *stacks = fiber_stacks(group->thread_count, &stack_size);
  const unsigned *dims = group->launch->block;
  group->threads = pointers;
  group->ready = ring;
  for (unsigned i = 0; i < group->thread_count; i++) {
    Thread *t = &kept[i];
    Block *block = group->blocks[i / (dims[0] * dims[1] * dims[2])];
    unsigned linear = i - block->first_thread;
    *t = (Thread){.group = group,
                  .block = block,
                  .id = i,
                  .index = {linear % dims[0], linear / dims[0] % dims[1], linear / (dims[0] * dims[1])},
                  .lane = linear % WARP,
                  .warp = linear / WARP};
    t->copies_end = &t->copies;
    t->fiber.stack = stacks + (size_t)i * stack_size;
    fiber_start(&t->fiber, thread_main);
    pointers[i] = t;
  }
}

// All threads, in an order of the seed's that visits each once.
static void make_ready(Group *group) {
  unsigned n = group->thread_count, start = emulator_random(n), step = 1;
  if (emulator_random(2)) step = n - 1;
  for (unsigned i = 0; i < n; i++) push_ready(group->threads[(start + (uint64_t)i * step) % n]);
}

// --- Running.

static void __attribute__((noreturn)) deadlock(Group *group) {
  const char *what[3] = {0};
  char names[3][160];
  Thread *who[3] = {0};
  unsigned waiting = 0, kinds = 0;
  for (unsigned i = 0; i < group->thread_count; i++) {
    Thread *t = group->threads[i];
    if (t->state != THREAD_WAITING) continue;
    waiting++;
    bool seen = false;
    for (unsigned k = 0; k < kinds; k++) seen |= who[k]->waiting_line == t->waiting_line;
    if (!seen && kinds < 3) who[kinds] = t, what[kinds] = wait_name(t, names[kinds], sizeof names[kinds]), kinds++;
  }
  emulator.thread = who[0];
  char second[300] = "";
  if (kinds > 1) {
    char line[200];
    module_describe(group->launch->function->module, who[1]->waiting_line, line, sizeof line);
    snprintf(second, sizeof second, "; thread (%u,%u,%u) waits for %s at %s", who[1]->index.x, who[1]->index.y, who[1]->index.z,
             what[1], line);
  }
  finding(FOUND_TIMEOUT, who[0]->waiting_line, "waits for ever: %u of %u threads wait and none can go on; this one for %s%s",
          waiting, group->thread_count, what[0], second);
}

static void group_run(Group *group) {
  make_ready(group);
  while (group->exited < group->thread_count && !emulator.failed) {
    if (group->ready_head == group->ready_tail) {
      if (bulk_progress(group)) continue;
      deadlock(group);
    }
    Thread *t = group->ready[group->ready_head];
    group->ready_head = (group->ready_head + 1) % (group->thread_count + 1);
    emulator.thread = t;
    emulator.on_fiber = true;
    fiber_enter(&t->fiber);
    emulator.on_fiber = false;
  }
  emulator.thread = NULL;
}

// From the first step to the last, or to a finding: one of the scheduler's, as of a deadlock, leaves through on_host.
static void group_live(Group *group) {
  if (setjmp(emulator.on_host)) return;
  group_run(group);
  if (!emulator.failed) group_finish(group);
}

// What a finding left in the middle goes too.
static void group_forget(Group *group) {
  for (unsigned i = 0; i < group->thread_count; i++) copies_forget(group->threads[i]);
  atomics_forget_group(group);
  bulk_forget(group);
  cluster_forget(group);
  for (unsigned i = 0; i < group->block_count; i++) {
    meetings_forget(group->blocks[i]);
    products_forget(group->blocks[i]);
    barriers_forget(group->blocks[i]);
    mbarriers_forget(group->blocks[i]);
  }
  clock_end(group);
}

static void run_cluster(Launch *launch, const unsigned cluster[3], uint64_t number) {
  Group group = {.launch = launch, .serial = serial_take(launch)};
  unsigned threads = launch->block[0] * launch->block[1] * launch->block[2];
  unsigned per_row = launch->grid[0] / cluster[0], per_column = launch->grid[1] / cluster[1];
  Index3 first = {(unsigned)(number % per_row) * cluster[0], (unsigned)(number / per_row % per_column) * cluster[1],
                  (unsigned)(number / ((uint64_t)per_row * per_column)) * cluster[2]};
  group.block_count = cluster[0] * cluster[1] * cluster[2];
  group.thread_count = threads * group.block_count;
  emulator.group = &group;
  for (unsigned rank = 0; rank < group.block_count; rank++) {
    Index3 index = {first.x + rank % cluster[0], first.y + rank / cluster[0] % cluster[1],
                    first.z + rank / (cluster[0] * cluster[1])};
    group.blocks[rank] = block_new(&group, rank, index, threads, rank * threads);
  }
  threads_make(&group);
  clock_begin(&group);
  reads_reset();
  group_live(&group);
  group_forget(&group);
  emulator.thread = NULL;
  emulator.group = NULL;
}

void launch_run(Launch *launch) {
  unsigned cluster[3];
  for (int i = 0; i < 3; i++) cluster[i] = launch->cooperative ? launch->grid[i] : launch->cluster[0] ? launch->cluster[i] : 1;
  uint64_t count = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2] / (cluster[0] * cluster[1] * cluster[2]);
  emulator.watchdog = emulator.ticks + WATCHDOG_TICKS;
  emulator.preempt_at = emulator.ticks + 1 + emulator_random(PREEMPT_TICKS);
  uint64_t start = emulator_random((uint32_t)(count < UINT32_MAX ? count : UINT32_MAX));
  bool backwards = emulator_random(2);
  for (uint64_t i = 0; i < count && !emulator.failed; i++)
    run_cluster(launch, cluster, (start + (backwards ? count - i : i)) % count);
  atomics_forget_launch();
}

void thread_preempt(uintptr_t pc) {
  if (emulator.ticks > emulator.watchdog)
    finding(FOUND_TIMEOUT, pc, "has not come to an end after %lld accesses of the launch", (long long)WATCHDOG_TICKS);
  emulator.preempt_at = emulator.ticks + 1 + emulator_random(PREEMPT_TICKS);
  thread_yield();
}
