// Barriers in shared memory (mbarrier): their counts live here, and the eight bytes that stand for one may not be touched while it is in use.
// A phase is over when all arrivals and all expected bytes have come; only then are the copies it counted known to have been made, and
// only to threads that have seen the phase end. Each barrier has a clock of its own for that, one tick a phase.
#include <stdio.h>
#include <stdlib.h>
#include "tests/emulator/emulator.h"

enum { COUNT_LIMIT = 1 << 20 };
static const char waiting_name[] = "an mbarrier";

static Mbarrier *find(const Block *block, uint32_t offset) {
  for (Mbarrier *b = block->mbarriers; b; b = b->next)
    if (b->live && offset - b->offset < 8) return b;
  return NULL;
}

static uintptr_t place(const Mbarrier *b) { return (uintptr_t)b->offset | (uintptr_t)b->block->rank << 24; }

static const char *describe(const Mbarrier *b, char *out, size_t room) {
  char where[100];
  snprintf(out, room, "the mbarrier in %s (phase %u: %u of %u arrivals and %ld bytes are missing)",
           where_name(place(b), where, sizeof where), b->phase, b->missing, b->count, b->bytes);
  return out;
}

const char *wait_name(const Thread *t, char *out, size_t room) {
  return t->waiting_for == waiting_name ? describe(t->waiting_at, out, room) : t->waiting_for;
}

bool mbarrier_covers(const Group *group, uintptr_t where) {
  return where < (uintptr_t)group->block_count << 24 && group->block_count &&
         find(group->blocks[where >> 24], where & 0xffffff);
}

static void mark(const Mbarrier *b, Epoch write) {
  for (int i = 0; i < 8; i++) b->block->cells[b->offset + (unsigned)i] = (Cell){write, 0};
}

EMULATED_API void emulated_mbarrier_init(unsigned address, unsigned count) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  char name[200];
  emulator.ticks++;
  if (address % 8) finding(FOUND_MISALIGNED, pc, "initialises an mbarrier at shared memory +%u, no multiple of 8", address);
  if (!count || count >= COUNT_LIMIT) finding(FOUND_INSTRUCTION, pc, "initialises an mbarrier for %u arrivals", count);
  Mbarrier *b = find(t->block, address);
  if (b) finding(FOUND_INSTRUCTION, pc, "initialises %s, which is in use", describe(b, name, sizeof name));
  access_shared(t, t->block, address, 8, ACCESS_WRITE, pc);
  b = calloc(1, sizeof *b);
  if (!b) abort();
  *b = (Mbarrier){
      .next = t->block->mbarriers, .block = t->block, .offset = address, .live = true, .count = count, .missing = count};
  b->agent = t->group->agents++ % AGENTS;
  b->maker = t;
  b->made = t->clock;
  t->block->mbarriers = b;
  mark(b, epoch_make(t->group->serial, clock_agent(t->group, b->agent), 0) | EPOCH_PENDING);
}

EMULATED_API void emulated_fence_mbarrier_init(void) {
  Thread *t = emulator.thread;
  for (Mbarrier *b = t->block->mbarriers; b; b = b->next)
    if (b->maker == t) b->fenced = true;
}

Mbarrier *mbarrier_use(Thread *t, uint32_t address, uintptr_t pc) {
  uint32_t offset;
  char who[160];
  emulator.ticks++;
  Block *block = shared_block(t, address, &offset);
  if (offset % 8) finding(FOUND_MISALIGNED, pc, "uses an mbarrier at shared memory +%u, no multiple of 8", offset);
  if (block != t->block) cluster_touch(t, block, true, pc);
  Mbarrier *b = find(block, offset);
  if (!b) {
    uintptr_t where = (uintptr_t)offset | (uintptr_t)block->rank << 24;
    finding(FOUND_INSTRUCTION, pc, "uses an mbarrier in %s, where none was initialised", where_name(where, who, sizeof who));
  }
  epoch_name(epoch_make(t->group->serial, b->maker->id, b->made), who, sizeof who);
  if (!clock_knows(t, b->maker->id, b->made))
    finding(FOUND_HAZARD, pc, "uses an mbarrier at shared memory +%u, which %s initialises with nothing to order the two",
            offset, who);
  return b;
}

void mbarrier_for_copy(Thread *t, Mbarrier *b, uintptr_t pc) {
  if (!b->fenced && !clock_knows_fenced(t, b->maker->id, b->made))
    finding(
        FOUND_HAZARD, pc,
        "lets an asynchronous copy count at the mbarrier at shared memory +%u, which was initialised without a fence after it",
        b->offset);
  b->copied = b->phase + 1;
}

static void phase_over(Mbarrier *b) {
  Group *group = b->block->group;
  uint32_t agent = clock_agent(group, b->agent), now = ++group->agent_clock[b->agent];
  Epoch epoch = epoch_make(group->serial, agent, now);
  for (BulkCopy *copy = b->landed, *next; copy; copy = next) {
    next = copy->next;
    bulk_settle(copy, epoch);
  }
  b->landed = NULL;
  b->gathering = clock_add(group, NULL, b->gathering);
  b->gathering->clock[agent] = now;
  b->completed = clock_add(group, b->gathering, b->completed);
  b->phase++;
  b->missing = b->count;
  for (unsigned i = 0; i < group->thread_count; i++) {
    Thread *t = group->threads[i];
    if (t->state == THREAD_WAITING && t->waiting_for == waiting_name && t->waiting_at == b) thread_wake(t);
  }
}

