// The CUDA executor. Compiling a graph: plan it, let each site's implementation emit its launches, compile all kernels at once, put the
// weights on the GPU. Running: fill in the addresses of this call; from the second on the whole inference is one CUDA graph, whose kernels
// are given other addresses where a call brings them (recording.h).
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cpu_level.h"
#include "base/recover.h"
#include "cuda/compiler.h"
#include "cuda/context.h"
#include "cuda/range.h"
#include "ir/op.h"
#include "kernels/device_sources.h"
#include "kernels/packings.h"
#include "kernels/tile/best_ways.h"
#include "run/cuda_device.h"
#include "run/device.h"
#include "run/recording.h"
#include "run/steps.h"

enum { DEFAULT_WORKSPACE = 256 << 20 };

typedef struct CudaRunner {
  Device device;
  Log log;
  CudaContext *context;
  Compiler *compiler;
  WeightStore *weights, *own_weights;
  const TuningDatabase *tuning;
  BestWays *best;
  size_t workspace_limit;
  int threads, streams;
  bool no_graph, libraries_opened;
  const Implementation *forced;
  int forced_way;
  bool *forced_taken;
  bool other_rung;
  void *block;  // the session's arena: as large as the first plan wants
  size_t block_bytes;
  CudaRange range;      // where it is once another plan has wanted more
  uint64_t generation;  // of the block: graphs captured with an older one are void
  DeviceKernel *used;   // for an engine to store
  uint32_t used_count, used_capacity;
  IntMap *recorded;         // which they are; NULL: nobody asked
  Arena *arena;             // the device's own
  IndexReport *report;      // pinned: kernels write to it
  uint64_t steps_numbered;  // over all executables, so that a report names one step
  Executable *executables;  // those that may be reported
} CudaRunner;

// The addresses of a run, inputs then outputs, and the graph that runs there. There are two, since a loop's states take turns between two places.
typedef struct Turn {
  void **places;
  bool used;
  Recording recording;
} Turn;

struct Executable {
  Executable *next;
  uint64_t first_number;  // of its steps, for reports
  Plan *plan;
  Arena *arena;
  Steps steps;
  Cubin *cubins;  // held, so that a plan of other shapes finds them
  int cubin_count;
  bool loading;          // kernels and what libraries made are taken, or some of them
  Hash128 *weight_keys;  // to give back
  uint32_t weight_count;
  Turn turns[2];
  int turn;  // of the last run
  uint64_t generation;
  bool record_failed;
};

static CudaRunner *of(Device *device) { return (CudaRunner *)device; }

// ---- indices that are outside ------------------------------------------------------------------------------------------------

static const Node *reported_node(const CudaRunner *r, uint64_t number) {
  for (const Executable *e = r->executables; e; e = e->next)
    if (number >= e->first_number && number - e->first_number < e->plan->step_count)
      return e->plan->steps[number - e->first_number].node;
  return NULL;
}

// What a kernel that has run found, once. The host only reads its own memory.
static Status take_report(CudaRunner *r) {
  volatile IndexReport *report = r->report;
  if (!report->step) return OK;
  const Node *node = reported_node(r, report->step);
  Status status = status_make(ERROR_INVALID_ARGUMENT, "index %lld is outside an axis of size %lld", (long long)report->index,
                              (long long)report->size);
  report->step = 0;
  if (!node) return status_context(status, "in an earlier run");  // its plan has made room for others
  return step_context(status, node);
}

static void number_steps(CudaRunner *r, Executable *e) {
  e->first_number = r->steps_numbered + 1;
  for (uint32_t s = 0; s < e->plan->step_count; s++) {
    e->steps.sets[s]->report = r->report;
    e->steps.sets[s]->step = e->first_number + s;
  }
  r->steps_numbered += e->plan->step_count;
  e->next = r->executables;
  r->executables = e;
}

static void forget_steps(CudaRunner *r, const Executable *e) {
  for (Executable **at = &r->executables; *at; at = &(*at)->next)
    if (*at == e) {
      *at = e->next;
      return;
    }
}

// ---- memory ------------------------------------------------------------------------------------------------------------------

