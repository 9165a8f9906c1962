// What happens when a small allocation fails. Checking every 40-byte node for NULL would double the compiler's code and
// never be tested, so arena_alloc and its kin do not return on failure: they call memory_exhausted(), which unwinds to
// the innermost guard of this thread. The public API installs one around each call:
//
//   Status ingot_thing(...) { return RECOVER_GUARD(thing(...)); }
//
// The guarded call's result is its own Status, or status_out_of_memory() when it was unwound. Unwinding skips every
// cleanup label in between, so code that may allocate from an arena owns its files, libraries and device memory through
// an arena (arena_on_free) that outlives the guard, and does not allocate while holding a mutex. Sizes that a file
// decides go through arena_try_alloc, which returns a Status and does not unwind.
// A thread without a guard (a worker inside parallel_for) cannot be unwound: memory_exhausted() prints a line and
// aborts. Functions given to parallel_for therefore allocate nothing, or install a guard of their own.
#pragma once
#include <setjmp.h>
#include "base/status.h"

typedef struct RecoverGuard {
  jmp_buf jump;
  struct RecoverGuard *outer;
} RecoverGuard;

void recover_enter(RecoverGuard *guard);
void recover_leave(RecoverGuard *guard);
__attribute__((noreturn, cold)) void memory_exhausted(void);

// Evaluates call, an expression of type Status, under a guard. Guards nest; leaving call by return or goto is a defect.
#define RECOVER_GUARD(call)                     \
  ({                                            \
    RecoverGuard recover_guard_;                \
    struct Error *volatile recover_status_;     \
    recover_enter(&recover_guard_);             \
    if (setjmp(recover_guard_.jump) == 0) {     \
      recover_status_ = (call);                 \
      recover_leave(&recover_guard_);           \
    } else {                                    \
      recover_status_ = status_out_of_memory(); \
    }                                           \
    (Status) recover_status_;                   \
  })
