// Jobs in the background: each is done once, failures go to whoever waits, what nobody has begun is left out.
#include "base/background.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/budget.h"
#include "base/recover.h"

enum { JOBS = 200 };
static atomic_int done;

static Status count(void *context) {
  atomic_fetch_add(&done, 1);
  if (context) FAIL(ERROR_UNSUPPORTED, "%s", (const char *)context);
  return OK;
}
static Status unwind(void *context) {
  (void)context;
  memory_exhausted();
}
static Status sleep_long(void *context) {
  (void)context;
  nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
  return OK;
}

Test(background, every_job_is_done_once) {
  Background *backgrounds[] = {background_new(), NULL};  // NULL: whoever waits does it
  for (int k = 0; k < 2; k++) {
    BackgroundJob jobs[JOBS];
    done = 0;
    cr_assert_geq(background_threads(backgrounds[k]), 1);
    for (int i = 0; i < JOBS; i++) {
      jobs[i] = (BackgroundJob){.fn = count};
      background_add(backgrounds[k], &jobs[i]);
    }
    for (int i = JOBS - 1; i >= 0; i--) cr_assert_null(background_wait(backgrounds[k], &jobs[i]));
    cr_assert_eq(done, JOBS);
    background_free(backgrounds[k]);
  }
}

static Status count_slowly(void *context) {
  nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  return count(context);
}

Test(background, what_is_waited_for_comes_first) {
  Background *background = background_new();
  static BackgroundJob jobs[1000];
  done = 0;
  for (int i = 0; i < 1000; i++) {
    jobs[i] = (BackgroundJob){.fn = count_slowly};
    background_add(background, &jobs[i]);
  }
  static const int order[] = {999, 500, 999 - 1, 0, 1};  // the end of the list, its middle, its new end, its beginning
  for (int i = 0; i < 5; i++) cr_assert_null(background_wait(background, &jobs[order[i]]));
  cr_assert_lt(done, 900);
  BackgroundJob last = {.fn = count};
  background_add(background, &last);
  cr_assert_null(background_wait(background, &last));
  background_free(background);
}

Test(background, whoever_waits_is_told_what_failed) {
  Background *background = background_new();
  BackgroundJob bad = {.fn = count, .context = "no"}, unwound = {.fn = unwind}, good = {.fn = count};
  background_add(background, &bad);
  background_add(background, &unwound);
  background_add(background, &good);
  Status status = background_wait(background, &bad);
  cr_assert_eq(status_code(status), ERROR_UNSUPPORTED);
  cr_assert_str_eq(status_message(status), "no");
  status_free(status);
  status = background_wait(background, &unwound);
  cr_assert_eq(status_code(status), ERROR_OUT_OF_MEMORY);
  status_free(status);
  cr_assert_null(background_wait(background, &good));
  background_free(background);
}

Test(background, what_is_not_begun_is_left_out) {
  static BackgroundJob jobs[10000];
  Background *background = background_new();
  done = 0;
  for (int i = 0; i < 64; i++) {
    jobs[i] = (BackgroundJob){.fn = sleep_long};
    background_add(background, &jobs[i]);
  }
  for (int i = 64; i < 10000; i++) {
    jobs[i] = (BackgroundJob){.fn = count, .context = "kept in its job"};
    background_add(background, &jobs[i]);
  }
  background_free(background);
  cr_assert_eq(done, 0);
  for (int i = 0; i < 10000; i++) status_free(jobs[i].status);
}

Test(background, a_call_that_is_over_waits_for_no_job) {
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.seconds = 0.01});
  Background *background = background_new();
  BackgroundJob job = {.fn = sleep_long};
  background_add(background, &job);
  Status status = background_wait(background, &job);
  cr_assert_not_null(status);
  status_free(status);
  background_free(background);
  budget_leave(&budget);
  status_free(job.status);
}