enum { LEAST_BYTES = 16 };  // a tensor without elements has an address too

static Status device_allocate(Device *device, size_t bytes, void **out) {
  CudaRunner *r = of(device);
  TRY(cuda_enter(r->context));
  Status status = cuda_alloc(r->context, MAX(bytes, (size_t)LEAST_BYTES), out);
  cuda_leave(r->context);
  return status;
}

static void device_release(Device *device, void *memory, size_t bytes) {
  CudaRunner *r = of(device);
  bool entered = cuda_enter_to_release(r->context);
  // Work that still uses the memory is ahead on the stream; cuMemFree waits for it.
  cuda_free(r->context, memory, MAX(bytes, (size_t)LEAST_BYTES));
  if (entered) cuda_leave(r->context);
}

static Status device_upload(Device *device, void *to, const void *from, size_t bytes) {
  CudaRunner *r = of(device);
  TRY(cuda_enter(r->context));
  Status status = cuda_upload(r->context, to, from, bytes);
  cuda_leave(r->context);
  return status;
}

static Status device_download(Device *device, void *to, const void *from, size_t bytes) {
  CudaRunner *r = of(device);
  TRY(cuda_enter(r->context));
  // Nothing to copy is to wait for all the same: the run may have something to say.
  Status status = bytes ? cuda_download(r->context, to, from, bytes) : cuda_synchronize(r->context, r->context->stream);
  cuda_leave(r->context);
  return status ? status : take_report(r);
}

static Status device_copy(Device *device, void *to, const void *from, size_t bytes) {
  CudaRunner *r = of(device);
  TRY(cuda_enter(r->context));
  Status status = cuda_copy(r->context, to, from, bytes, r->context->stream);
  cuda_leave(r->context);
  return status;
}

static Status device_synchronize(Device *device) {
  CudaRunner *r = of(device);
  TRY(cuda_enter(r->context));
  Status status = cuda_synchronize(r->context, r->context->stream);
  cuda_leave(r->context);
  return status ? status : take_report(r);
}

typedef struct TimedCall {
  Status (*run)(void *state);
  void *state;
} TimedCall;

static Status run_call(void *state, CudaStream stream) {
  const TimedCall *call = state;
  return RECOVER_GUARD(call->run(call->state));
}

static Status device_time(Device *device, int count, Status (*run)(void *state), void *state, double *seconds) {
  CudaRunner *r = of(device);
  TimedCall call = {run, state};
  TRY(cuda_enter(r->context));
  Status status = cuda_time(r->context, &(CudaTiming){.repeats = 1, .batch = count}, run_call, &call, seconds);
  cuda_leave(r->context);
  return status ? status : take_report(r);
}

static Status device_order(Device *device, void *stream, bool behind) {
  CudaContext *context = of(device)->context;
  TRY(cuda_enter(context));
  Status status = behind ? cuda_order(context, stream, context->stream) : cuda_order(context, context->stream, stream);
  cuda_leave(context);
  return status;
}

// ---- compiling ---------------------------------------------------------------------------------------------------------------

// cuBLASLt and cuDNN take a tenth of a second to open: only plans that want them pay it.
static Status open_libraries(void *context) {
  CudaRunner *r = context;
  if (r->libraries_opened) return OK;
  r->libraries_opened = true;
  TRY(cuda_open_libraries(r->context));
  r->device.info.cublaslt = r->context->info.cublaslt;
  r->device.info.cudnn = r->context->info.cudnn;
  return OK;
}

static bool device_runs(Device *device, const Node *node) { return select_supports(node, &device->info, device->tf32); }

static Status fill_constant(void *context, void *out) {
  const PlanBuffer *buffer = context;
  tensor_reorder(buffer->constant, buffer->order, out);
  return OK;
}

static Status fill_packed(void *context, void *out) { return recipe_run(context, out); }

static Hash128 constant_key(const PlanBuffer *buffer) {
  const Tensor *tensor = buffer->constant;
  Hash128 content = buffer->content ? tensor_named_hash(tensor, *buffer->content) : tensor_content_hash(tensor);
  return hash128_combine(content, hash128_bytes(buffer->order, (size_t)tensor->rank * sizeof *buffer->order));
}

