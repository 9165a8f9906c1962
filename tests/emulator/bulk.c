// Bulk copies (cp.async.bulk): what a thread starts and the asynchronous proxy does. The bytes are taken at once and land later: when the seed
// says so, or when nothing else can go on. Shared memory they go to is nobody's until their mbarrier's phase is over; memory that
// a store reads may not be written before the thread has waited for its group, nor what it writes be looked at.
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/emulator.h"

BulkCopy *bulk_start(Thread *t, BulkKind kind, Block *block, uint32_t offset, uint32_t bytes, uintptr_t pc) {
  static uint32_t numbers;
  BulkCopy *copy = calloc(1, sizeof *copy);
  char *data = calloc(1, bytes ? bytes : 1);
  if (!copy || !data) abort();
  // Numbers of reads that last: wgmma's are small, these lie above.
  numbers = (numbers + 1) & 0xfffffff;
  *copy = (BulkCopy){.next = t->group->bulk_copies,
                     .kind = kind,
                     .issuer = t,
                     .pc = pc,
                     .block = block,
                     .offset = offset,
                     .bytes = bytes,
                     .number = numbers | 1u << 30,
                     .commit = t->bulk_commits,
                     .data = data};
  t->group->bulk_copies = copy;
  emulator.ticks++;
  return copy;
}

static void bulk_free(BulkCopy *copy) {
  while (copy->copies) {
    PendingCopy *next = copy->copies->next;
    free(copy->copies);
    copy->copies = next;
  }
  free(copy->runs);
  free(copy->data);
  free(copy);
}

static void bulk_remove(BulkCopy *copy) {
  BulkCopy **at = &copy->issuer->group->bulk_copies;
  while (*at != copy) at = &(*at)->next;
  *at = copy->next;
}

void bulk_into(BulkCopy *copy, Mbarrier *barrier) {
  Thread *t = copy->issuer;
  access_shared(t, copy->block, copy->offset, copy->bytes, ACCESS_WRITE | ACCESS_PROXY, copy->pc);
  for (uint32_t i = 0; i < copy->bytes; i++) copy->block->cells[copy->offset + i].write |= EPOCH_PENDING;
  mbarrier_for_copy(t, barrier, copy->pc);
  copy->barrier = barrier;
}

void bulk_add_run(BulkCopy *copy, uintptr_t address, uint32_t bytes, uint32_t at) {
  access_memory(copy->issuer, address, bytes, ACCESS_WRITE | ACCESS_PROXY, copy->pc);
  if (!memory_is_device(address)) finding(FOUND_ADDRESS, copy->pc, "lets an asynchronous copy write what is no device memory");
  Cell *cells = memory_cells(address);
  for (uint32_t i = 0; i < bytes; i++) cells[i].write |= EPOCH_PENDING;
  if (!(copy->run_count & (copy->run_count - 1))) {
    copy->runs = realloc(copy->runs, (copy->run_count ? 2 * copy->run_count : 1) * sizeof *copy->runs);
    if (!copy->runs) abort();
  }
  copy->runs[copy->run_count++] = (BulkRun){address, bytes, at};
}

// Device memory that a load reads may be written again once its barrier's phase is over: that is when it is read, at the latest.
void bulk_read_memory(Thread *t, const Mbarrier *barrier, uintptr_t address, uint32_t bytes, uintptr_t pc) {
  Group *group = t->group;
  Epoch own = t->epoch;
  t->epoch = epoch_make(group->serial, clock_agent(group, barrier->agent), group->agent_clock[barrier->agent] + 1);
  access_memory(t, address, bytes, ACCESS_READ | ACCESS_PROXY, pc);
  t->epoch = own;
}

void bulk_read_source(BulkCopy *copy) {
  Block *from = copy->issuer->block;
  proxy_read_begin(copy->issuer, from, copy->source, copy->bytes, copy->number, copy->pc);
  memcpy(copy->data, shared_pointer(from, copy->source), copy->bytes);
}

