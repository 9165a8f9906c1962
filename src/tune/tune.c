// See tune.h.
#include "tune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/half.h"
#include "base/memory.h"
#include "base/recover.h"
#include "base/thread.h"
#include "tune/launches.h"

enum { MAX_SELECTIONS = 48, MAX_COMPARED = 1 << 16 };

// Device memory for one site: every candidate reads the same random inputs.
typedef struct Bench {
  const Site *site;
  const TuneOptions *options;
  Arena *arena;
  void **inputs, **outputs;  // allocations
  size_t *input_bytes, *output_bytes;
  void **input_at, **output_at;  // element 0, inside them
} Bench;

// The lowest and highest element a strided tensor touches, relative to element 0.
static void extent(const TensorDesc *desc, int64_t *low, int64_t *high) {
  *low = *high = 0;
  for (int i = 0; i < desc->rank; i++) {
    if (!desc->dims[i]) return;
    int64_t span = (desc->dims[i] - 1) * desc->strides[i];
    if (span < 0) *low += span;
    else *high += span;
  }
}

static void fill_random(const TensorDesc *desc, void *bytes, int64_t count, uint64_t seed) {
  uint64_t state = seed * 2654435761u + 88172645463325252ull;
  for (int64_t i = 0; i < count; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    void *element = (char *)bytes + (size_t)i * dtype_size(desc->dtype);
    if (dtype_is_float(desc->dtype)) element_set_f(desc->dtype, element, (double)(int64_t)(state >> 40) / (1 << 24) * 2 - 1);
    else element_set_i(desc->dtype, element, (int64_t)((state >> 33) & 1));  // small enough to be an index anywhere
  }
}

static Status allocate(Bench *b, const TensorDesc *desc, bool fill, uint64_t seed, void **out, size_t *bytes, void **at) {
  int64_t low, high;
  extent(desc, &low, &high);
  int64_t count = high - low + 1;
  size_t size = dtype_size(desc->dtype);
  *bytes = (size_t)count * size;
  TRY(cuda_alloc(b->options->cuda, *bytes, out));
  *at = (char *)*out - low * (int64_t)size;
  if (!fill) return OK;
  void *host;
  TRY(memory_take(*bytes, &host));
  if (desc->constant && desc_count(desc) == count && desc_is_row_major(desc)) memcpy(host, desc->constant->data, *bytes);
  else fill_random(desc, host, count, seed);
  Status status = cuda_upload(b->options->cuda, *out, host, *bytes);
  memory_free(host);
  return status;
}

static Status bench_open(Bench *b) {
  const Node *node = b->site->node;
  b->inputs = arena_array(b->arena, void *, node->input_count);
  b->input_at = arena_array(b->arena, void *, node->input_count);
  b->input_bytes = arena_array(b->arena, size_t, node->input_count);
  b->outputs = arena_array(b->arena, void *, node->output_count);
  b->output_at = arena_array(b->arena, void *, node->output_count);
  b->output_bytes = arena_array(b->arena, size_t, node->output_count);
  for (int i = 0; i < node->input_count; i++)
    if (!b->site->inputs[i].absent)
      TRY(allocate(b, &b->site->inputs[i], true, (uint64_t)i + 1, &b->inputs[i], &b->input_bytes[i], &b->input_at[i]));
  for (int i = 0; i < node->output_count; i++)
    TRY(allocate(b, &b->site->outputs[i], false, 0, &b->outputs[i], &b->output_bytes[i], &b->output_at[i]));
  return OK;
}

static void bench_close(Bench *b) {
  for (int i = 0; b->inputs && i < b->site->node->input_count; i++)
    cuda_free(b->options->cuda, b->inputs[i], b->input_bytes[i]);
  for (int i = 0; b->outputs && i < b->site->node->output_count; i++)
    cuda_free(b->options->cuda, b->outputs[i], b->output_bytes[i]);
}

typedef struct Trial {
  LaunchSet *set;
  CudaContext *cuda;
} Trial;

static Status run_trial(void *state, CudaStream stream) {
  Trial *trial = state;
  return launch_set_run(trial->set, trial->cuda, stream);
}

static Status pack_constants(CudaContext *cuda, LaunchSet *set, Arena *scratch) {
  for (uint32_t i = 0; i < set->emission->packed_count; i++) {
    const Recipe *recipe = set->emission->packed[i];
    void *host;
    TRY(arena_try_alloc(scratch, recipe->bytes, 64, &host));
    TRY(recipe_run(recipe, host));
    TRY(cuda_alloc(cuda, recipe->bytes, &set->packed[i]));
    TRY(cuda_upload(cuda, set->packed[i], host, recipe->bytes));
  }
  return OK;
}