static Status device_make(Device *device, WeightRequest *const *requests, int count) {
  CudaRunner *r = of(device);
  Arena *scratch = arena_scratch();
  CudaMade *parts = arena_array(scratch, CudaMade, (size_t)count);
  size_t bytes = 0;
  for (int i = 0; i < count; i++) {
    const WeightRequest *request = requests[i];
    parts[i] = (CudaMade){request->memory, request->bytes, request->fill, request->context};
    bytes += request->bytes;
  }
  ThreadPool *pool = thread_pool_for_bytes(r->threads, bytes);
  double seconds;
  Status status = cuda_upload_made(r->context, pool, parts, count, &seconds);
  thread_pool_free(pool);
  arena_free(scratch);
  device->opening.seconds[OPENING_CONSTANTS] += seconds;
  return status;
}

typedef struct Wanted {
  WeightRequest *requests;
  void ***places;  // where an executable notes the memory
  uint32_t count, capacity;
  uint32_t place_count, place_capacity;
} Wanted;

static void want(CudaRunner *r, Wanted *wanted, Arena *scratch, const WeightRequest *request, void **place) {
  WeightRequest *kept = ARENA_PUSH(scratch, wanted->requests, wanted->count, wanted->capacity);
  *kept = *request;
  *ARENA_PUSH(scratch, wanted->places, wanted->place_count, wanted->place_capacity) = place;
  // Whoever lets go of a weight last gives it back: only sessions with the same allocator share it.
  const Allocator *allocator = r->context->allocator;
  if (allocator) kept->key = hash128_combine(kept->key, hash128_bytes(&allocator, sizeof allocator));
}

static void want_constants(CudaRunner *r, Executable *e, Wanted *wanted, Arena *scratch) {
  for (uint32_t i = 0; i < e->plan->buffer_count; i++) {
    PlanBuffer *buffer = &e->plan->buffers[i];
    if (buffer->kind != PLAN_CONSTANT || buffer->first_step < 0) continue;
    want(r, wanted, scratch,
         &(WeightRequest){.key = constant_key(buffer), .bytes = buffer->bytes, .fill = fill_constant, .context = buffer},
         &e->steps.constants[i]);
  }
}

static void want_packed(CudaRunner *r, Executable *e, Wanted *wanted, Arena *scratch) {
  for (uint32_t s = 0; s < e->plan->step_count; s++) {
    LaunchSet *set = e->steps.sets[s];
    for (uint32_t k = 0; k < set->emission->packed_count; k++) {
      const Recipe *recipe = set->emission->packed[k];
      want(r, wanted, scratch,
           &(WeightRequest){.key = recipe->key, .bytes = recipe->bytes, .fill = fill_packed, .context = (void *)recipe},
           &set->packed[k]);
    }
  }
}

static Status take_weights(CudaRunner *r, Executable *e, Arena *scratch) {
  Wanted wanted = {0};
  want_constants(r, e, &wanted, scratch);
  want_packed(r, e, &wanted, scratch);
  e->weight_keys = arena_array(e->arena, Hash128, wanted.count);
  TRY(weight_store_take(r->weights, &r->device, wanted.requests, (int)wanted.count));
  for (uint32_t i = 0; i < wanted.count; i++) {
    e->weight_keys[i] = wanted.requests[i].key;
    *wanted.places[i] = wanted.requests[i].memory;
  }
  e->weight_count = wanted.count;
  return OK;
}

static double weight_seconds(const CudaRunner *r) {
  return r->device.opening.seconds[OPENING_CONSTANTS] + r->device.opening.seconds[OPENING_UPLOAD];
}

static Status place_weights(CudaRunner *r, Executable *e) {
  double start = time_now(), made = r->device.opening.seconds[OPENING_CONSTANTS];
  Arena *scratch = arena_scratch();
  Status status = take_weights(r, e, scratch);
  arena_free(scratch);
  made = r->device.opening.seconds[OPENING_CONSTANTS] - made;
  r->device.opening.seconds[OPENING_UPLOAD] += time_now() - start - made;
  return status;
}

