// What one call of the public interface may use: bytes of host memory, seconds, and the patience of whoever watches it. A model is a
// stranger's file, and what it asks for is only known while it is done; so every place that takes memory charges the budget
// of its thread, and every loop whose length a file decides says now and then how much it did. A call without a limit, a
// watcher or a way to be cancelled has no budget: then all of this is one look at a thread-local pointer.
//
// A budget that is exceeded stays exceeded until the call ends: no part of the call goes on by another way (but for budget_begin_again). Where a Status is at
// hand, TRY(budget_spend(work)); elsewhere budget_step(work), which unwinds to the innermost guard as running out of memory does
// (recover.h), so it may stand wherever arena_alloc may. Threads that work for a call (parallel_for) inherit its budget; only the
// thread that entered it calls the watcher.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/allocator.h"
#include "base/status.h"

typedef struct BudgetLimits {
  size_t memory;                 // bytes of host memory that may be held at once; 0: no limit
  double seconds;                // of one call; 0: no limit
  const atomic_bool *cancelled;  // set from another thread or a signal handler; NULL: nobody cancels
  // Called some twenty times a second; false cancels. seconds_left is negative where unknown. NULL: nobody watches.
  bool (*progress)(void *context, const char *stage, double fraction, double seconds_left);
  void *context;
  const Allocator *allocator;  // where host memory comes from; NULL: malloc. Outlives what was taken from it
} BudgetLimits;

typedef struct Budget {
  BudgetLimits limits;
  _Atomic int64_t held;  // bytes taken and not given back; stays from call to call of one object
  _Atomic int64_t most;  // the highest that was
  _Atomic uint64_t work;
  _Atomic int verdict;  // 0, or the BudgetVerdict that ended the call
  const void *owner;    // what tells the thread that entered
  double deadline;      // 0: none
  double next_report;   // when the watcher is called again
  const char *stage;    // what is going on, for the watcher
  _Atomic double fraction;
  double seconds_left;
  struct Budget *outer;
} Budget;

// Makes `budget` this thread's for one call, with its clock at zero. A budget without anything to heed is not made current. What is
// held is kept: a session's budget counts over all its calls. Calls nest.
void budget_enter(Budget *budget, const BudgetLimits *limits);
void budget_leave(Budget *budget);
Budget *budget_current(void);
// For a thread that works for another: makes that one's budget current (NULL: none) and returns the one before, to be put back.
Budget *budget_inherit(Budget *budget);
bool budget_is_over(const Budget *budget);  // false for NULL
// Whether this thread's call may be ended, or is watched: then it does not wait in one piece for what it cannot interrupt.
bool budget_is_watched(void);

// One unit of work is some nanoseconds: an element, an instruction of a program; a node visited is about fifty. The clock is looked at
// every hundred thousand.
enum { WORK_NODE = 50 };
MUST_CHECK Status budget_spend(uint64_t work);
void budget_step(uint64_t work);
uint64_t budget_work(const Budget *budget);  // spent so far, as seen by the thread that entered
// The clock, now: for waits, whose work is unknown. Returns the error, or OK.
MUST_CHECK Status budget_poll(void);
// Seconds between polls of a thread that waits for others.
#define BUDGET_POLL_SECONDS 0.03
// What the watcher is told from now on. A literal; fraction of this stage that is done, in 0..1; seconds_left negative where unknown.
void budget_stage(const char *stage, double fraction, double seconds_left);
void budget_tell(const char *stage, double fraction);  // from any of the call's threads; ignored while another stage goes on

// Memory. A charge that would exceed the limit ends the call: false, and nothing is charged.
bool budget_charge(size_t bytes);
void budget_correct(int64_t bytes);  // adds without asking
// Where it was memory that ended the call: it goes on, since its owner gives memory back and begins again what it was about. False where it was something else.
bool budget_begin_again(void);
size_t budget_left(void);                 // bytes that may still be taken; SIZE_MAX without a limit
const Allocator *budget_allocator(void);  // of this thread; NULL: malloc
// The error of an exceeded budget; where none is exceeded, memory is out.
Status budget_error_or_out_of_memory(void);
