// Timing one inference in each of its kinds. On a GPU the benchmark brings its own stream, so that it can put events, and a write that flushes the
// cache, between the runs of a session.
#include "cli/bench_kinds.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/checked.h"
#include "base/thread.h"

enum { MAX_SAMPLES = 100000, LEAST_SAMPLES = 5, SETS = 8, CPU_FLUSH_BYTES = 256 << 20 };

// The public interface's errors are Statuses (api_error).
static Status forwarded(ingot_error *error) { return (Status)error; }

Status bench_open_gpu(ingot_config *config, CudaContext **out) {
  *out = NULL;
  if (config->device == INGOT_DEVICE_CPU) return OK;
  Status status = cuda_context_open(&(CudaContextOptions){.device = config->device_index}, out);
  if (status && config->device == INGOT_DEVICE_AUTO) {  // the session says, and takes the CPU
    status_free(status);
    return OK;
  }
  TRY(status);
  config->device = INGOT_DEVICE_CUDA;
  config->cuda_context = (*out)->handle;
  config->cuda_stream = (*out)->stream;
  return cuda_enter(*out);
}

// ---- inputs and results beside those of the caller ----

static size_t bytes_of(const ingot_tensor *tensor) {
  size_t count = 1;
  for (int i = 0; i < tensor->ndim; i++) count *= (size_t)tensor->shape[i];
  return count * ((tensor->dtype.bits + 7u) / 8u) * tensor->dtype.lanes;
}

static bool is_plain(const ingot_tensor *tensor) {
  return tensor->data && tensor->dtype.bits && tensor->dtype.code != INGOT_STRING && tensor->dtype.code < INGOT_TENSORS;
}

static bool all_plain(const Bench *bench) {
  for (int i = 0; i < bench->inputs->count; i++)
    if (!is_plain(&bench->inputs->tensors[i])) return false;
  for (int i = 0; i < bench->output_count; i++)
    if (!is_plain(&bench->outputs[i])) return false;
  return true;
}

static Status copy_input(Bench *bench, ingot_tensor *tensor) {
  size_t size = bytes_of(tensor);
  const char *from = (const char *)tensor->data + tensor->byte_offset;
  tensor->byte_offset = 0;
  if (bench->gpu) {
    TRY(cuda_alloc(bench->gpu, MAX(size, (size_t)1), &tensor->data));
    TRY(cuda_upload(bench->gpu, tensor->data, from, size));
    tensor->device = (ingot_place){INGOT_CUDA, bench->gpu->device};
    return OK;
  }
  tensor->data = arena_alloc(bench->arena, MAX(size, (size_t)1));
  memcpy(tensor->data, from, size);
  return OK;
}

static Status make_sets(Bench *bench) {
  int count = bench->inputs->count;
  bench->results = arena_array(bench->arena, ingot_output, (size_t)bench->output_count + 1);
  for (int i = 0; i < bench->output_count; i++) {
    bench->results[i] = (ingot_output){.size = sizeof(ingot_output), .owner = INGOT_OWNED_BY_SESSION};
    bench->results[i].tensor.device = bench->gpu ? (ingot_place){INGOT_CUDA, bench->gpu->device} : (ingot_place){INGOT_CPU, 0};
  }
  ingot_tensor **sets = arena_array(bench->arena, ingot_tensor *, SETS);
  for (int set = 0; set < SETS; set++) {
    sets[set] = arena_array(bench->arena, ingot_tensor, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
      sets[set][i] = bench->inputs->tensors[i];
      TRY(copy_input(bench, &sets[set][i]));
    }
  }
  bench->sets = sets;
  return OK;
}

void bench_close(Bench *bench) {
  if (bench->sets && bench->gpu)
    for (int set = 0; set < SETS; set++)
      for (int i = 0; i < bench->inputs->count; i++)
        cuda_free(bench->gpu, bench->sets[set][i].data, MAX(bytes_of(&bench->sets[set][i]), (size_t)1));
  if (bench->gpu) cuda_leave(bench->gpu);
  cuda_context_close(bench->gpu);
  arena_free(bench->arena);
}

// ---- one run of each kind ----

typedef struct Run {
  Bench *bench;
  int calls;
} Run;

Status bench_run(Bench *bench) {
  return forwarded(
      ingot_session_run(bench->session, bench->inputs->tensors, bench->inputs->count, bench->outputs, bench->output_count));
}

