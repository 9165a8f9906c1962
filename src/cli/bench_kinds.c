// Timing one inference in each of its kinds. On a GPU the benchmark brings its own stream, so that it can put events, and a write that flushes the
// cache, between the runs of a session.
#include "cli/bench_kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/checked.h"
#include "base/thread.h"

enum { MAX_SAMPLES = 100000, LEAST_SAMPLES = 5, CPU_FLUSH_BYTES = 256 << 20, MAX_BATCHES = 1000 };
static const double BATCH_SECONDS =
    5e-3;  // between two events lies at least so much, so that the events' own cost does not count
static const double WARM_SECONDS = 0.05;

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

// As many sets of inputs as are asked for, and where results go.
static Status make_sets(Bench *bench, int wanted) {
  int count = bench->inputs->count;
  if (!bench->results) {
    ingot_place place = bench->gpu ? (ingot_place){INGOT_CUDA, bench->gpu->device} : (ingot_place){INGOT_CPU, 0};
    bench->results = arena_array(bench->arena, ingot_output, (size_t)bench->output_count + 1);
    for (int i = 0; i < bench->output_count; i++)
      bench->results[i] = (ingot_output){.size = sizeof(ingot_output), .owner = INGOT_OWNED_BY_SESSION, .tensor.device = place};
  }
  for (; bench->set_count < wanted; bench->set_count++) {
    ingot_tensor *set = arena_array(bench->arena, ingot_tensor, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
      set[i] = bench->inputs->tensors[i];
      TRY(copy_input(bench, &set[i]));
    }
    bench->sets[bench->set_count] = set;
  }
  return OK;
}

static Status make_place(Bench *bench, const ingot_tensor *result, ingot_output *place) {
  size_t size = bytes_of(result);
  *place = (ingot_output){.size = sizeof(ingot_output), .owner = INGOT_OWNED_BY_CALLER, .capacity = MAX(size, (size_t)1)};
  place->tensor.device = (ingot_place){INGOT_CUDA, bench->gpu->device};
  return cuda_alloc(bench->gpu, place->capacity, &place->tensor.data);
}

// On the GPU, for as many sets.
static Status make_places(Bench *bench, int wanted) {
  if (bench->place_count < wanted) TRY(bench_run(bench));  // those of now: other shapes may have run since
  for (; bench->place_count < wanted; bench->place_count++) {
    ingot_output *places = arena_array(bench->arena, ingot_output, (size_t)bench->output_count + 1);
    bench->places[bench->place_count] = places;
    for (int i = 0; i < bench->output_count; i++) TRY(make_place(bench, &bench->outputs[i], &places[i]));
  }
  return OK;
}