static void record_kernels(CudaRunner *r, const Cubin *cubins, int count) {
  for (int i = 0; i < count; i++) {
    const Cubin *cubin = &cubins[i];
    if (int_map_get(r->recorded, cubin->key.low)) continue;
    int_map_set(r->recorded, cubin->key.low, r);
    *ARENA_PUSH(r->arena, r->used, r->used_count, r->used_capacity) =
        (DeviceKernel){cubin->key, {arena_copy(r->arena, cubin->data, cubin->size), cubin->size}};
  }
}

// Finds their cubins, or makes them.
static Status compile_kernels(CudaRunner *r, Executable *e) {
  uint32_t count = 0;
  for (uint32_t s = 0; s < e->plan->step_count; s++) count += e->steps.sets[s]->emission->launch_count;
  KernelSource *sources = arena_array(e->arena, KernelSource, count);
  e->cubins = arena_array(e->arena, Cubin, count);
  int total = 0;
  for (uint32_t s = 0; s < e->plan->step_count; s++)
    total += launch_set_sources(e->steps.sets[s], e->plan->steps[s].node->outputs[0]->name, r->device.info.sm, sources + total);
  TRY(compiler_compile_all(r->compiler, sources, total, r->threads, e->cubins));
  e->cubin_count = total;
  if (r->recorded) record_kernels(r, e->cubins, total);
  return OK;
}

static Status load_kernels(Executable *e) {
  for (uint32_t s = 0, at = 0; s < e->plan->step_count; s++) {
    int taken;
    TRY(launch_set_load(e->steps.sets[s], &e->steps.machine, e->cubins + at, &taken));
    at += (uint32_t)taken;
  }
  return OK;
}

static bool uses_libraries(const Plan *plan) {
  for (uint32_t s = 0; s < plan->step_count; s++)
    if (plan->steps[s].selection.implementation->library) return true;
  return false;
}

// The driver takes a while for each kernel, and the host for constants: neither waits for the other.
typedef struct Loading {
  CudaRunner *r;
  Executable *e;
  Status statuses[2];
} Loading;

static Status load_half(const Loading *loading, int64_t half) {
  TRY(cuda_enter(loading->r->context));
  Status status = RECOVER_GUARD(half ? place_weights(loading->r, loading->e) : load_kernels(loading->e));
  cuda_leave(loading->r->context);
  return status;
}

static void load_halves(void *context, int64_t begin, int64_t end) {
  Loading *loading = context;
  for (int64_t half = begin; half < end; half++) loading->statuses[half] = load_half(loading, half);
}

static Status load_beside(ThreadPool *pool, Loading *loading) {
  parallel_for(pool, 2, 1, load_halves, loading);
  return OK;
}

static Status load_both(CudaRunner *r, Executable *e) {
  enum { WORTH = 1 << 20 };  // bytes of constants that take as long as a thread to start
  bool first = !e->next;     // later plans find kernels and constants loaded, mostly
  bool beside = first && e->plan->constant_bytes >= WORTH && !uses_libraries(e->plan) && r->threads != 1;
  if (!beside) {
    TRY(load_kernels(e));
    return place_weights(r, e);
  }
  Loading loading = {.r = r, .e = e};
  ThreadPool *pool = thread_pool_new(2);
  Status status = RECOVER_GUARD(load_beside(pool, &loading));
  thread_pool_free(pool);
  for (int i = 0; i < 2; i++) {
    if (!status) status = loading.statuses[i];
    else status_free(loading.statuses[i]);
  }
  return status;
}

static Status load_entered(CudaRunner *r, Plan *plan, Executable *e) {
  double start = time_now();
  if (uses_libraries(plan)) TRY(open_libraries(r));
  e->plan = plan;
  steps_lay_out(&e->steps, plan, (Machine){.cuda = r->context}, e->arena);
  number_steps(r, e);
  TRY(compile_kernels(r, e));
  e->loading = true;
  double weights = weight_seconds(r);
  TRY(load_both(r, e));
  weights = weight_seconds(r) - weights;
  double kernels = time_now() - start - weights;
  r->device.opening.seconds[OPENING_KERNELS] += kernels;
  for (Turn *turn = e->turns; turn < e->turns + 2; turn++) {
    recording_lay_out(&turn->recording, &e->steps, r->context, e->arena);
    turn->places = arena_array(e->arena, void *, plan->graph->input_count + plan->graph->output_count);
  }
  log_add(&r->log, LOG_VERBOSE, "kernels in %.1f ms, weights in %.1f ms", kernels * 1e3, weights * 1e3);
  return OK;
}

