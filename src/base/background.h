// Jobs that threads of our own do while the caller does something else, begun in the order in which they are handed over, but one that is waited for
// before the others. One thread hands over and waits. The threads inherit its budget (budget.h), and only it calls the watcher.
#pragma once
#include "base/status.h"

typedef struct Background Background;

typedef struct BackgroundJob {
  Status (*fn)(void *context);
  void *context;
  // Private.
  struct BackgroundJob *next;
  enum { JOB_WAITING, JOB_RUNNING, JOB_DONE } state;
  Status status;
} BackgroundJob;

// One thread for each core but the caller's, and at least one. Where the system refuses threads there are fewer; with none at all, and where memory
// is out (NULL), jobs are done by whoever waits for them.
Background *background_new(void);
// The job, fn and context set and zeros else, stays where it is until it has been waited for, or background_free has returned.
void background_add(Background *background, BackgroundJob *job);
// Returns the job's status, once; or the error of a budget that is exceeded, while the job may go on.
MUST_CHECK Status background_wait(Background *background, BackgroundJob *job);
int background_threads(const Background *background);  // at least 1: the caller
// Leaves out what is not begun, and waits for what is. What failed and was not waited for is kept in its job.
void background_free(Background *background);  // NULL is fine
