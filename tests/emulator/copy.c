// Shared memory by its 32-bit address, and cp.async: copies that arrive late. A copy's bytes are read when it starts, arrive when the seed
// says so, at the latest when the thread has waited for their group, and until then nobody may touch where they go.
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/emulator.h"

EMULATED_API unsigned emulated_shared_address(const void *pointer) {
  Thread *t = emulator.thread;
  uint32_t offset;
  if (shared_offset(t->block, (uintptr_t)pointer, &offset)) return offset;
  finding(FOUND_ADDRESS, CALLER, "takes the shared address of %p, which is not in the block's shared memory", pointer);
}

static void aligned(uint32_t address, unsigned bytes, uintptr_t pc) {
  if (address % bytes)
    finding(FOUND_MISALIGNED, pc, "uses %u bytes of shared memory at +%u, no multiple of %u", bytes, address, bytes);
}

EMULATED_API void emulated_store_shared(unsigned to, const void *value, int bytes) {
  uint32_t offset;
  Block *block = shared_block(emulator.thread, to, &offset);
  aligned(offset, (unsigned)bytes, CALLER);
  access_shared(emulator.thread, block, offset, (unsigned)bytes, ACCESS_WRITE, CALLER);
  memcpy(shared_pointer(block, offset), value, (size_t)bytes);
}
EMULATED_API void emulated_load_shared(unsigned from, void *value, int bytes) {
  uint32_t offset;
  Block *block = shared_block(emulator.thread, from, &offset);
  aligned(offset, (unsigned)bytes, CALLER);
  access_shared(emulator.thread, block, offset, (unsigned)bytes, ACCESS_READ, CALLER);
  memcpy(value, shared_pointer(block, offset), (size_t)bytes);
}

// --- cp.async

void copy_land(const Block *block, PendingCopy *copy) {
  if (!copy->done) memcpy(shared_pointer(block, copy->to), copy->data, copy->bytes);
  copy->done = true;
}

EMULATED_API void emulated_copy_async(unsigned to, const void *from, int bytes, int valid) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  emulator.ticks++;
  if (valid < 0 || valid > bytes) finding(FOUND_INSTRUCTION, pc, "copies %d of %d bytes", valid, bytes);
  aligned(to, (unsigned)bytes, pc);
  if (valid && (uintptr_t)from % (unsigned)bytes)
    finding(FOUND_MISALIGNED, pc, "copies %d bytes from %p, no multiple of %d", bytes, from, bytes);
  if (valid) access_memory(t, (uintptr_t)from, (unsigned)valid, ACCESS_READ, pc);
  access_shared(t, t->block, to, (unsigned)bytes, ACCESS_WRITE, pc);
  for (int i = 0; i < bytes; i++) t->block->cells[to + (unsigned)i].write |= EPOCH_PENDING;
  PendingCopy *copy = malloc(sizeof *copy);
  if (!copy) abort();
  *copy = (PendingCopy){.to = to, .bytes = (unsigned)bytes, .commit = t->commits, .line = pc};
  memset(copy->data, 0, sizeof copy->data);
  memcpy(copy->data, from, (size_t)valid);
  *t->copies_end = copy;
  t->copies_end = &copy->next;
  if (emulator_random(4) == 0) copy_land(t->block, copy);
}

EMULATED_API void emulated_copy_commit(void) { emulator.thread->commits++; }

// The thread's copies are from now on writes of its own, at this moment.
static void finish_first(Thread *t) {
  PendingCopy *copy = t->copies;
  copy_land(t->block, copy);
  for (unsigned i = 0; i < copy->bytes; i++) t->block->cells[copy->to + i].write = t->epoch;
  t->copies = copy->next;
  if (!t->copies) t->copies_end = &t->copies;
  free(copy);
}

EMULATED_API void emulated_copy_wait(int groups) {
  Thread *t = emulator.thread;
  while (t->copies && t->copies->commit < t->commits - groups) finish_first(t);
}

PendingCopy *copies_take(Thread *t) {
  PendingCopy *all = t->copies;
  t->copies = NULL;
  t->copies_end = &t->copies;
  return all;
}

void copies_exit(Thread *t) {
  if (t->copies && emulator.checks != CHECKS_OFF)
    finding(FOUND_HAZARD, t->copies->line, "ends while the copy to shared memory that it starts here is under way");
}

void copies_forget(Thread *t) {
  while (t->copies) {
    PendingCopy *copy = t->copies;
    t->copies = copy->next;
    free(copy);
  }
}