static SelectOptions select_options(CudaRunner *r) {
  return (SelectOptions){.machine = {.cuda = r->context},
                         .tuning = r->tuning,
                         .compiler = r->compiler,
                         .best = r->best,
                         .workspace_limit = r->workspace_limit,
                         .log = &r->log,
                         .open_libraries = open_libraries,
                         .context = r,
                         .forced = r->forced,
                         .forced_way = r->forced_way,
                         .forced_taken = r->forced_taken,
                         .other_rung = r->other_rung};
}

static Status device_ask(Device *device, Arena *arena, Status (*see)(void *context, const SelectOptions *options),
                         void *context) {
  CudaRunner *r = of(device);
  TRY(open_libraries(r));
  TRY(cuda_enter(r->context));
  SelectOptions select = select_options(r);
  Status status = RECOVER_GUARD(see(context, &select));
  cuda_leave(r->context);
  return status;
}

static Status compile_entered(CudaRunner *r, Graph *graph, Executable *e) {
  SelectOptions select = select_options(r);
  double start = time_now();
  Plan *plan;
  TRY(plan_make(graph, &(PlanTarget){&r->device.info, r->device.tf32, &select, r->streams}, e->arena, &plan));
  if (r->device.check_plans) TRY(plan_reread(plan, r->compiler, e->arena, &plan));
  double seconds = time_now() - start;
  r->device.opening.seconds[OPENING_PLAN] += seconds;
  log_add(&r->log, LOG_VERBOSE, "planned in %.1f ms", seconds * 1e3);
  return load_entered(r, plan, e);
}

static void device_discard(Device *device, Executable *e);

// Of a graph, or of a plan.
static Status make_executable(Device *device, Graph *graph, Plan *plan, Arena *arena, Executable **out) {
  CudaRunner *r = of(device);
  Executable *e = arena_new_of(arena, Executable);
  e->arena = arena;
  TRY(cuda_enter(r->context));
  Status status = RECOVER_GUARD(plan ? load_entered(r, plan, e) : compile_entered(r, graph, e));
  cuda_leave(r->context);
  if (status) device_discard(device, e);
  else *out = e;
  return status;
}

static Status device_compile(Device *device, Graph *graph, Arena *arena, Executable **out) {
  return make_executable(device, graph, NULL, arena, out);
}

static Status device_load(Device *device, Plan *plan, Arena *arena, Executable **out) {
  TRY(steps_check_workspace(plan, of(device)->workspace_limit));
  return make_executable(device, NULL, plan, arena, out);
}

// The driver does not say what a graph takes: about so much.
static int64_t graph_bytes(const Executable *e) {
  enum { NODE_BYTES = 4096 };
  return (int64_t)e->plan->step_count * NODE_BYTES;
}

static void drop_graph(CudaRunner *r, Executable *e, Turn *turn) {
  if (!turn->recording.exec) return;
  recording_drop(&turn->recording, r->context);
  arena_charge(e->arena, -graph_bytes(e));
}

static void drop_turns(CudaRunner *r, Executable *e) {
  for (Turn *turn = e->turns; turn < e->turns + 2; turn++) {
    drop_graph(r, e, turn);
    turn->used = false;
  }
}

static void device_discard(Device *device, Executable *e) {
  CudaRunner *r = of(device);
  forget_steps(r, e);
  if (e->loading) {
    bool entered = cuda_enter_to_release(r->context);
    cuda_settle(r->context);
    drop_turns(r, e);
    for (uint32_t s = 0; s < e->plan->step_count; s++) launch_set_unload(e->steps.sets[s], &e->steps.machine);
    if (entered) cuda_leave(r->context);
  }
  compiler_release(r->compiler, e->cubins, e->cubin_count);
  e->cubin_count = 0;
  for (uint32_t i = 0; i < e->weight_count; i++) weight_store_drop(r->weights, device, e->weight_keys[i]);
  e->weight_count = 0;
}

