// Barriers of a block: __syncthreads, the named ones, and where a thread is in its launch. All threads of a block that waits must wait at
// the same line: a barrier in two branches counts right on a GPU only by luck.
#include <string.h>
#include "tests/emulator/emulator.h"

static void release(Block *block, BlockBarrier *b) {
  unsigned threads = b->waiting;
  bool everybody = threads + block->exited >= block->thread_count && block->group->block_count == 1;
  Thread *waiting[BLOCK_THREADS];
  memcpy(waiting, b->threads, threads * sizeof *waiting);
  if (block->exited) clock_acquire(waiting[0], block->group->exited_knowledge);
  if (threads && b->knowledge) clock_acquire(waiting[0], b->knowledge);
  knowledge_drop(block->group, b->knowledge);
  if (threads) clock_join(waiting, threads);
  b->arrived = b->waiting = b->expected = 0;
  b->knowledge = NULL;
  if (everybody) reads_reset();
  for (unsigned i = 0; i < threads; i++)
    if (waiting[i] != emulator.thread) thread_wake(waiting[i]);
}

static bool full(const Block *block, const BlockBarrier *b, bool all) {
  return b->arrived && b->arrived >= (all ? block->thread_count - block->exited : b->expected);
}

static void same_line(const Block *block, const BlockBarrier *b, uintptr_t line) {
  char first[300];
  if (!module_same_line(block->group->launch->function->module, b->line, line, first, sizeof first))
    finding(FOUND_INSTRUCTION, line, "waits here while thread (%u,%u,%u) waits at %s: not all threads reach the same barrier",
            b->first->index.x, b->first->index.y, b->first->index.z, first);
}

static void arrive(int id, int threads, bool waits, uintptr_t line) {
  Thread *t = emulator.thread;
  Block *block = t->block;
  emulator.ticks++;
  if (id < 0 || id >= NAMED_BARRIERS) finding(FOUND_INSTRUCTION, line, "uses barrier %d of 16", id);
  if (threads < 0 || threads % WARP || threads > BLOCK_THREADS)
    finding(FOUND_INSTRUCTION, line, "waits for %d threads, which is no number of warps", threads);
  BlockBarrier *b = &block->barriers[id];
  if (!b->arrived) {
    b->line = line;
    b->first = t;
    b->expected = (unsigned)threads;
  } else if (b->expected != (unsigned)threads) {
    finding(FOUND_INSTRUCTION, line, "waits at barrier %d for %d threads, another thread for %u", id, threads, b->expected);
  }
  if (!threads) same_line(block, b, line);
  b->arrived++;
  if (waits) b->threads[b->waiting++] = t;
  else b->knowledge = clock_release(t, b->knowledge);
  if (full(block, b, !threads)) release(block, b);
  else if (waits) thread_wait(threads ? "a named barrier" : "__syncthreads", b, line);
}

EMULATED_API void emulated_barrier(int id, int threads) { arrive(id, threads, true, CALLER); }
EMULATED_API void emulated_barrier_arrive(int id, int threads) { arrive(id, threads, false, CALLER); }

// The block's sum of predicates lives in the barrier while its threads gather; each reads it before any can come again.
EMULATED_API int emulated_barrier_reduce(int kind, int predicate) {
  Block *block = emulator.thread->block;
  int *value = &block->reduce_value[block->reduce_turn & 1];
  int turn = block->reduce_turn;
  *value += predicate != 0;
  arrive(0, 0, true, CALLER);
  if (block->reduce_turn == turn) {  // the first to go on
    block->reduce_turn++;
    block->reduce_value[block->reduce_turn & 1] = 0;
  }
  int count = *value, all = (int)(block->thread_count - block->exited);
  return kind == 0 ? count == all : kind == 1 ? count > 0 : count;
}

void barriers_check(Block *block) {
  for (int i = 0; i < NAMED_BARRIERS; i++) {
    BlockBarrier *b = &block->barriers[i];
    if (b->arrived && !b->expected && full(block, b, true)) release(block, b);
  }
}

void barriers_forget(Block *block) {
  for (int i = 0; i < NAMED_BARRIERS; i++) {
    knowledge_drop(block->group, block->barriers[i].knowledge);
    block->barriers[i].knowledge = NULL;
  }
}

// Threads that are gone count as arrived, as on the hardware.
void thread_exit(Thread *t) {
  Block *block = t->block;
  copies_exit(t);
  products_exit(t);
  bulk_exit(t);
  t->state = THREAD_EXITED;
  clock_exit(t);
  block->exited++;
  block->group->exited++;
  barriers_check(block);
  meetings_check(block);
  cluster_exit(t);
}

EMULATED_API Index3 emulated_thread_index(void) { return emulator.thread->index; }
EMULATED_API Index3 emulated_block_index(void) { return emulator.thread->block->index; }
EMULATED_API Index3 emulated_block_dim(void) {
  const unsigned *d = emulator.group->launch->block;
  return (Index3){d[0], d[1], d[2]};
}
EMULATED_API Index3 emulated_grid_dim(void) {
  const unsigned *d = emulator.group->launch->grid;
  return (Index3){d[0], d[1], d[2]};
}
EMULATED_API unsigned long long emulated_clock(void) { return emulator.ticks; }
