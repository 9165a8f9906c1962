// See budget.h. The thread's spent work is thread-local and looked at only when it reaches a quantum, so that a loop pays an
// addition for each of its rows.
#include "base/budget.h"
#include <string.h>
#include "base/recover.h"
#include "base/thread.h"

enum { QUANTUM = 100000, REPORTS_PER_SECOND = 20 };

typedef enum BudgetVerdict { GOING_ON, OUT_OF_BYTES, OUT_OF_TIME, CANCELLED_OUTSIDE, CANCELLED_BY_WATCHER } BudgetVerdict;

static _Thread_local Budget *current;
static _Thread_local uint64_t unreported;  // its address is the thread's name, too
static _Thread_local bool look_next;

static bool has_limits(const BudgetLimits *limits) {
  return limits->memory || limits->seconds > 0 || limits->cancelled || limits->progress || limits->allocator;
}

void budget_enter(Budget *budget, const BudgetLimits *limits) {
  budget->limits = *limits;
  budget->outer = current;
  atomic_store(&budget->verdict, GOING_ON);
  if (!has_limits(limits)) return;
  double now = time_now();
  budget->owner = &unreported;
  budget->deadline = limits->seconds > 0 ? now + limits->seconds : 0;
  budget->next_report = now + 1.0 / REPORTS_PER_SECOND;  // short calls pass in silence, but for a stage never told of
  look_next = true;
  current = budget;
}

void budget_leave(Budget *budget) {
  if (current == budget) current = budget->outer;
}

Budget *budget_current(void) { return current; }

Budget *budget_inherit(Budget *budget) {
  Budget *before = current;
  current = budget;
  return before;
}

const Allocator *budget_allocator(void) { return current ? current->limits.allocator : NULL; }

bool budget_is_over(const Budget *budget) { return budget && atomic_load_explicit(&budget->verdict, memory_order_relaxed); }

bool budget_is_watched(void) {
  return current && (current->limits.progress || current->limits.cancelled || current->deadline > 0);
}

// The first verdict stands.
static void end_call(Budget *budget, BudgetVerdict verdict) {
  int none = GOING_ON;
  atomic_compare_exchange_strong(&budget->verdict, &none, verdict);
}

static void report(Budget *budget, double now) {
  if (!budget->limits.progress || budget->owner != &unreported || now < budget->next_report) return;
  budget->next_report = now + 1.0 / REPORTS_PER_SECOND;
  const char *stage = budget->stage ? budget->stage : "";
  HostVisit visit;
  host_enter(&visit);
  bool goes_on = budget->limits.progress(budget->limits.context, stage, budget->fraction, budget->seconds_left);
  host_leave(&visit);
  if (!goes_on) end_call(budget, CANCELLED_BY_WATCHER);
}

static void look(Budget *budget) {
  atomic_fetch_add_explicit(&budget->work, unreported, memory_order_relaxed);
  unreported = 0;
  look_next = false;
  double now = time_now();
  if (budget->limits.cancelled && atomic_load(budget->limits.cancelled)) end_call(budget, CANCELLED_OUTSIDE);
  if (budget->deadline > 0 && now > budget->deadline) end_call(budget, OUT_OF_TIME);
  if (!budget_is_over(budget)) report(budget, now);
}

static Status verdict_error(const Budget *budget) {
  switch ((BudgetVerdict)atomic_load(&budget->verdict)) {
    case GOING_ON: return OK;
    case OUT_OF_BYTES:
      FAIL(ERROR_LIMIT, "more than the limit of %zu bytes of host memory would be needed", budget->limits.memory);
    case OUT_OF_TIME: FAIL(ERROR_LIMIT, "the limit of %g s was reached", budget->limits.seconds);
    case CANCELLED_OUTSIDE: FAIL(ERROR_CANCELLED, "cancelled");
    case CANCELLED_BY_WATCHER: FAIL(ERROR_CANCELLED, "cancelled by the progress callback");
  }
  return OK;
}

Status budget_spend(uint64_t work) {
  Budget *budget = current;
  if (!budget) return OK;
  unreported += work;
  if (unreported >= QUANTUM || look_next) look(budget);
  return budget_is_over(budget) ? verdict_error(budget) : OK;
}

void budget_step(uint64_t work) {
  Status status = budget_spend(work);
  if (status) recover_unwind(status);
}

Status budget_poll(void) {
  look_next = true;
  return budget_spend(0);
}

uint64_t budget_work(const Budget *budget) { return atomic_load(&budget->work) + unreported; }

void budget_stage(const char *stage, double fraction, double seconds_left) {
  Budget *budget = current;
  if (!budget || budget->owner != &unreported) return;
  if (!budget->stage || strcmp(budget->stage, stage) != 0) {
    budget->next_report = 0;
    look_next = true;
  }
  budget->stage = stage;
  budget->fraction = fraction;
  budget->seconds_left = seconds_left;
}

void budget_tell(const char *stage, double fraction) {
  if (current && current->stage && !strcmp(current->stage, stage)) current->fraction = fraction;
}

bool budget_begin_again(void) {
  int verdict = OUT_OF_BYTES;
  return current && atomic_compare_exchange_strong(&current->verdict, &verdict, GOING_ON);
}

size_t budget_left(void) {
  if (!current || !current->limits.memory) return SIZE_MAX;
  int64_t left = (int64_t)current->limits.memory - atomic_load_explicit(&current->held, memory_order_relaxed);
  return left > 0 ? (size_t)left : 0;
}

bool budget_charge(size_t bytes) {
  Budget *budget = current;
  if (!budget) return true;
  if (bytes > INT64_MAX / 2) return false;
  int64_t held = atomic_fetch_add(&budget->held, (int64_t)bytes) + (int64_t)bytes;
  if (!budget->limits.memory || held <= (int64_t)budget->limits.memory) {
    if (held > atomic_load_explicit(&budget->most, memory_order_relaxed)) atomic_store(&budget->most, held);
    return true;
  }
  atomic_fetch_sub(&budget->held, (int64_t)bytes);
  end_call(budget, OUT_OF_BYTES);
  return false;
}

void budget_correct(int64_t bytes) {
  Budget *budget = current;
  if (budget) atomic_fetch_add(&budget->held, bytes);
}

Status budget_error_or_out_of_memory(void) { return budget_is_over(current) ? verdict_error(current) : status_out_of_memory(); }
