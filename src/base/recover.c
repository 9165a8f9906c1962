// Guards and cleanups are two thread-local lists: unwinding never crosses threads, so no lock and nothing shared. A cleanup remembers
// how many guards were in force, so that one which outlives its guard is not run by another of the same depth's outside.
#include "base/recover.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/budget.h"

static _Thread_local RecoverGuard *innermost;
static _Thread_local RecoverCleanup *newest;
static _Thread_local bool visiting;  // the host's code runs, called from ours

static unsigned depth_in_force(void) { return innermost ? innermost->depth : 0; }

void recover_enter(RecoverGuard *guard) {
  guard->outer = innermost;
  guard->depth = depth_in_force() + 1;
  guard->entry = guard->outer && !visiting ? guard->outer->entry : guard;
  guard->float_mode = float_mode_take();
  if (guard->entry == guard) {
    // The C locale is a constant of the C library: nothing is allocated, so nothing is freed.
    guard->ours = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    guard->locale = uselocale(guard->ours);
  }
  visiting = false;
  innermost = guard;
}

void recover_leave(RecoverGuard *guard) {
  innermost = guard->outer;
  float_mode_restore(guard->float_mode);
  if (guard->entry != guard) return;
  uselocale(guard->locale);
  visiting = innermost != NULL;
}

void host_enter(HostVisit *visit) {
  RecoverGuard *entry = visit->entry = visiting || !innermost ? NULL : innermost->entry;
  if (!entry) return;
  visit->float_mode = float_mode_take();
  float_mode_restore(entry->float_mode);
  uselocale(entry->locale);
  visiting = true;
}

void host_leave(const HostVisit *visit) {
  RecoverGuard *entry = visit->entry;
  if (!entry) return;
  entry->float_mode = float_mode_take();
  float_mode_restore(visit->float_mode);
  entry->locale = uselocale(entry->ours);
  visiting = false;
}

void recover_defer(RecoverCleanup *cleanup, void (*fn)(void *context), void *context) {
  *cleanup = (RecoverCleanup){.older = newest, .depth = depth_in_force(), .fn = fn, .context = context};
  if (newest) newest->newer = cleanup;
  newest = cleanup;
}

void recover_dismiss(RecoverCleanup *cleanup) {
  if (cleanup->newer) cleanup->newer->older = cleanup->older;
  else newest = cleanup->older;
  if (cleanup->older) cleanup->older->newer = cleanup->newer;
}

void recover_unwind(Status status) {
  RecoverGuard *guard = innermost;
  if (!guard) {
    fprintf(stderr, "ingot: %s, and no guard on this thread\n", status_message(status));
    abort();
  }
  while (newest && newest->depth >= guard->depth) {
    RecoverCleanup *cleanup = newest;
    void (*fn)(void *) = cleanup->fn;
    void *context = cleanup->context;
    recover_dismiss(cleanup);
    fn(context);
  }
  recover_leave(guard);
  guard->status = status;
  longjmp(guard->jump, 1);
}

void memory_exhausted(void) { recover_unwind(budget_error_or_out_of_memory()); }