void bulk_settle(BulkCopy *copy, Epoch epoch) {
  if (copy->kind == BULK_ARRIVAL) {
    for (const PendingCopy *c = copy->copies; c; c = c->next)
      for (unsigned i = 0; i < c->bytes; i++) copy->block->cells[c->to + i].write = epoch;
  } else {
    for (uint32_t i = 0; i < copy->bytes; i++) copy->block->cells[copy->offset + i].write = epoch | EPOCH_PROXY;
    if (copy->kind == BULK_SEND) proxy_read_end(copy->issuer->block, copy->source, copy->bytes, copy->number, &epoch, 1);
  }
  bulk_free(copy);
}

// --- Landing.

static void land(BulkCopy *copy) {
  Thread *running = emulator.thread;
  emulator.thread = copy->issuer;
  if (copy->kind == BULK_STORE) {
    for (unsigned i = 0; i < copy->run_count; i++)
      memcpy((void *)copy->runs[i].address, copy->data + copy->runs[i].at, copy->runs[i].bytes);
    copy->landed = true;
  } else {
    if (copy->block->exited == copy->block->thread_count)
      finding(FOUND_HAZARD, copy->pc,
              "lets an asynchronous copy write shared memory of block %u of its cluster, which has ended", copy->block->rank);
    bulk_remove(copy);
    if (copy->kind != BULK_ARRIVAL) memcpy(shared_pointer(copy->block, copy->offset), copy->data, copy->bytes);
    for (PendingCopy *c = copy->copies; c; c = c->next) copy_land(copy->block, c);
    mbarrier_count(copy->barrier, copy, copy->bytes, copy->kind == BULK_ARRIVAL);
  }
  emulator.thread = running;
}

bool bulk_progress(Group *group) {
  unsigned count = 0;
  for (BulkCopy *copy = group->bulk_copies; copy; copy = copy->next) count += !copy->landed;
  if (!count) return false;
  unsigned which = emulator_random(count);
  BulkCopy *copy = group->bulk_copies;
  while (copy->landed || which--) copy = copy->next;
  land(copy);
  return true;
}

void bulk_sometimes(Group *group) {
  if (group->bulk_copies && emulator_random(4) == 0) bulk_progress(group);
}

// --- Instructions.

static void aligned(uintptr_t shared, uintptr_t memory, unsigned bytes, uintptr_t pc) {
  if (shared % 16 || memory % 16 || bytes % 16)
    finding(FOUND_MISALIGNED, pc, "copies %u bytes between %p and shared memory +%u: bulk copies take multiples of 16", bytes,
            (void *)memory, (unsigned)(shared & 0xffffff));
}

// What names a place in the own block names it in the block `rank` too; blocks 0: only there.
EMULATED_API void emulated_bulk_load(unsigned to, const void *from, unsigned bytes, unsigned barrier, unsigned blocks) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  uint32_t offset;
  aligned(to, (uintptr_t)from, bytes, pc);
  Block *own = shared_block(t, to, &offset);
  if (blocks >> group_cluster(t->group))
    finding(FOUND_INSTRUCTION, pc, "copies to the blocks %04x of a cluster of %u", blocks, group_cluster(t->group));
  for (unsigned rank = 0; rank < t->group->block_count; rank++) {
    if (blocks ? !(blocks >> rank & 1) : rank != own->rank) continue;
    unsigned there = blocks ? (rank + 1) << 24 | (barrier & 0xffffff) : barrier;
    Mbarrier *b = mbarrier_use(t, rank == t->block->rank ? there & 0xffffff : there, pc);
    BulkCopy *copy = bulk_start(t, BULK_LOAD, t->group->blocks[rank], offset, bytes, pc);
    if (b->block != copy->block)
      finding(FOUND_INSTRUCTION, pc, "lets a copy to block %u count at an mbarrier of block %u", rank, b->block->rank);
    if (bytes) bulk_read_memory(t, b, (uintptr_t)from, bytes, pc);
    memcpy(copy->data, from, bytes);
    bulk_into(copy, b);
  }
  bulk_sometimes(t->group);
}