static Status time_loaded(Bench *b, LaunchSet *set, void **workspace, Arena *scratch, double *seconds, Tensor *sample) {
  CudaContext *cuda = b->options->cuda;
  memcpy(set->inputs, b->input_at, (size_t)b->site->node->input_count * sizeof(void *));
  memcpy(set->outputs, b->output_at, (size_t)b->site->node->output_count * sizeof(void *));
  if (set->emission->workspace_bytes) TRY(cuda_alloc(cuda, set->emission->workspace_bytes, workspace));
  set->workspace = *workspace;
  TRY(pack_constants(cuda, set, scratch));
  launch_set_patch(set);
  TRY(cuda_fill(cuda, b->outputs[0], 0xff, b->output_bytes[0], cuda->stream));
  Trial trial = {set, cuda};
  CudaTiming timing = {.warmups = 2, .repeats = 7, .budget = 0.25};
  TRY(cuda_time(cuda, &timing, run_trial, &trial, seconds));
  const TensorDesc *out = &b->site->outputs[0];
  int64_t elements = MIN((int64_t)(b->output_bytes[0] / dtype_size(out->dtype)), MAX_COMPARED);
  TRY(tensor_new(b->arena, out->dtype, 1, &elements, sample));
  return cuda_download(cuda, sample->data, b->outputs[0], tensor_bytes(sample));
}

// Times one candidate and reads the beginning of its output.
static Status measure_compiled(Bench *b, LaunchSet *set, const Cubin *cubins, double *seconds, Tensor *sample) {
  CudaContext *cuda = b->options->cuda;
  const Emission *emission = set->emission;
  int taken;
  TRY(launch_set_load(set, cuda, cubins, &taken));
  Arena *scratch = arena_scratch();
  void *workspace = NULL;
  Status status = RECOVER_GUARD(time_loaded(b, set, &workspace, scratch, seconds, sample));
  arena_free(scratch);
  for (uint32_t i = 0; i < emission->packed_count; i++)
    if (set->packed[i]) cuda_free(cuda, set->packed[i], emission->packed[i]->bytes);
  cuda_free(cuda, workspace, emission->workspace_bytes);
  return status;
}

static Status measure(Bench *b, Selection *selection, double *seconds, Tensor *sample) {
  CudaContext *cuda = b->options->cuda;
  const Emission *emission = selection->emission;
  LaunchSet *set = launch_set_new(emission, b->site->node, b->arena);
  KernelSource *sources = arena_array(b->arena, KernelSource, emission->launch_count);
  Cubin *cubins = arena_array(b->arena, Cubin, emission->launch_count);
  int count = launch_set_sources(set, selection->candidate.name, b->site->device->sm, sources);
  TRY(compiler_compile_all(b->options->compiler, sources, count, 1, cubins));
  Status status = measure_compiled(b, set, cubins, seconds, sample);
  cuda_settle(cuda);
  launch_set_unload(set, cuda);
  compiler_release(b->options->compiler, cubins, count);
  return status;
}

static bool agrees(const Site *site, const Tensor *a, const Tensor *b) {
  if (!dtype_is_float(a->dtype)) return tensor_equal(a, b);
  bool wide = site->inputs[0].dtype == DTYPE_F32 && !site->tf32;
  Comparison comparison = tensor_compare(a, b, 0, 0);
  return comparison.norm_error < (wide ? 1e-4 : 2e-2);
}

static Status compile_ahead(const Bench *b, Selection *selections, int count, const SelectOptions *options) {
  int sources_count = 0;
  KernelSource *sources = arena_array(b->arena, KernelSource, (size_t)count * 8);
  for (int i = 0; i < count; i++) {
    Status status = selection_emit(b->site, options, b->arena, &selections[i]);
    if (status) {
      log_add(b->options->log, LOG_VERBOSE, "%s %s: %s", selections[i].tactic->name, selections[i].candidate.name,
              status_message(status));
      status_free(status);
      selections[i].emission = NULL;
      continue;
    }
    const Emission *emission = selections[i].emission;
    for (uint32_t l = 0; l < emission->launch_count && sources_count < count * 8; l++)
      if (emission->launches[l].kind == LAUNCH_KERNEL)
        sources[sources_count++] =
            (KernelSource){selections[i].candidate.name, emission->launches[l].source, b->site->device->sm};
  }
  return compiler_compile_all(b->options->compiler, sources, sources_count, 0, NULL);
}