static Status run_call(Run *run) { return bench_run(run->bench); }

static Status enqueue(Run *run, int set) {
  Bench *b = run->bench;
  run->calls++;
  return forwarded(ingot_session_run_into(b->session, b->sets[set], b->inputs->count, b->results, b->output_count));
}

static Status run_placed(Run *run, int set) {
  TRY(enqueue(run, set));
  return forwarded(ingot_session_synchronize(run->bench->session));
}
static Status run_call_device(Run *run) { return run_placed(run, 0); }
static Status run_fresh(Run *run) { return run_placed(run, run->calls % SETS); }
static Status enqueue_on(void *state, CudaStream stream) { return enqueue(state, 0); }

// By the clock, with a write over `flush` before each run and outside of its time, if there is any.
static Status time_by_clock(Bench *bench, Status (*once)(Run *run), unsigned char *flush, double seconds, int warmup,
                            BenchTime *out) {
  Run run = {bench, 0};
  for (int i = 0; i < warmup; i++) TRY(once(&run));
  double *times = malloc(MAX_SAMPLES * sizeof *times);
  if (!times) return status_out_of_memory();
  Status status = OK;
  double end = time_now() + seconds;
  while (!status && out->samples < MAX_SAMPLES && (out->samples < LEAST_SAMPLES || time_now() < end)) {
    if (flush) memset(flush, out->samples & 255, CPU_FLUSH_BYTES);
    double begin = time_now();
    status = once(&run);
    times[out->samples++] = (time_now() - begin) * 1e3;
  }
  out->median = cli_median(times, out->samples);
  out->p90 = cli_percentile(times, out->samples, 0.9);
  out->p99 = cli_percentile(times, out->samples, 0.99);
  free(times);
  return status;
}

static Status time_flushed(Bench *bench, double seconds, int warmup, BenchTime *out) {
  if (bench->gpu) {
    Run run = {bench, 0};
    CudaTiming timing = {.warmups = MAX(warmup, 1), .repeats = 1000, .flush_l2 = true, .budget = MAX(seconds, 1e-3)};
    TRY(cuda_time(bench->gpu, &timing, enqueue_on, &run, &out->median));
    out->median *= 1e3;
    out->samples = run.calls - timing.warmups;
    return OK;
  }
  unsigned char *flush = malloc(CPU_FLUSH_BYTES);
  if (!flush) return status_out_of_memory();
  Status status = time_by_clock(bench, run_call, flush, seconds, warmup, out);
  free(flush);
  return status;
}

static Status time_device(Bench *bench, double seconds, BenchTime *out) {
  out->samples = 1;  // a median of its own
  return forwarded(ingot_session_time(bench->session, bench->inputs->tensors, bench->inputs->count, seconds, &out->median));
}

Status bench_time(Bench *bench, const char *kind, double seconds, int warmup, BenchTime *out) {
  *out = (BenchTime){0};
  if (!strcmp(kind, "call")) return time_by_clock(bench, run_call, NULL, seconds, warmup, out);
  if (!strcmp(kind, "device")) return time_device(bench, seconds, out);
  bool flushed = !strcmp(kind, "flushed"), fresh = !strcmp(kind, "fresh"), placed = !strcmp(kind, "call_device");
  if (!flushed && !fresh && !placed)
    FAIL(ERROR_INVALID_ARGUMENT, "there is no time of the kind '%s': there are %s", kind, BENCH_KINDS);
  if (placed && !bench->gpu) out->absent = "there is no device beside the host";
  else if (!all_plain(bench)) out->absent = "an input or a result is no tensor of numbers";
  if (out->absent) return OK;
  if (!bench->sets && (bench->gpu || fresh)) TRY(make_sets(bench));
  if (flushed) return time_flushed(bench, seconds, warmup, out);
  return time_by_clock(bench, fresh ? run_fresh : run_call_device, NULL, seconds, fresh ? SETS : warmup, out);
}

// ---- memory ----

size_t bench_device_bytes(const Bench *bench) {
  size_t available = 0, total = 0;
  if (!bench->gpu || bench->gpu->driver->cuMemGetInfo(&available, &total)) return 0;
  return bench->device_bytes > available ? bench->device_bytes - available : 0;
}

size_t bench_host_bytes(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) ? 0 : (size_t)usage.ru_maxrss * 1024;
}
