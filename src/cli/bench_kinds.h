// The ways to time one inference, by name: what `ingot bench --kinds` prints and `--on-request` is asked for.
#pragma once
#include "cli/cli.h"
#include "cuda/context.h"

// device: enqueued back to back, tensors staying where they are. flushed: after a write larger than the cache. call: from tensors on the host to
// results on the host. call_device: from tensors on the GPU to results there, complete. fresh: as that (on a CPU: as call), with inputs at other addresses than
// the call before had.
#define BENCH_KINDS "device, flushed, call, call_device, fresh"

typedef struct Bench {
  ingot_engine *engine;
  ingot_session *session;
  const InputSet *inputs;
  ingot_tensor *outputs;  // lent on the host; output_count of them
  int output_count;
  CudaContext *gpu;  // NULL: the session is on the CPU
  Arena *arena;
  ingot_tensor **sets;    // inputs at addresses of their own, on the session's device; NULL until they are needed
  ingot_output *results;  // left on the GPU
  size_t device_bytes;    // free on the GPU before the engine was opened
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
MUST_CHECK Status bench_run(Bench *bench);  // once, host to host
// Bytes of the GPU taken since it was opened, by anybody; the context apart. Of a CPU 0.
size_t bench_device_bytes(const Bench *bench);
size_t bench_host_bytes(void);  // the most that this process had resident