static void judge(Mbarrier *b, uintptr_t pc) {
  char name[200];
  if (b->bytes <= -COUNT_LIMIT || b->bytes >= COUNT_LIMIT)
    finding(FOUND_INSTRUCTION, pc, "brings %s out of its range", describe(b, name, sizeof name));
  if (b->missing) return;
  if (b->bytes < 0)
    finding(FOUND_INSTRUCTION, pc, "completes more bytes than were expected at %s: they can never meet",
            describe(b, name, sizeof name));
  if (!b->bytes) phase_over(b);
}

void mbarrier_count(Mbarrier *b, BulkCopy *copy, long bytes, unsigned arrivals) {
  copy->next = b->landed;
  b->landed = copy;
  b->copied = b->phase + 1;
  b->bytes -= bytes;
  if (arrivals > b->missing)
    finding(FOUND_INSTRUCTION, copy->pc, "arrives at an mbarrier at shared memory +%u more often than the %u times of a phase",
            b->offset, b->count);
  b->missing -= arrivals;
  judge(b, copy->pc);
}

// Others may come first.
static void linger(Thread *t) {
  bulk_sometimes(t->group);
  if (emulator_random(8) == 0) thread_yield();
}

EMULATED_API unsigned long long emulated_mbarrier_arrive(unsigned address, unsigned bytes, unsigned arrivals) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  char name[200];
  linger(t);
  Mbarrier *b = mbarrier_use(t, address, pc);
  uint32_t phase = b->phase;
  if (arrivals > b->missing)
    finding(FOUND_INSTRUCTION, pc, "arrives once more than is expected at %s", describe(b, name, sizeof name));
  b->bytes += bytes;
  b->gathering = clock_release(t, b->gathering);
  b->missing -= arrivals;
  judge(b, pc);
  return phase;
}
EMULATED_API void emulated_mbarrier_expect(unsigned address, unsigned bytes) {
  uintptr_t pc = CALLER;
  Mbarrier *b = mbarrier_use(emulator.thread, address, pc);
  b->bytes += bytes;
  judge(b, pc);
}

// The thread's copies become the barrier's.
EMULATED_API void emulated_mbarrier_arrive_copies(unsigned address) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  Mbarrier *b = mbarrier_use(t, address, pc);
  BulkCopy *arrival = bulk_start(t, BULK_ARRIVAL, t->block, 0, 0, pc);
  arrival->barrier = b;
  arrival->copies = copies_take(t);
  bulk_sometimes(t->group);
}

// --- Waiting.

static void seen(Thread *t, Mbarrier *b) {
  clock_acquire(t, b->completed);
  if (b->observed < b->phase) b->observed = b->phase;
}

static void parity_check(unsigned parity, uintptr_t pc) {
  if (parity > 1)
    finding(FOUND_INSTRUCTION, pc, "waits for the phase of an mbarrier by the parity %u, which is neither 0 nor 1", parity);
}

EMULATED_API void emulated_mbarrier_wait(unsigned address, unsigned parity) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  linger(t);
  Mbarrier *b = mbarrier_use(t, address, pc);
  parity_check(parity, pc);
  if (b->block != t->block) finding(FOUND_INSTRUCTION, pc, "waits at another block's mbarrier");
  while ((b->phase & 1) == parity) thread_wait(waiting_name, b, pc);
  seen(t, b);
}

// Who asks again and again must let others go on; an answer costs as much time as it may take on a GPU.
static bool answer(Thread *t, Mbarrier *b, bool over) {
  if (over) seen(t, b);
  else {
    emulator.ticks += 1000;
    if (emulator_random(4) == 0) bulk_progress(t->group);
    thread_yield();
  }
  return over;
}
EMULATED_API bool emulated_mbarrier_test(unsigned address, unsigned parity) {
  Thread *t = emulator.thread;
  Mbarrier *b = mbarrier_use(t, address, CALLER);
  parity_check(parity, CALLER);
  return answer(t, b, (b->phase & 1) != parity);
}
EMULATED_API bool emulated_mbarrier_test_state(unsigned address, unsigned long long state) {
  Thread *t = emulator.thread;
  Mbarrier *b = mbarrier_use(t, address, CALLER);
  if (state > b->phase || state + 1 < b->phase)
    finding(FOUND_INSTRUCTION, CALLER, "asks an mbarrier in phase %u for the end of phase %llu", b->phase, state);
  return answer(t, b, state < b->phase);
}

// --- The end.

EMULATED_API void emulated_mbarrier_invalidate(unsigned address) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  char name[200];
  Mbarrier *b = mbarrier_use(t, address, pc);
  if (b->block != t->block || b->missing != b->count || b->bytes || b->copied > b->phase)
    finding(FOUND_INSTRUCTION, pc, "invalidates %s in the middle of a phase", describe(b, name, sizeof name));
  mark(b, t->epoch);
  b->live = false;
}

void mbarriers_finish(Block *block) {
  char name[200];
  for (Mbarrier *b = block->mbarriers; b; b = b->next)
    if (b->copied > b->observed)
      finding(FOUND_HAZARD, 0, "of a block that ends before a thread has seen the copies arrive that %s counts",
              describe(b, name, sizeof name));
}

void mbarriers_forget(Block *block) {
  while (block->mbarriers) {
    Mbarrier *b = block->mbarriers;
    block->mbarriers = b->next;
    knowledge_drop(block->group, b->gathering);
    knowledge_drop(block->group, b->completed);
    while (b->landed) {
      BulkCopy *copy = b->landed;
      b->landed = copy->next;
      copy->next = block->group->bulk_copies;
      block->group->bulk_copies = copy;
    }
    free(b);
  }
  bulk_forget(block->group);
}