static Status tune_with(Bench *b, const char *key, TuningDatabase *database, TuneReport *report) {
  const Site *site = b->site;
  const TuneOptions *options = b->options;
  SelectOptions select = {.cuda = options->cuda, .workspace_limit = options->workspace_limit, .log = options->log};
  Selection selections[MAX_SELECTIONS];
  int count = select_all(site, &select, selections, MAX_SELECTIONS), best = -1;
  double best_seconds = INFINITY;
  Tensor first = {0};
  if (count < 2) return OK;  // nothing to choose
  TRY(bench_open(b));
  TRY(compile_ahead(b, selections, count, &select));
  for (int i = 0; i < count; i++) {
    if (!selections[i].emission || selections[i].emission->workspace_bytes > options->workspace_limit) continue;
    double seconds;
    Tensor sample;
    Status failed = measure(b, &selections[i], &seconds, &sample);
    if (failed) {
      log_add(options->log, LOG_WARNING, "tuning %s: %s %s failed: %s", site->node->outputs[0]->name,
              selections[i].tactic->name, selections[i].candidate.name, status_message(failed));
      status_free(failed);
      TRY(budget_poll());  // a limit of the call fails no candidate
      TRY(cuda_check_alive(options->cuda));
      continue;
    }
    report->candidates++;
    log_add(options->log, LOG_VERBOSE, "tuning %s: %s %s: %.2f us", site->node->outputs[0]->name, selections[i].tactic->name,
            selections[i].candidate.name, seconds * 1e6);
    if (!first.data) first = sample;
    else if (!agrees(site, &sample, &first)) {
      report->rejected++;
      log_add(options->log, LOG_WARNING, "tuning %s: %s %s disagrees with %s and is rejected", site->node->outputs[0]->name,
              selections[i].tactic->name, selections[i].candidate.name, selections[0].tactic->name);
      continue;
    }
    if (seconds < best_seconds) best = i, best_seconds = seconds;
  }
  if (best >= 0) {
    tuning_add(database, &(TuningEntry){site->device->sm, key, selections[best].tactic->name, selections[best].candidate.name,
                                        best_seconds * 1e6});
    report->measured++;
  }
  return OK;
}

static Status tune_site(const Site *site, const char *key, const TuneOptions *options, TuningDatabase *database,
                        TuneReport *report) {
  Bench b = {.site = site, .options = options, .arena = arena_scratch()};
  Status status = RECOVER_GUARD(tune_with(&b, key, database, report));
  bench_close(&b);
  arena_free(b.arena);
  return status;
}

// How much work a site is, roughly: what is tuned first is what matters most.
static double weight(const Site *site) {
  double bytes = 0, work = 1;
  for (int i = 0; i < site->node->input_count; i++)
    if (!site->inputs[i].absent) bytes += (double)desc_bytes(&site->inputs[i]);
  for (int i = 0; i < site->node->output_count; i++) bytes += (double)desc_bytes(&site->outputs[i]);
  if (site->node->input_count > 1 && !site->inputs[1].absent && site->node->op->takes_epilogue) {
    const TensorDesc *w = &site->inputs[1];
    work = (double)desc_count(&site->outputs[0]) * (double)desc_count(w) /
           (double)MAX(w->rank > 2 && site->inputs[0].rank == w->rank ? w->dims[0] : w->dims[w->rank - 1], 1);
  }
  return bytes / 4e12 + work / 4e14;
}

typedef struct Entry {
  const Site *site;
  const char *key;
  double weight;
} Entry;

static int heaviest_first(const void *a, const void *b) {
  double x = ((const Entry *)a)->weight, y = ((const Entry *)b)->weight;
  return x < y ? 1 : x > y ? -1 : 0;
}

Status tune_sites(const Site *const *sites, int count, const TuneOptions *options, TuningDatabase *database,
                  TuneReport *report) {
  double start = time_now();
  Arena *arena = arena_scratch();
  Entry *entries = arena_array(arena, Entry, count);
  StringMap *seen = string_map_new(arena);
  int total = 0;
  Status status = OK;
  *report = (TuneReport){0};
  for (int i = 0; i < count; i++) {
    const char *key = site_key(sites[i], arena);
    if (string_map_get(seen, key)) continue;
    string_map_set(seen, key, (void *)sites[i]);
    report->sites++;
    if (tuning_get(database, sites[i]->device->sm, key)) continue;
    entries[total++] = (Entry){sites[i], key, weight(sites[i])};
  }
  if (total) qsort(entries, (size_t)total, sizeof *entries, heaviest_first);
  for (int i = 0; i < total; i++) {
    double spent = time_now() - start;
    if (i && spent > options->seconds) {
      log_add(options->log, LOG_INFO, "tuning stopped after %.1f s with %d of %d sites measured", spent, i, total);
      break;
    }
    double left = i ? MIN(spent / i * (total - i), options->seconds - spent) : options->seconds;
    budget_stage("tuning", (double)i / total, left);
    TRY_GOTO(budget_poll());
    TRY_GOTO(tune_site(entries[i].site, entries[i].key, options, database, report));
  }
done:
  report->seconds = time_now() - start;
  arena_free(arena);
  return status;
}
