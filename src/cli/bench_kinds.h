// The ways to time one inference, by name: what `ingot bench --kinds` prints and `--on-request` is asked for.
#pragma once
#include "cli/cli.h"
#include "cuda/context.h"

// device: enqueued back to back, tensors staying where they are; batches of at least 5 ms between two events (on a CPU: each run by the clock). flushed: after a
// write larger than the cache. call: from tensors on the host to results on the host. call_device: from tensors on the GPU to results there, complete. fresh: as
// that (on a CPU: as call), with inputs at other addresses than the call before had. enqueue: the host's part of a call whose tensors stay on the GPU, which has
// nothing else to do, until it may go on. enqueue_fresh: the same with inputs and results at other addresses than the call before had.
#define BENCH_KINDS "device, flushed, call, call_device, fresh, enqueue, enqueue_fresh"

enum { BENCH_SETS = 8 };

typedef struct Bench {
  ingot_engine *engine;
  ingot_session *session;
  const InputSet *inputs;
  ingot_tensor *outputs;  // lent on the host; output_count of them
  int output_count;
  CudaContext *gpu;  // NULL: the session is on the CPU
  Arena *arena;
  ingot_tensor *sets[BENCH_SETS];  // inputs at addresses of their own, on the session's device: as many as were needed
  int set_count;
  ingot_output *results;             // left on the GPU
  ingot_output *places[BENCH_SETS];  // where results go, at addresses of their own: as many as were needed
  int place_count;
  double context_ms, open_ms, first_ms;  // opening holds the context
  size_t free_bytes;                     // on the GPU before the engine was opened
  size_t device_bytes, host_bytes;       // taken since, the context apart; the most that was resident: after the first run
} Bench;

typedef struct BenchTime {
  double median, p90, p99;  // milliseconds
  int samples;
  const char *absent;  // why there is no such time, else NULL
} BenchTime;

// The GPU that the session is to run on, with a context and a stream of the benchmark's own, which config then names. NULL where there is none, or the CPU is asked for.
MUST_CHECK Status bench_open_gpu(ingot_config *config, CudaContext **out);
void bench_close(Bench *bench);  // device memory, then the context
MUST_CHECK Status bench_time(Bench *bench, const char *kind, double seconds, int warmup, BenchTime *out);
MUST_CHECK Status bench_run(Bench *bench);               // once, host to host
void bench_note_memory(Bench *bench);                    // fills device_bytes and host_bytes
void bench_json_opened(const Bench *bench, Json *json);  // "first_run_ms", "open_ms", and what memory it took
void bench_json_memory(const Bench *bench,
                       Json *json);  // what was noted last: of weights, of the arena of the last shapes, of device and host
// Runs of the present inputs, which the session times itself in its own memory: nothing is brought or fetched. Each sample is a median.
MUST_CHECK Status bench_time_itself(Bench *bench, double seconds, BenchTime *out);
