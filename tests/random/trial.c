// See trial.h.
#include "tests/random/trial.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/recover.h"
#include "ir/verify.h"

enum { MOST_SECONDS = 20 };

enum { CLOCK_FACTOR = 20 };

const char *outcome_name(Outcome outcome) {
  static const char *const names[] = {"holds", "is refused", "differs", "breaks", "dies"};
  return names[outcome];
}

void trial_apart(void (*work)(void *context, Trial *trial), void *context, int seconds, Trial *out) {
  Trial *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    *out = (Trial){.outcome = REFUSED, .message = "no memory to share"};
    return;
  }
  fflush(NULL);
  pid_t child = fork();
  if (!child) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    // Seconds of work, whatever else the machine does; the clock only ends what waits for something.
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = seconds}, NULL);
    alarm((unsigned)seconds * CLOCK_FACTOR);
    work(context, shared);
    _exit(0);
  }
  int state = 0;
  if (child < 0 || waitpid(child, &state, 0) < 0) *shared = (Trial){.outcome = REFUSED, .message = "no process"};
  else if (WIFSIGNALED(state)) {
    shared->outcome = DIES;
    snprintf(shared->message, sizeof shared->message, "signal %d", WTERMSIG(state));
  } else if (WEXITSTATUS(state)) {
    shared->outcome = DIES;
    snprintf(shared->message, sizeof shared->message, "exit status %d", WEXITSTATUS(state));
  }
  *out = *shared;
  munmap(shared, sizeof *shared);
}

static void note(Trial *trial, Outcome outcome, Status status) {
  trial->outcome = outcome;
  snprintf(trial->message, sizeof trial->message, "%s", status_message(status));
  status_free(status);
}

static Status try_way(const Subject *subject, const RewriteWay *way, Trial *trial) {
  Arena *arena = arena_scratch();
  Judge judge;
  Attempt attempt;
  Status status = judge_begin(arena, subject->graph, subject->values, &judge);
  if (status) note(trial, REFUSED, status);
  else {
    trial->ways++;
    status = attempt_way(&judge, way, &attempt);
    if (status) note(trial, status_code(status) == ERROR_MISMATCH ? DIFFERS : BREAKS, status);
    else {
      trial->changed += attempt.changed;
      trial->bounded += attempt.verdict.bounded;
      trial->unjudged += attempt.verdict.unjudged;
      for (int i = 0; i < MOST_RULES; i++) trial->applied[i] += attempt.applied[i];
    }
  }
  arena_free(arena);
  return OK;
}

void trial_ways(const Subject *subject, Trial *trial) {
  trial->outcome = HELD;
  trial->nodes = subject->graph->node_count;
  for (int i = 0; i < subject->way_count && trial->outcome == HELD; i++) {
    trial->way = subject->ways[i];
    Status status = RECOVER_GUARD(try_way(subject, &subject->ways[i], trial));
    if (status) note(trial, BREAKS, status);
  }
}

static void work(void *context, Trial *trial) { trial_ways(context, trial); }
void trial_run(const Subject *subject, Trial *out) { trial_apart(work, (void *)subject, MOST_SECONDS, out); }
