// The guard list is one thread-local pointer: unwinding never crosses threads, so no lock and nothing shared.
#include "base/recover.h"
#include <stdio.h>
#include <stdlib.h>

static _Thread_local RecoverGuard *innermost;

void recover_enter(RecoverGuard *guard) {
  guard->outer = innermost;
  innermost = guard;
}

void recover_leave(RecoverGuard *guard) { innermost = guard->outer; }

void memory_exhausted(void) {
  RecoverGuard *guard = innermost;
  if (!guard) {
    fputs("ingot: out of memory, and no guard on this thread\n", stderr);
    abort();
  }
  innermost = guard->outer;
  longjmp(guard->jump, 1);
}