// ---- running -----------------------------------------------------------------------------------------------------------------

static void release_block(CudaRunner *r) {
  if (r->range.addresses) cuda_range_close(r->context, &r->range);
  else cuda_free(r->context, r->block, r->block_bytes);
  r->block = NULL;
  r->block_bytes = 0;
}

static Status grow_block(CudaRunner *r, size_t bytes) {
  bool moved;
  if (!r->range.addresses) release_block(r);
  Status status = cuda_range_grow(r->context, &r->range, bytes, &moved);
  r->block = (void *)(uintptr_t)r->range.base;
  r->block_bytes = r->range.bytes;
  r->generation += moved;
  return status;
}

// Shapes that vary find their graphs valid after one has wanted more memory than those before it; where they never do, there is no more than needed.
static Status ensure_block(CudaRunner *r, size_t bytes) {
  bool grows = false;
  if (bytes <= r->block_bytes) return OK;
  if (r->block) TRY(cuda_range_offered(r->context, &grows));
  if (grows) return grow_block(r, bytes);
  release_block(r);
  TRY(cuda_alloc(r->context, bytes, &r->block));
  r->block_bytes = bytes;
  r->generation++;
  return OK;
}

// Records the launches into a graph. A failure here is not an error of the run: it goes on launch by launch, and says so once.
static void record(CudaRunner *r, Executable *e, Turn *turn) {
  double start = time_now();
  Status status = recording_make(&turn->recording, &e->steps, r->streams, r->context);
  r->device.opening.seconds[OPENING_RECORD] += time_now() - start;
  e->record_failed = status != OK;
  if (status) log_add(&r->log, LOG_WARNING, "running launch by launch: recording a CUDA graph: %s", status_message(status));
  else arena_charge(e->arena, graph_bytes(e));
  status_free(status);
}

// The same as above for one that cannot be changed.
static void patch(CudaRunner *r, Executable *e, Turn *turn) {
  Status status = recording_patch(&turn->recording, &e->steps, r->context);
  if (!status) return;
  drop_graph(r, e, turn);
  e->record_failed = true;
  log_add(&r->log, LOG_WARNING, "running launch by launch: changing a CUDA graph: %s", status_message(status));
  status_free(status);
}

static void bind(CudaRunner *r, Executable *e, void *const *inputs, void *const *outputs) {
  bool first = !e->steps.bound;
  double start = first ? time_now() : 0;
  steps_bind(&e->steps, r->block, inputs, outputs);
  if (first) r->device.opening.seconds[OPENING_BIND] += time_now() - start;
}

static bool is_of(const Executable *e, const Turn *turn, void *const *inputs, void *const *outputs) {
  const Graph *graph = e->plan->graph;
  bool same = turn->used;
  for (int i = 0; i < graph->input_count && same; i++) same = turn->places[i] == inputs[i];
  for (int i = 0; i < graph->output_count && same; i++) same = turn->places[graph->input_count + i] == outputs[i];
  return same;
}

// The turn of these addresses. Where they are others than in the last two runs, that of the run before the last, with the graph that there is, if it can follow.
static Turn *take_turn(CudaRunner *r, Executable *e, void *const *inputs, void *const *outputs, bool *same) {
  const Graph *graph = e->plan->graph;
  Turn *last = &e->turns[e->turn], *turn = last;
  *same = is_of(e, turn, inputs, outputs);
  if (*same) return turn;
  e->turn ^= 1;
  turn = &e->turns[e->turn];
  *same = is_of(e, turn, inputs, outputs);
  if (*same) return turn;
  if (!turn->recording.follows) drop_graph(r, e, turn);
  if (!turn->recording.exec && last->recording.follows) {
    Recording recording = turn->recording;
    turn->recording = last->recording;
    last->recording = recording;
  }
  for (int i = 0; i < graph->input_count; i++) turn->places[i] = inputs[i];
  for (int i = 0; i < graph->output_count; i++) turn->places[graph->input_count + i] = outputs[i];
  turn->used = true;
  return turn;
}

