// A graph that was specialised for the sizes of one call and bound to those of others is what specialising for them gives: the same text, and
// the same plan, after any number of calls between. Whoever does not fit is refused, and never bound wrongly.
#include <criterion/criterion.h>
#include <string.h>

#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/cases.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "kernels/device_sources.h"
#include "kernels/host_routine.h"
#include "kernels/ops.h"
#include "lower/plan.h"
#include "lower/rebind.h"
#include "base/checked.h"
#include "passes/passes.h"

enum { MOST_INPUTS = 16, CALLS = 8 };

static int64_t below(uint64_t *state, int64_t limit) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (int64_t)(*state >> 33) % limit;
}

static void expect_ok(Status status) { cr_assert(!status, "%s", status_message(status)); }

static DeviceInfo device_of(DeviceKind kind) {
  DeviceInfo device = {.kind = kind,
                       .name = "a device",
                       .sm = kind == DEVICE_CPU ? 0 : 90,
                       .multiprocessors = 132,
                       .shared_per_block = 101376,
                       .shared_per_multiprocessor = 102400,
                       .l2_bytes = 50 << 20,
                       .memory_bytes = 1ll << 34};
  if (kind == DEVICE_CUDA) chip_take_rates(&device, 0, 0);
  return device;
}

static bool runs(void *context, const Node *node) {
  const DeviceInfo *device = context;
  return device->kind == DEVICE_CPU ? node->op->reference != NULL : select_supports(node, device, false);
}

static const char *text_of(Arena *arena, const Graph *graph) {
  Text text = text_new(arena);
  graph_print(&text, graph, NULL);
  return text_get(&text);
}

static Status plan_text(Graph *graph, const DeviceInfo *device, const Compiler *compiler, Arena *arena, Plan **plan,
                        const char **out) {
  SelectOptions select = {.workspace_limit = (size_t)256 << 20, .machine = {.host = host_states_new(arena, NULL, NULL)}};
  TRY(plan_make(graph, &(PlanTarget){.info = device, .select = &select}, arena, plan));
  Text text = text_new(arena);
  plan_print(&text, *plan, compiler, NULL);
  *out = text_get(&text);
  return OK;
}

// ---- graphs of open sizes ----------------------------------------------------------------------------------------------------

typedef struct Opened {
  Graph *graph;
  Dim symbols[MOST_INPUTS * MAX_RANK];
  int64_t sizes[MOST_INPUTS * MAX_RANK];  // what each was, and is in the first call
  int count;
} Opened;

static int number_of(Opened *o, int64_t size) {
  for (int i = 0; i < o->count; i++)
    if (o->sizes[i] == size) return i;
  o->sizes[o->count] = size;
  o->symbols[o->count] = dim_symbol(o->graph->dims, arena_printf(o->graph->arena, "n%lld", (long long)size));
  return o->count++;
}

static Status infer_all(Graph *graph) {
  FOR_NODES(node, graph) TRY(node_infer(node));
  return OK;
}

// Of a static graph one whose inputs' sizes are symbols, the same for the same size. False where the operators do not have it so.
static bool open_inputs(Graph *graph, Opened *o) {
  *o = (Opened){.graph = graph};
  if (!graph->input_count || graph->input_count > MOST_INPUTS) return false;
  for (int i = 0; i < graph->input_count; i++) {
    Value *input = graph->inputs[i];
    if (input->kind != VALUE_TENSOR || input->initial) return false;
    for (int k = 0; k < input->rank; k++)
      if (input->dims[k] > 1) input->dims[k] = o->symbols[number_of(o, input->dims[k])];
  }
  FOR_NODES(node, graph) if (node->op->data_dependent || node->op->is_control || node->op == &op_region) return false;
  Status status = infer_all(graph);
  bool fine = !status && o->count;
  status_free(status);
  return fine;
}

static void describe(const Opened *o, const int64_t *sizes, StageInput *inputs) {
  const Graph *graph = o->graph;
  for (int i = 0; i < graph->input_count; i++) {
    const Value *input = graph->inputs[i];
    inputs[i] = (StageInput){.dtype = input->dtype, .rank = input->rank};
    for (int k = 0; k < input->rank; k++) {
      inputs[i].dims[k] = input->dims[k];
      for (int s = 0; s < o->count; s++)
        if (input->dims[k] == o->symbols[s]) inputs[i].dims[k] = sizes[s];
    }
  }
}

// ---- the property ------------------------------------------------------------------------------------------------------------

typedef struct Tally {
  int graphs, open, bound, refused;
} Tally;

