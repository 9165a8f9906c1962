// What happens when a small allocation fails. Checking every 40-byte node for NULL would double the compiler's code and
// never be tested, so arena_alloc and its kin do not return on failure: they call memory_exhausted(), which unwinds to
// the innermost guard of this thread. The public API installs one around each call:
//
//   Status ingot_thing(...) { return RECOVER_GUARD(thing(...)); }
//
// The guarded call's result is its own Status, or the one that it was unwound with. Unwinding skips every cleanup label
// in between. So whoever holds something while calling what may allocate from an arena has four ways:
// - memory only for the work at hand: an arena_scratch(), which unwinding frees;
// - files, libraries, device memory: owned through an arena (arena_on_free) that is such a scratch or outlives the guard;
// - anything else: a RecoverCleanup, which unwinding runs, or a guard of its own around the call;
// - mutexes: nothing is allocated from an arena while one is held, except under a guard inside.
// Sizes that a file decides go through arena_try_alloc, which returns a Status and does not unwind.
// parallel_for guards each of its threads and unwinds its caller once all have left. A thread without any guard cannot be
// unwound: it prints a line and aborts. Threads of our own other than the pool's are given a guard where they start.
#pragma once
#include <locale.h>
#include <setjmp.h>
#include "base/float_mode.h"
#include "base/status.h"

typedef struct RecoverGuard {
  jmp_buf jump;
  struct RecoverGuard *outer;
  unsigned depth;
  Status status;               // what it was unwound with
  struct RecoverGuard *entry;  // the guard under which the host's code called ours: this one, or one further out
  FloatMode float_mode;        // found
  locale_t locale, ours;       // found, and that of C, where this is the entry
} RecoverGuard;

void recover_enter(RecoverGuard *guard);
void recover_leave(RecoverGuard *guard);
__attribute__((noreturn, cold)) void recover_unwind(Status status);  // takes the status over
__attribute__((noreturn, cold)) void memory_exhausted(void);         // with why: see budget.h, or memory is out

// A call of the host's code from inside of ours: it runs in the mode and the locale that the host had, and what it makes of them is the
// host's from then on. It may call into ours, whose guards then are entries of their own.
typedef struct HostVisit {
  RecoverGuard *entry;  // NULL: this thread is the host's already
  FloatMode float_mode;
} HostVisit;
void host_enter(HostVisit *visit);
void host_leave(const HostVisit *visit);

// What to undo when this thread is unwound past here. The record is the caller's: on its stack, or in what is undone.
// Between recover_defer and recover_dismiss no guard that was entered before may be left.
typedef struct RecoverCleanup {
  struct RecoverCleanup *older, *newer;
  unsigned depth;
  void (*fn)(void *context);  // allocates nothing from an arena
  void *context;
} RecoverCleanup;
void recover_defer(RecoverCleanup *cleanup, void (*fn)(void *context), void *context);
void recover_dismiss(RecoverCleanup *cleanup);  // on the thread that deferred it

// Evaluates call, an expression of type Status, under a guard, in our float mode, and in the C locale, so that printf and
// strtod mean the same whatever the host speaks. Guards nest; leaving call by return or goto is a defect.
#define RECOVER_GUARD(call)                                                 \
  ({                                                                        \
    RecoverGuard recover_guard_;                                            \
    struct Error *volatile recover_status_;                                 \
    recover_enter(&recover_guard_);                                         \
    if (setjmp(recover_guard_.jump) == 0) {                                 \
      recover_status_ = (call);                                             \
      recover_leave(&recover_guard_);                                       \
    } else {                                                                \
      recover_status_ = ((volatile RecoverGuard *)&recover_guard_)->status; \
    }                                                                       \
    (Status) recover_status_;                                               \
  })