// A graph is recorded in the second run: of what runs once none is made. Where it cannot follow other addresses it is made for those that come again.
static Status run_entered(CudaRunner *r, Executable *e, void *const *inputs, void *const *outputs) {
  TRY(cuda_check_alive(r->context));
  TRY(take_report(r));
  TRY(ensure_block(r, e->plan->arena_bytes));
  if (e->generation != r->generation) drop_turns(r, e);
  e->generation = r->generation;
  bool again = e->turns[e->turn].used, same;
  Turn *turn = take_turn(r, e, inputs, outputs, &same);
  if (!same || !turn->recording.exec) bind(r, e, inputs, outputs);
  if (!same && turn->recording.exec) patch(r, e, turn);
  bool worth = same || (again && turn->recording.follows);
  if (worth && !turn->recording.exec && !r->no_graph && !e->record_failed && e->plan->step_count) record(r, e, turn);
  if (!turn->recording.exec) return steps_run(&e->steps, r->context->stream);
  CUDA_TRY(r->context, cuGraphLaunch(turn->recording.exec, r->context->stream));
  return OK;
}

static Status device_run(Device *device, Executable *executable, void *const *inputs, void *const *outputs) {
  CudaRunner *r = of(device);
  TRY(cuda_enter(r->context));
  Status status = run_entered(r, executable, inputs, outputs);
  cuda_leave(r->context);
  return status;
}

// ---- profiling ---------------------------------------------------------------------------------------------------------------

typedef struct Timed {
  const Steps *steps;
  uint32_t step;
} Timed;

static Status run_timed(void *state, CudaStream stream) {
  Timed *timed = state;
  return steps_run_one(timed->steps, timed->step, stream);
}

static Status profile_entered(CudaRunner *r, Executable *e, void *const *inputs, void *const *outputs, StepReport *out,
                              int limit, int *count) {
  TRY(ensure_block(r, e->plan->arena_bytes));
  drop_turns(r, e);
  steps_bind(&e->steps, r->block, inputs, outputs);
  *count = (int)e->plan->step_count;
  CudaTiming timing = {.warmups = 2, .repeats = 11};
  for (int i = 0; i < *count && i < limit; i++) {
    Timed timed = {&e->steps, (uint32_t)i};
    double seconds;
    TRY(cuda_time(r->context, &timing, run_timed, &timed, &seconds));
    out[i] = step_report(&e->plan->steps[i], seconds * 1e3, e->arena);
  }
  return OK;
}

static Status device_profile(Device *device, Executable *executable, void *const *inputs, void *const *outputs, StepReport *out,
                             int limit, int *count) {
  CudaRunner *r = of(device);
  TRY(cuda_enter(r->context));
  Status status = RECOVER_GUARD(profile_entered(r, executable, inputs, outputs, out, limit, count));
  cuda_leave(r->context);
  return status;
}

static const Plan *device_plan(const Executable *executable) { return executable->plan; }

static Status device_preload(Device *device, Hash128 hash, Bytes cubin) {
  return compiler_preload(of(device)->compiler, hash, cubin.data, cubin.size);
}

static size_t device_shared_bytes(Device *device) {
  CudaRunner *r = of(device);
  return compiler_stats(r->compiler).held_bytes + cuda_module_bytes(r->context);
}

// Which kernels a plan uses is asked of the plan's executables: the compiler also saw those that tuning only tried.
Status cuda_device_kernels(Device *device, Arena *arena, DeviceKernel **out, int *count) {
  CudaRunner *r = of(device);
  *count = (int)r->used_count;
  *out = arena_array(arena, DeviceKernel, r->used_count);
  for (uint32_t i = 0; i < r->used_count; i++) {
    const DeviceKernel *kernel = &r->used[i];
    (*out)[i] = (DeviceKernel){kernel->hash, {arena_copy(arena, kernel->cubin.data, kernel->cubin.size), kernel->cubin.size}};
  }
  return OK;
}

void cuda_device_record_kernels(Device *device) {
  CudaRunner *r = of(device);
  r->used_count = 0;
  r->recorded = int_map_new(r->arena);
}

