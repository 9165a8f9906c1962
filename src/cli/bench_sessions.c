// ingot bench --sessions N: N sessions of one engine, each in a thread of its own, all calling as fast as they can: what a server sees.
#include "cli/bench_sessions.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/thread.h"

enum { MAX_CALLS = 1 << 20, WARMUP_CALLS = 3 };

typedef struct Start {
  atomic_int ready;
  atomic_bool go, stop;
} Start;

typedef struct Server {
  pthread_t thread;
  ingot_session *session;
  const InputSet *inputs;
  int output_count, calls;
  Start *start;
  double *times;  // milliseconds; MAX_CALLS of them
  ingot_error *error;
} Server;

static void thread_sleep(double seconds) {
  double whole = (double)(time_t)seconds;
  nanosleep(&(struct timespec){.tv_sec = (time_t)whole, .tv_nsec = (long)((seconds - whole) * 1e9)}, NULL);
}

static void *serve(void *argument) {
  Server *server = argument;
  ingot_tensor *outputs = calloc((size_t)server->output_count + 1, sizeof *outputs);
  for (int i = 0; i < WARMUP_CALLS && !server->error && outputs; i++)
    server->error =
        ingot_session_run(server->session, server->inputs->tensors, server->inputs->count, outputs, server->output_count);
  atomic_fetch_add(&server->start->ready, 1);
  while (!atomic_load(&server->start->go)) thread_sleep(1e-4);
  while (!atomic_load(&server->start->stop) && !server->error && outputs && server->calls < MAX_CALLS) {
    double begin = time_now();
    server->error =
        ingot_session_run(server->session, server->inputs->tensors, server->inputs->count, outputs, server->output_count);
    server->times[server->calls++] = (time_now() - begin) * 1e3;
  }
  free(outputs);
  return NULL;
}

// All wait until each has warmed up, then run for `seconds`.
static ingot_error *run_all(Server *servers, int count, double seconds, double *elapsed) {
  Start *start = servers->start;
  int started = 0;
  while (started < count && !pthread_create(&servers[started].thread, NULL, serve, &servers[started])) started++;
  while (atomic_load(&start->ready) < started) thread_sleep(1e-3);
  double begin = time_now();
  atomic_store(&start->go, true);
  if (started == count) thread_sleep(seconds);
  atomic_store(&start->stop, true);
  for (int i = 0; i < started; i++) pthread_join(servers[i].thread, NULL);
  *elapsed = time_now() - begin;
  return started == count
             ? NULL
             : api_error(status_make(ERROR_OUT_OF_MEMORY, "only %d of %d threads could be started", started, count));
}

static ingot_error *gather(Server *servers, int count, double elapsed, SessionTimes *out) {
  int total = 0;
  for (int i = 0; i < count; i++) total += servers[i].calls;
  double *all = malloc(MAX(total, 1) * sizeof *all);
  if (!all) return api_error(status_out_of_memory());
  int at = 0;
  for (int i = 0; i < count; i++)
    for (int k = 0; k < servers[i].calls; k++) all[at++] = servers[i].times[k];
  *out = (SessionTimes){
      .calls = total, .per_second = total / elapsed, .p50 = cli_median(all, total), .p99 = cli_percentile(all, total, 0.99)};
  free(all);
  return NULL;
}

ingot_error *bench_sessions(ingot_engine *engine, const ingot_config *config, const InputSet *inputs, int count, double seconds,
                            SessionTimes *out) {
  Start start = {0};
  ingot_error *error = NULL;
  Server *servers = calloc((size_t)count, sizeof *servers);
  if (!servers) return api_error(status_out_of_memory());
  for (int i = 0; i < count && !error; i++) {
    servers[i] = (Server){.inputs = inputs, .output_count = ingot_engine_output_count(engine), .start = &start};
    servers[i].times = malloc(MAX_CALLS * sizeof(double));
    error = servers[i].times ? ingot_session_create(engine, config, &servers[i].session) : api_error(status_out_of_memory());
  }
  double elapsed = 0;
  if (!error) error = run_all(servers, count, seconds, &elapsed);
  for (int i = 0; i < count && !error; i++) error = servers[i].error, servers[i].error = NULL;
  if (!error) error = gather(servers, count, elapsed, out);
  for (int i = 0; i < count; i++) {
    ingot_error_free(servers[i].error);
    ingot_session_free(servers[i].session);
    free(servers[i].times);
  }
  free(servers);
  return error;
}