EMULATED_API void emulated_bulk_send(unsigned to, unsigned from, unsigned bytes, unsigned barrier) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  uint32_t offset;
  aligned(to, from, bytes, pc);
  Block *block = shared_block(t, to, &offset);
  Mbarrier *b = mbarrier_use(t, barrier, pc);
  if (b->block != block)
    finding(FOUND_INSTRUCTION, pc, "lets a copy to block %u count at an mbarrier of block %u", block->rank, b->block->rank);
  BulkCopy *copy = bulk_start(t, BULK_SEND, block, offset, bytes, pc);
  copy->source = from & 0xffffff;
  bulk_read_source(copy);
  bulk_into(copy, b);
  bulk_sometimes(t->group);
}

EMULATED_API void emulated_bulk_store(void *to, unsigned from, unsigned bytes) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  aligned(from, (uintptr_t)to, bytes, pc);
  BulkCopy *copy = bulk_start(t, BULK_STORE, t->block, from, bytes, pc);
  copy->source = from;
  bulk_read_source(copy);
  if (bytes) bulk_add_run(copy, (uintptr_t)to, bytes, 0);
  bulk_sometimes(t->group);
}

EMULATED_API void emulated_bulk_commit(void) { emulator.thread->bulk_commits++; }

static void release(BulkCopy *copy, Epoch reader) {
  if (!copy->released) proxy_read_end(copy->block, copy->source, copy->bytes, copy->number, &reader, 1);
  copy->released = true;
}

// What the store wrote, it wrote at this moment of the thread's.
static void finish_store(BulkCopy *copy) {
  Thread *t = copy->issuer;
  if (!copy->landed) land(copy);
  release(copy, t->epoch);
  for (unsigned i = 0; i < copy->run_count; i++) {
    Cell *cells = memory_cells(copy->runs[i].address);
    for (uint32_t k = 0; k < copy->runs[i].bytes; k++) cells[k].write = t->epoch | EPOCH_PROXY;
  }
  bulk_remove(copy);
  bulk_free(copy);
}

EMULATED_API void emulated_bulk_wait(int groups, bool read) {
  Thread *t = emulator.thread;
  emulator.ticks++;
  for (BulkCopy *copy = t->group->bulk_copies, *next; copy; copy = next) {
    next = copy->next;
    if (copy->kind != BULK_STORE || copy->issuer != t || copy->commit >= t->bulk_commits - groups) continue;
    if (read) release(copy, t->epoch);
    else finish_store(copy);
  }
}

// --- The end.

void bulk_exit(Thread *t) {
  for (const BulkCopy *copy = t->group->bulk_copies; copy; copy = copy->next)
    if (copy->kind == BULK_STORE && copy->issuer == t && !copy->released)
      finding(FOUND_HAZARD, copy->pc, "ends while a bulk copy that it started here may still read shared memory");
}

void group_finish(Group *group) {
  for (BulkCopy *copy = group->bulk_copies, *next; copy; copy = next) {
    next = copy->next;
    emulator.thread = copy->issuer;
    if (copy->kind != BULK_STORE) finding(FOUND_HAZARD, copy->pc, "started a copy here that is under way when its block ends");
    finish_store(copy);
  }
  for (unsigned i = 0; i < group->block_count; i++) {
    emulator.thread = group->threads[group->blocks[i]->first_thread];
    mbarriers_finish(group->blocks[i]);
  }
  emulator.thread = NULL;
}

void bulk_forget(Group *group) {
  while (group->bulk_copies) {
    BulkCopy *copy = group->bulk_copies;
    group->bulk_copies = copy->next;
    bulk_free(copy);
  }
}