void cuda_device_force(Device *device, const Implementation *implementation, int way, bool *taken) {
  CudaRunner *r = of(device);
  r->forced = implementation;
  r->forced_way = way;
  r->forced_taken = taken;
}

void cuda_device_take_other_rung(Device *device, bool other) { of(device)->other_rung = other; }

void cuda_device_use_tuning(Device *device, const TuningDatabase *database) { of(device)->tuning = database; }

Status cuda_device_tune(Device *device, const PlanStep *steps, int count, TuneOptions *options, TuningDatabase *database,
                        TuneReport *report) {
  CudaRunner *r = of(device);
  options->cuda = r->context;
  options->compiler = r->compiler;
  options->workspace_limit = r->workspace_limit;
  TRY(open_libraries(r));  // every way is to be tried
  TRY(cuda_enter(r->context));
  Status status = RECOVER_GUARD(tune_steps(steps, count, options, database, report));
  cuda_leave(r->context);
  return status;
}

// ---- life --------------------------------------------------------------------------------------------------------------------

static void device_free(Device *device) {
  CudaRunner *r = of(device);
  if (r->context) {
    if (r->block) {
      bool entered = cuda_enter_to_release(r->context);
      release_block(r);
      if (entered) cuda_leave(r->context);
    }
    weight_store_free(r->own_weights);
    if (r->report) {
      bool entered = cuda_enter_to_release(r->context);
      cuda_free_host(r->context, r->report);
      if (entered) cuda_leave(r->context);
    }
    cuda_context_close(r->context);
  }
  compiler_free(r->compiler);
  arena_free(r->arena);
  free(r);
}

static Status open_context(CudaRunner *r, const DeviceOptions *options) {
  r->arena = arena_new();
  CudaContextOptions context = {.device = options->index,
                                .context = options->cuda_context,
                                .stream = options->cuda_stream,
                                .use_stream = options->cuda_stream != NULL,
                                .libraries = false,
                                .allocator = options->device_allocator,
                                .log = r->log};
  TRY(cuda_context_open(&context, &r->context));
  TRY(cuda_enter(r->context));
  Status status = cuda_alloc_host(r->context, sizeof *r->report, (void **)&r->report);
  cuda_leave(r->context);
  TRY(status);
  *r->report = (IndexReport){0};
  r->device.info = r->context->info;
  r->device.place = (uintptr_t)r->context->handle;
  const char *folder = options->cache_directory ? path_join(r->arena, options->cache_directory, "kernels") : NULL;
  r->best = best_ways_new(r->arena);
  r->compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = folder, .log = r->log});
  r->device.compiler = r->compiler;
  r->weights = options->weights;
  if (!r->weights) {
    TRY(weight_store_new(&r->own_weights));
    r->weights = r->own_weights;
  }
  return OK;
}

Status cuda_device_new(const DeviceOptions *options, Device **out) {
  TRY(cpu_level_check());
  CudaRunner *r = calloc(1, sizeof *r);
  if (!r) return status_out_of_memory();
  if (options->log) r->log = *options->log;
  r->tuning = options->tuning;
  r->workspace_limit = options->workspace_limit ? options->workspace_limit : DEFAULT_WORKSPACE;
  r->threads = options->threads;
  r->no_graph = options->no_graph;
  r->streams = options->streams ? options->streams : PLAN_STREAMS;
  r->device = (Device){.log = &r->log,
                       .tf32 = options->tf32,
                       .check_plans = options->check_plans,
                       .allocate = device_allocate,
                       .release = device_release,
                       .upload = device_upload,
                       .download = device_download,
                       .copy = device_copy,
                       .synchronize = device_synchronize,
                       .time = device_time,
                       .order = device_order,
                       .make = device_make,
                       .runs = device_runs,
                       .compile = device_compile,
                       .load = device_load,
                       .run = device_run,
                       .profile = device_profile,
                       .plan = device_plan,
                       .ask = device_ask,
                       .shared_bytes = device_shared_bytes,
                       .discard = device_discard,
                       .preload = device_preload,
                       .free = device_free};
  Status status = RECOVER_GUARD(open_context(r, options));
  if (status) device_free(&r->device);
  else *out = &r->device;
  return status;
}
