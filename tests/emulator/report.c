// Findings: what is wrong, in which kernel, block and thread, at which line. The first one ends its launch, as a fault ends a GPU's context:
// the program sees an error whose text is the finding.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/emulator.h"

static void record(int code, const char *text) {
  if (!emulator.failed) {
    emulator.failed = true;
    emulator.finding_code = code;
    snprintf(emulator.finding, sizeof emulator.finding, "%s", text);
  }
  emulator.findings++;
  fprintf(stderr, "emulated device: %s\n", text);
  fflush(stderr);
}

void finding(int code, uintptr_t pc, const char *message, ...) {
  char text[FINDING_SIZE] = "", what[600], line[400] = "an unknown line";
  const Thread *t = emulator.thread;
  const Launch *launch = emulator.group->launch;
  va_list list;
  va_start(list, message);
  vsnprintf(what, sizeof what, message, list);
  va_end(list);
  if (launch->function && pc) module_describe(launch->function->module, pc, line, sizeof line);
  if (t && launch->function)
    snprintf(text, sizeof text, "%s: kernel %s, block (%u,%u,%u), thread (%u,%u,%u) %s (seed %llu)", line,
             launch->function->name, t->block->index.x, t->block->index.y, t->block->index.z, t->index.x, t->index.y,
             t->index.z, what, (unsigned long long)emulator.seed);
  else snprintf(text, sizeof text, "%s", what);
  record(code, text);
  static Fiber gone;
  if (emulator.on_fiber) fiber_leave(&gone, true);  // the scheduler sees that something failed; nobody comes back
  longjmp(emulator.on_host, 1);
}

void finding_host(int code, const char *message, ...) {
  char text[FINDING_SIZE];
  va_list list;
  va_start(list, message);
  vsnprintf(text, sizeof text, message, list);
  va_end(list);
  record(code, text);
}

const char *where_name(uintptr_t address, char *out, size_t room) {
  const Allocation *a;
  if (address < (uintptr_t)CLUSTER_BLOCKS << 24) {
    unsigned rank = (unsigned)(address >> 24);
    if (emulator.group && emulator.group->block_count > 1)
      snprintf(out, room, "shared memory of block %u of its %s at +%u", rank,
               emulator.group->launch->cooperative ? "launch" : "cluster", (unsigned)(address & 0xffffff));
    else snprintf(out, room, "shared memory at +%u", (unsigned)(address & 0xffffff));
  } else if (!memory_is_device(address)) {
    snprintf(out, room, "%p, which is no memory of the device", (void *)address);
  } else if ((a = memory_find(address))) {
    snprintf(out, room, "byte %llu of the %llu bytes of device memory at %p", (unsigned long long)(address - a->begin),
             (unsigned long long)(a->end - a->begin), (void *)a->begin);
  } else if ((a = memory_find(address - 512)) || (a = memory_find((address & ~(uintptr_t)511) - 1)) ||
             (a = memory_find(address - 64))) {
    snprintf(out, room, "%p, %llu bytes behind the end of the %llu bytes of device memory at %p", (void *)address,
             (unsigned long long)(address - a->end), (unsigned long long)(a->end - a->begin), (void *)a->begin);
  } else {
    snprintf(out, room, "%p, which is not allocated (or no longer)", (void *)address);
  }
  return out;
}

void epoch_name(Epoch e, char *out, size_t room) {
  const Launch *launch = serial_launch(epoch_serial(e));
  const Group *group = emulator.group;
  if (group && epoch_serial(e) == group->serial && !(e & EPOCH_MANY)) {
    if (epoch_thread(e) >= group->thread_count) {
      snprintf(out, room, "an asynchronous copy");
      return;
    }
    const Thread *t = group->threads[epoch_thread(e)];
    if (group->block_count > 1)
      snprintf(out, room, "thread (%u,%u,%u) of block %u", t->index.x, t->index.y, t->index.z, t->block->rank);
    else snprintf(out, room, "thread (%u,%u,%u)", t->index.x, t->index.y, t->index.z);
  } else if (group && launch == group->launch) {
    snprintf(out, room, "another block of the launch");
  } else if (launch && launch->function) {
    snprintf(out, room, "kernel %s, launched before on stream %d", launch->function->name, launch->stream);
  } else {
    snprintf(out, room, "a copy or fill on another stream");
  }
}