void bench_close(Bench *bench) {
  for (int set = 0; set < bench->set_count && bench->gpu; set++)
    for (int i = 0; i < bench->inputs->count; i++)
      cuda_free(bench->gpu, bench->sets[set][i].data, MAX(bytes_of(&bench->sets[set][i]), (size_t)1));
  for (int set = 0; set < bench->place_count; set++)
    for (int i = 0; i < bench->output_count; i++)
      cuda_free(bench->gpu, bench->places[set][i].tensor.data, bench->places[set][i].capacity);
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
static Status run_fresh(Run *run) { return run_placed(run, run->calls % BENCH_SETS); }
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

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

// What the host does until it may go on, each time with a GPU that has nothing to do: a queue that is full would make it wait. sets: whose addresses are
// used, one after the other.
static Status time_enqueue(Bench *bench, int sets, double seconds, int warmup, BenchTime *out) {
  int count = bench->inputs->count;
  double *times = malloc(MAX_SAMPLES * sizeof *times), end = time_now() + seconds;
  if (!times) return status_out_of_memory();
  Status status = OK;
  for (int i = 0; i < MAX_SAMPLES && (i < warmup + 2 * sets + LEAST_SAMPLES || time_now() < end); i++) {
    int set = i % sets;
    double begin = time_now();
    TRY_GOTO(
        forwarded(ingot_session_run_into(bench->session, bench->sets[set], count, bench->places[set], bench->output_count)));
    double enqueued = time_now();
    TRY_GOTO(forwarded(ingot_session_synchronize(bench->session)));
    if (i >= warmup + 2 * sets) times[out->samples++] = (enqueued - begin) * 1e3;
  }
  qsort(times, (size_t)out->samples, sizeof *times, ascending);
  out->median = times[out->samples / 2];
  out->p90 = times[out->samples * 9 / 10];
  out->p99 = times[out->samples * 99 / 100];
done:
  free(times);
  return status;
}

static Status time_flushed(Bench *bench, double seconds, int warmup, BenchTime *out) {
  if (bench->gpu) {
    Run run = {bench, 0};
    CudaTiming timing = {
        .warmups = MAX(warmup, 1), .repeats = 1000, .flush_l2 = true, .budget = MAX(seconds, 1e-3), .least = LEAST_SAMPLES};
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

// Complete runs, one after another: to enqueue as many as fit into a time would queue up far more of them than run in it.
static Status warm_up(Run *run, double seconds, int least) {
  double end = time_now() + MIN(seconds / 4, WARM_SECONDS);
  for (int i = 0; i < least || time_now() < end; i++) TRY(run_placed(run, 0));
  return OK;
}

// Milliseconds of one of `times` runs between each two of the events, which are count + 1. The runs are waiting on the GPU before it comes to them.
static Status time_between(Run *run, const CudaEvent *events, int count, int times, double *each) {
  CudaContext *gpu = run->bench->gpu;
  CUDA_TRY(gpu, cuEventRecord(events[0], gpu->stream));
  for (int i = 0; i < count; i++) {
    for (int k = 0; k < times; k++) TRY(enqueue(run, 0));
    CUDA_TRY(gpu, cuEventRecord(events[i + 1], gpu->stream));
  }
  TRY(cuda_synchronize(gpu, gpu->stream));
  for (int i = 0; i < count; i++) {
    float elapsed;
    CUDA_TRY(gpu, cuEventElapsedTime(&elapsed, events[i], events[i + 1]));
    each[i] = (double)elapsed / times;
  }
  return OK;
}

static Status time_batches(Bench *bench, double seconds, int warmup, BenchTime *out) {
  Run run = {bench, 0};
  CudaContext *gpu = bench->gpu;
  CudaEvent events[MAX_BATCHES + 1] = {0};
  double each[MAX_BATCHES];
  Status status = OK;
  TRY_GOTO(warm_up(&run, seconds, MAX(warmup, 3)));
  for (int i = 0; i < 2; i++) CUDA_TRY_GOTO(gpu, cuEventCreate(&events[i], 0));
  TRY_GOTO(time_between(&run, events, 1, 3, each));
  double estimate = MAX(each[0], 1e-3) / 1e3;
  int times = MAX((int)ceil(BATCH_SECONDS / estimate), 1);
  int count = (int)MIN(MAX(seconds / (estimate * times), LEAST_SAMPLES), MAX_BATCHES);
  for (int i = 2; i <= count; i++) CUDA_TRY_GOTO(gpu, cuEventCreate(&events[i], 0));
  TRY_GOTO(time_between(&run, events, count, times, each));
  out->samples = count;
  out->median = cli_median(each, count);
done:
  for (int i = 0; i <= MAX_BATCHES; i++)
    if (events[i]) gpu->driver->cuEventDestroy(events[i]);
  return status;
}

Status bench_time_itself(Bench *bench, double seconds, BenchTime *out) {
  double each[LEAST_SAMPLES];
  *out = (BenchTime){0};
  for (int i = 0; i < LEAST_SAMPLES; i++)
    TRY(forwarded(
        ingot_session_time(bench->session, bench->inputs->tensors, bench->inputs->count, seconds / LEAST_SAMPLES, &each[i])));
  out->samples = LEAST_SAMPLES;
  out->median = cli_median(each, LEAST_SAMPLES);
  return OK;
}

static Status time_device(Bench *bench, double seconds, int warmup, BenchTime *out) {
  // What is no tensor of numbers cannot stay on the device.
  if (!all_plain(bench)) return bench_time_itself(bench, seconds, out);
  TRY(make_sets(bench, 1));
  return bench->gpu ? time_batches(bench, seconds, warmup, out)
                    : time_by_clock(bench, run_call_device, NULL, seconds, warmup, out);
}

Status bench_time(Bench *bench, const char *kind, double seconds, int warmup, BenchTime *out) {
  *out = (BenchTime){0};
  if (!strcmp(kind, "call")) return time_by_clock(bench, run_call, NULL, seconds, warmup, out);
  if (!strcmp(kind, "device")) return time_device(bench, seconds, warmup, out);
  bool flushed = !strcmp(kind, "flushed"), fresh = !strcmp(kind, "fresh"), placed = !strcmp(kind, "call_device"),
       enqueued = !strcmp(kind, "enqueue"), fresh_enqueued = !strcmp(kind, "enqueue_fresh");
  if (!flushed && !fresh && !placed && !enqueued && !fresh_enqueued)
    FAIL(ERROR_INVALID_ARGUMENT, "there is no time of the kind '%s': there are %s", kind, BENCH_KINDS);
  if ((placed || enqueued || fresh_enqueued) && !bench->gpu) out->absent = "there is no device beside the host";
  else if (!all_plain(bench)) out->absent = "an input or a result is no tensor of numbers";
  if (out->absent) return OK;
  int sets = fresh || fresh_enqueued ? BENCH_SETS : 1;
  TRY(make_sets(bench, sets));
  if (enqueued || fresh_enqueued) {
    TRY(make_places(bench, sets));
    return time_enqueue(bench, sets, seconds, warmup, out);
  }
  if (flushed) return time_flushed(bench, seconds, warmup, out);
  return time_by_clock(bench, fresh ? run_fresh : run_call_device, NULL, seconds, fresh ? BENCH_SETS : warmup, out);
}

// ---- what it takes ----

void bench_note_memory(Bench *bench) {
  size_t available = 0, total = 0;
  struct rusage usage;
  if (bench->gpu && !bench->gpu->driver->cuMemGetInfo(&available, &total))
    bench->device_bytes = bench->free_bytes > available ? bench->free_bytes - available : 0;
  if (!getrusage(RUSAGE_SELF, &usage)) bench->host_bytes = (size_t)usage.ru_maxrss * 1024;
}

void bench_json_opened(const Bench *bench, Json *json) {
  json_double(json, "first_run_ms", bench->first_ms);
  json_double(json, "open_ms", bench->open_ms);
  bench_json_memory(bench, json);
}

void bench_json_memory(const Bench *bench, Json *json) {
  json_int(json, "weights_bytes", (int64_t)ingot_session_memory(bench->session, INGOT_MEMORY_WEIGHTS));
  json_int(json, "arena_bytes", (int64_t)ingot_session_memory(bench->session, INGOT_MEMORY_ARENA));
  if (bench->gpu) json_int(json, "device_bytes", (int64_t)bench->device_bytes);
  json_int(json, "host_bytes", (int64_t)bench->host_bytes);
}