typedef struct Bound {
  const Opened *of;
  const DeviceInfo *device;
  const Compiler *compiler;
  Stage *stage;
  Plan *plan;  // whose copies stand in the graph
  const char *name;
} Bound;

// One call of other sizes. *fits false: it is bound no more.
static void call(Bound *b, const int64_t *sizes, Arena *arena, bool *fits, Tally *tally) {
  StageInput inputs[MOST_INPUTS];
  Stage *fresh = NULL;
  describe(b->of, sizes, inputs);
  SpecialiseHooks hooks = {.runs = runs, .context = (void *)(uintptr_t)b->device};
  Status status = specialise(b->of->graph, inputs, &hooks, arena, &fresh);
  if (b->plan) plan_take_copies_out(b->plan);
  b->plan = NULL;
  Status bound = rebind(b->stage->rebinding, inputs, arena, fits);
  *fits = *fits && !bound;
  status_free(bound);
  // What waits is refused when it is met.
  if (status)
    cr_expect(!*fits || !b->stage->complete, "%s: bound to sizes that are refused: %s", b->name, status_message(status));
  bool refused = status != NULL;
  status_free(status);
  *fits = *fits && !refused;
  if (!*fits) {
    tally->refused++;
    return;
  }
  if (!fresh || !fresh->complete) return;
  cr_expect_str_eq(text_of(arena, b->stage->ready), text_of(arena, fresh->ready), "%s: another graph", b->name);
  const char *plan = NULL, *wanted = NULL;
  Plan *other;
  Status made = plan_text(b->stage->ready, b->device, b->compiler, arena, &b->plan, &plan);
  status = plan_text(fresh->ready, b->device, b->compiler, arena, &other, &wanted);
  cr_expect_eq(!made, !status, "%s: planned one way only", b->name);
  if (!made && !status) cr_expect_str_eq(plan, wanted, "%s: another plan", b->name);
  *fits = !made;
  status_free(made);
  status_free(status);
  tally->bound++;
}

static void bind_often(const char *name, const Opened *of, const DeviceInfo *device, const Compiler *compiler, uint64_t *random,
                       int64_t most, Arena *arena, Tally *tally) {
  Bound b = {.of = of, .device = device, .compiler = compiler, .name = name};
  StageInput inputs[MOST_INPUTS];
  describe(of, of->sizes, inputs);
  SpecialiseHooks hooks = {.runs = runs, .context = (void *)(uintptr_t)device};
  Status status = specialise(of->graph, inputs, &hooks, arena, &b.stage);
  status_free(status);
  tally->graphs++;
  if (status || !b.stage->rebinding) return;
  tally->open++;
  const char *unused;
  status = plan_text(b.stage->ready, device, compiler, arena, &b.plan, &unused);
  bool fits = !status;
  status_free(status);
  for (int i = 0; i < CALLS && fits; i++) {
    int64_t sizes[MOST_INPUTS * MAX_RANK];
    for (int s = 0; s < of->count; s++) sizes[s] = i == CALLS / 2 ? of->sizes[s] : below(random, most);
    for (int s = 0; s < of->count && i % 2; s++) sizes[s] = of->sizes[s] + below(random, 3);
    call(&b, sizes, arena, &fits, tally);
  }
}

// ---- what it is tried on -----------------------------------------------------------------------------------------------------

// passes: as engines have it, with regions and in half precision.
static Tally try_cases(DeviceKind kind, bool passes) {
  Compiler *compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  const PassOptions options = {.device = kind, .sm = kind == DEVICE_CUDA ? 90 : 0, .precision = DTYPE_F16};
  DeviceInfo device = device_of(kind);
  uint64_t random = kind + 7;
  Tally tally = {0};
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    Arena *arena = arena_new();
    Graph *graph;
    Opened opened;
    expect_ok(operator_case_build(row, arena, core_ops, &graph));
    bool fine = open_inputs(graph, &opened);
    if (fine && passes) expect_ok(passes_run(graph, &options, NULL, 0, NULL));
    if (fine) bind_often(row->name, &opened, &device, compiler, &random, 40, arena, &tally);
    arena_free(arena);
  }
  compiler_free(compiler);
  cr_expect(tally.open > 500, "only %d graphs of %d are open", tally.open, tally.graphs);
  cr_expect(tally.bound > 5 * tally.open, "%d graphs were bound %d times only", tally.open, tally.bound);
  cr_expect(tally.refused > 50, "only %d calls were refused", tally.refused);
  return tally;
}

Test(rebind, gives_what_specialising_gives_on_a_cpu) { try_cases(DEVICE_CPU, false); }
Test(rebind, gives_what_specialising_gives_on_a_gpu) { try_cases(DEVICE_CUDA, false); }
Test(rebind, gives_what_specialising_gives_behind_the_passes) { try_cases(DEVICE_CUDA, true); }

