// See background.h. A list of jobs under one mutex: they take milliseconds at least.
#include "base/background.h"

#include <stdlib.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "base/thread_parts.h"

enum { MOST_THREADS = 64 };

struct Background {
  Budget *budget;  // of whoever made it
  pthread_mutex_t mutex;
  pthread_cond_t added, done;
  BackgroundJob *first, **end;  // those not begun
  bool stopping;
  int thread_count;
  pthread_t threads[MOST_THREADS];
};

static Status run_job(void *context) {
  BackgroundJob *job = context;
  return RECOVER_GUARD(job->fn(job->context));
}

// The mutex is held. Waits for a job; NULL: it is over.
static BackgroundJob *take_job(Background *background) {
  while (!background->first && !background->stopping) pthread_cond_wait(&background->added, &background->mutex);
  BackgroundJob *job = background->stopping ? NULL : background->first;
  if (!job) return NULL;
  background->first = job->next;
  if (!job->next) background->end = &background->first;
  job->state = JOB_RUNNING;
  return job;
}

static void *work(void *context) {
  Background *background = context;
  budget_inherit(background->budget);
  pthread_mutex_lock(&background->mutex);
  for (BackgroundJob *job; (job = take_job(background));) {
    pthread_mutex_unlock(&background->mutex);
    Status status = run_job(job);
    pthread_mutex_lock(&background->mutex);
    job->status = status;
    job->state = JOB_DONE;
    pthread_cond_signal(&background->done);
  }
  pthread_mutex_unlock(&background->mutex);
  budget_inherit(NULL);
  return NULL;
}

Background *background_new(void) {
  Background *background = malloc(sizeof *background);
  if (!background) return NULL;
  *background = (Background){.budget = budget_current(), .end = &background->first};
  pthread_mutex_init(&background->mutex, NULL);
  thread_condition_init(&background->added);
  thread_condition_init(&background->done);
  int wanted = MIN(MAX(thread_cores() - 1, 1), (int)MOST_THREADS);
  while (background->thread_count < wanted && thread_start(&background->threads[background->thread_count], work, background))
    background->thread_count++;
  return background;
}

int background_threads(const Background *background) { return background ? MAX(background->thread_count, 1) : 1; }

void background_add(Background *background, BackgroundJob *job) {
  if (!background || !background->thread_count) return;
  pthread_mutex_lock(&background->mutex);
  *background->end = job;
  background->end = &job->next;
  pthread_cond_signal(&background->added);
  pthread_mutex_unlock(&background->mutex);
}

// The mutex is held. A job that is waited for is begun next.
static void put_first(Background *background, BackgroundJob *job) {
  BackgroundJob **at = &background->first;
  while (*at != job) at = &(*at)->next;
  *at = job->next;
  if (!job->next) background->end = at;
  if (!background->first) background->end = &job->next;
  job->next = background->first;
  background->first = job;
}

Status background_wait(Background *background, BackgroundJob *job) {
  if (!background || !background->thread_count) {
    job->state = JOB_DONE;
    return thread_watched(run_job, job);
  }
  pthread_mutex_lock(&background->mutex);
  if (job->state == JOB_WAITING) put_first(background, job);
  while (job->state != JOB_DONE && !budget_is_over(background->budget)) {
    if (background->budget) thread_wait_and_poll(&background->done, &background->mutex);
    else pthread_cond_wait(&background->done, &background->mutex);
  }
  bool done = job->state == JOB_DONE;
  Status status = done ? job->status : OK;
  if (done) job->status = OK;
  pthread_mutex_unlock(&background->mutex);
  return done ? status : budget_poll();
}

void background_free(Background *background) {
  if (!background) return;
  pthread_mutex_lock(&background->mutex);
  background->stopping = true;
  pthread_cond_broadcast(&background->added);
  pthread_mutex_unlock(&background->mutex);
  for (int i = 0; i < background->thread_count; i++) pthread_join(background->threads[i], NULL);
  pthread_cond_destroy(&background->done);
  pthread_cond_destroy(&background->added);
  pthread_mutex_destroy(&background->mutex);
  free(background);
}