static Graph *read(Arena *arena, const char *text) {
  Graph *graph;
  expect_ok(graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph));
  return graph;
}

// Attributes that speak of sizes; constants that follow from them, one from another; results that are views of an input.
static const char masked[] =
    "graph masked(%x: f32[batch, length, 6]) -> (%out, %flat) {\n"
    "  const %table: f32[8, 1] = [0, 1, 2, 3, 4, 5, 6, 7]\n"
    "  %position: f32[length, 1] = slice(%table) {starts: dims[0, 0], steps: [1, 1], dims: dims[length, 1]}\n"
    "  %mask: f32[length, length] = elementwise() {program: program {%0: i64 = index 1; %1: i64 = index 0; %2 = le %0 %1; "
    "%3: f32 = const 0; %4: f32 = const -inf; %5 = select %2 %3 %4; yield %5}, dims: dims[length, length]}\n"
    "  %bias: f32[length, length] = elementwise(%mask, %position) {program: program {%0: f32 = input 0; %1: f32 = input 1; "
    "%2 = add %0 %1; yield %2}}\n"
    "  %turned: f32[batch, 6, length] = transpose(%x) {perm: [0, 2, 1]}\n"
    "  %product: f32[batch, length, length] = matmul(%x, %turned)\n"
    "  %out: f32[batch, length, length] = elementwise(%product, %bias) {program: program {%0: f32 = input 0; %1: f32 = input "
    "1; "
    "%2 = add %0 %1; yield %2}}\n"
    "  %flat: f32[batch, (6*length)] = reshape(%x) {dims: dims[batch, (6*length)]}\n"
    "}\n";

Test(rebind, makes_constants_that_follow_from_sizes_again) {
  Compiler *compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  for (DeviceKind kind = DEVICE_CPU; kind <= DEVICE_CUDA; kind++) {
    Arena *arena = arena_new();
    DeviceInfo device = device_of(kind);
    Graph *graph = read(arena, masked);
    Opened opened = {.graph = graph,
                     .symbols = {dim_symbol(graph->dims, "batch"), dim_symbol(graph->dims, "length")},
                     .sizes = {2, 5},
                     .count = 2};
    Tally tally = {0};
    uint64_t random = 3;
    bind_often("masked", &opened, &device, compiler, &random, 9, arena, &tally);
    cr_expect_eq(tally.bound, CALLS);
    for (int i = 0; i < 3; i++) bind_often("masked", &opened, &device, compiler, &random, 40, arena, &tally);
    cr_expect_eq(tally.refused, 3, "a table of 8 rows gives more");
    arena_free(arena);
  }
  compiler_free(compiler);
}

typedef struct Closed {
  const char *text, *why;
  int known;  // number of the input whose content is known; -1: none
} Closed;

static const Closed closed[] = {
    {"graph fixed(%x: f32[3]) -> (%y) {\n  %y: f32[3] = elementwise(%x) {program: program {%0: f32 = input 0; yield %0}}\n}\n",
     "no size is open", -1},
    {"graph known(%x: f32[n]) -> (%y) {\n  %y: f32[n] = elementwise(%x) {program: program {%0: f32 = input 0; yield %0}}\n}\n",
     "an input's content decides", 0},
    {"graph lies(%x: f32[n]) -> (%y) {\n  %y: f32[(n + 1)] = elementwise(%x) {program: program {%0: f32 = input 0; yield "
     "%0}}\n}\n",
     "symbols do not hold what they say", -1},
    {"graph late(%x: f32[n]) -> (%y) {\n  %y: f32[m] = elementwise(%x) {program: program {%0: f32 = input 0; yield %0}}\n}\n",
     "a size follows from more than the inputs'", -1},
};

Test(rebind, says_why_a_stage_is_of_its_sizes_alone) {
  for (size_t i = 0; i < COUNT_OF(closed); i++) {
    Arena *arena = arena_new();
    Stage *stage;
    Tensor content;
    StageInput input = {.dtype = DTYPE_F32, .rank = 1, .dims = {3}};
    expect_ok(tensor_new(arena, DTYPE_F32, 1, input.dims, &content));
    if (closed[i].known == 0) input.known = &content;
    DeviceInfo device = device_of(DEVICE_CPU);
    expect_ok(
        specialise(read(arena, closed[i].text), &input, &(SpecialiseHooks){.runs = runs, .context = &device}, arena, &stage));
    cr_expect_null(stage->rebinding);
    cr_expect_str_eq(stage->closed, closed[i].why);
    arena_free(arena);
  }
}
