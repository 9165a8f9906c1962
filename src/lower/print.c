// A plan as text: the graph it carries out, its buffers, then its steps with their launches. It holds no address and no time: the same graph
// for the same device gives the same text, and parse.c makes the plan of it again. What is large is named by content: constants by
// the hash of their bytes (&), kernels by the hash they are compiled under.
//
//   plan for sm_90: 3 buffers, 1 steps, 1024 bytes of temporaries in 1024
//   graph g(%x: f32[1, 64, 8, 8]) -> (%y) { ... }
//   buffer %x: input 0, 16384 bytes, steps 0 to 0
//   buffer %w: constant %w order 0,2,3,1, 147456 bytes, steps 0 to 0
//   buffer %workspace.2: arena at 512, 1024 bytes, steps 0 to 0
//   step 0: %y = conv by mma_conv "64x64x64 w2x2 s3 splitk1" config 64,64,64 from "conv1 (Conv), relu1 (Relu)"
//     reads %x [4096,64,8,1], %w+8 const [576,9,3,1], _
//     writes %y
//     workspace %workspace.2
//     packed 0: 4096 bytes, recipe 5d41402abc4b2a76b9719d911017c592 of &f3a0..., graph recipe(...) ...
//     kernel mma_conv 7d793037a0760186574b0282f2f435e7 grid 4 1 1 block 128 1 1 shared 49152 (in 0, packed 0, out 0, i32 5)
//     library cudnn_conv 0100000002... (in 0, in 1, out 0, workspace)
//     host strips
//
// A step on another stream than 0, or that waits for steps on others, says so behind its number: "step 7 on 2 behind 3, 5: ...".
//
// A buffer is called what its value is; of several with one name, all but the first have their number behind it. A place is a buffer, elements
// from its start, strides in elements; `const`: what is there is known. Of a result that fills its buffer the buffer says it all. Blocks of parameters are printed byte by byte.
#include <string.h>

#include "ir/graph_text.h"
#include "ir/origins.h"
#include "ir/token.h"
#include "lower/plan.h"

enum { INLINE_ELEMENTS = 16 };

typedef struct Printer {
  Text *text;
  Arena *scratch;
  const Plan *plan;
  const Compiler *compiler;
  const PlanWitness *witness;
  const char **names;  // of buffers
  IntMap *hashes;      // of the bytes of constants, by address: NamedBytes *
} Printer;

typedef struct NamedBytes {
  size_t bytes;
  Hash128 hash;
} NamedBytes;

static void print_hash(Text *text, Hash128 hash) {
  char hex[33];
  hash128_hex(hash, hex);
  text_add(text, " %s", hex);
}

static Hash128 name_constant(void *context, const Tensor *tensor) {
  Printer *p = context;
  NamedBytes *named = int_map_get(p->hashes, (uintptr_t)tensor->data);
  size_t bytes = tensor_bytes(tensor);
  if (!named || named->bytes != bytes) {
    named = arena_new_of(p->scratch, NamedBytes);
    *named = (NamedBytes){bytes, hash128_bytes(tensor->data, bytes)};
    int_map_set(p->hashes, (uintptr_t)tensor->data, named);
  }
  if (p->witness && p->witness->constant) p->witness->constant(p->witness->context, named->hash, tensor);
  return named->hash;
}

// ---- buffers -----------------------------------------------------------------------------------------------------------------

static void name_buffers(Printer *p) {
  StringMap *seen = string_map_new(p->scratch);
  p->names = arena_array(p->scratch, const char *, p->plan->buffer_count);
  for (uint32_t i = 0; i < p->plan->buffer_count; i++) {
    const char *name = p->plan->buffers[i].name;
    p->names[i] = string_map_get(seen, name) ? arena_printf(p->scratch, "%s.%u", name, i) : name;
    string_map_set(seen, p->names[i], p);
  }
}

static void print_value(Text *text, const char *name) {
  text_add(text, "%%");
  token_print_name(text, token_is_name_byte, name);
}

static void print_list(Text *text, const int64_t *numbers, int count) {
  for (int i = 0; i < count; i++) text_add(text, i ? ",%lld" : "%lld", (long long)numbers[i]);
}

static void print_constant(Printer *p, const PlanBuffer *b) {
  text_add(p->text, ": constant ");
  print_value(p->text, b->name);
  for (int i = 0; i < b->constant->rank; i++) text_add(p->text, i ? ",%d" : " order %d", b->order[i]);
}

static void print_buffer(Printer *p, int number) {
  const PlanBuffer *b = &p->plan->buffers[number];
  text_add(p->text, "buffer ");
  print_value(p->text, p->names[number]);
  if (b->kind == PLAN_INPUT) text_add(p->text, ": input %d", b->index);
  if (b->kind == PLAN_OUTPUT) text_add(p->text, ": output %d", b->index);
  if (b->kind == PLAN_ARENA) text_add(p->text, ": arena at %zu", b->offset);
  if (b->kind == PLAN_CONSTANT) print_constant(p, b);
  text_add(p->text, ", %zu bytes", b->bytes);
  if (b->first_step >= 0) text_add(p->text, ", steps %d to %d", b->first_step, b->last_step);
  text_add(p->text, "\n");
}

// ---- launches ----------------------------------------------------------------------------------------------------------------

static void print_reference(Text *text, const BufferRef *ref) {
  switch (ref->kind) {
    case BUFFER_INPUT: text_add(text, "in %d", ref->index); break;
    case BUFFER_OUTPUT: text_add(text, "out %d", ref->index); break;
    case BUFFER_PACKED: text_add(text, "packed %d", ref->index); break;
    case BUFFER_REPORT: text_add(text, "report"); break;
    case BUFFER_STEP: text_add(text, "step"); break;
    case BUFFER_WORKSPACE:
      text_add(text, "workspace");
      if (ref->offset) text_add(text, "+%zu", ref->offset);
      break;
  }
}

static void print_argument(Text *text, const LaunchArg *arg) {
  uint32_t bits;
  switch (arg->kind) {
    case ARG_BUFFER: print_reference(text, &arg->buffer); break;
    case ARG_I32: text_add(text, "i32 %d", arg->i32); break;
    case ARG_I64: text_add(text, "i64 %lld", (long long)arg->i64); break;
    case ARG_F32:
      memcpy(&bits, &arg->f32, sizeof bits);
      text_add(text, "f32 %08x", bits);
      break;
  }
}

static void print_dims(Text *text, const char *word, const unsigned dims[3]) {
  text_add(text, " %s %u %u %u", word, dims[0], dims[1], dims[2]);
}

static void print_kernel(Printer *p, const Launch *launch) {
  Hash128 key = launch->source ? compiler_key(p->compiler, launch->source, p->plan->device->sm) : launch->code;
  if (p->witness && p->witness->kernel) p->witness->kernel(p->witness->context, key, launch->source);
  text_add(p->text, "  kernel ");
  token_print_name(p->text, token_is_identifier_byte, launch->entry);
  print_hash(p->text, key);
  print_dims(p->text, "grid", launch->grid);
  print_dims(p->text, "block", launch->block);
  if (launch->cluster[0]) print_dims(p->text, "cluster", launch->cluster);
  if (launch->cooperative) text_add(p->text, " cooperative");
  text_add(p->text, " shared %u", launch->shared_bytes);
}

static void print_library(Printer *p, const Launch *launch) {
  const uint8_t *bytes = launch->parameters;
  text_add(p->text, "  library %s ", launch->routine->name);
  for (size_t i = 0; i < launch->routine->parameter_bytes; i++) text_add(p->text, "%02x", bytes[i]);
}

static void print_launch(Printer *p, const Launch *launch) {
  switch (launch->kind) {
    case LAUNCH_KERNEL: print_kernel(p, launch); break;
    case LAUNCH_LIBRARY: print_library(p, launch); break;
    case LAUNCH_HOST: text_add(p->text, "  host %s\n", launch->host->name); return;  // it takes the step as it is
  }
  text_add(p->text, " (");
  for (int i = 0; i < launch->arg_count; i++) {
    if (i) text_add(p->text, ", ");
    print_argument(p->text, &launch->args[i]);
  }
  text_add(p->text, ")\n");
}

static void print_packed(Printer *p, int number, const Recipe *recipe) {
  text_add(p->text, "  packed %d: %zu bytes, recipe", number, recipe->bytes);
  print_hash(p->text, recipe->key);
  text_add(p->text, " of");
  for (uint32_t i = 0; i < recipe->source_count; i++) {
    char hex[33];
    hash128_hex(name_constant(p, recipe->sources[i]), hex);
    text_add(p->text, " &%s,", hex);
  }
  text_add(p->text, " ");
  graph_print(p->text, recipe->graph, NULL);
}

// ---- steps -------------------------------------------------------------------------------------------------------------------

static void print_way(Text *text, const Way *way) {
  int count = (int)(sizeof way->config / sizeof *way->config);
  while (count && !way->config[count - 1]) count--;
  if (*way->name) text_add(text, " "), token_quote(text, way->name);
  for (int i = 0; i < count; i++) text_add(text, i ? ",%d" : " config %d", way->config[i]);
}

static void print_place(Printer *p, const PlanPlace *place, const TensorDesc *desc) {
  if (place->buffer < 0) {
    text_add(p->text, "_");
    return;
  }
  print_value(p->text, p->names[place->buffer]);
  if (place->offset) text_add(p->text, "+%lld", (long long)place->offset);
  text_add(p->text, desc->constant ? " const [" : " [");
  print_list(p->text, desc->strides, desc->rank);
  text_add(p->text, "]");
}

static void print_places(Printer *p, const PlanStep *step) {
  for (int i = 0; i < site_input_count(&step->site); i++) {
    text_add(p->text, i ? ", " : "  reads ");
    print_place(p, &step->inputs[i], &step->site.inputs[i]);
  }
  if (site_input_count(&step->site)) text_add(p->text, "\n");
  for (int i = 0; i < step->node->output_count; i++) {
    const TensorDesc *desc = &step->site.outputs[i];
    const PlanPlace *place = &step->outputs[i];
    bool fills = !place->offset && desc_is_dense(desc) && desc_bytes(desc) == p->plan->buffers[place->buffer].bytes;
    text_add(p->text, i ? ", " : "  writes ");
    if (fills) print_value(p->text, p->names[place->buffer]);
    else print_place(p, place, desc);
  }
  text_add(p->text, "\n");
  if (step->workspace_buffer < 0) return;
  text_add(p->text, "  workspace ");
  print_value(p->text, p->names[step->workspace_buffer]);
  text_add(p->text, "\n");
}

static void print_step(Printer *p, uint32_t number) {
  const PlanStep *step = &p->plan->steps[number];
  const Selection *selection = &step->selection;
  const Emission *emission = selection->emission;
  text_add(p->text, "step %u", number);
  if (step->stream) text_add(p->text, " on %d", step->stream);
  for (int i = 0; i < step->wait_count; i++) text_add(p->text, i ? ", %u" : " behind %u", step->waits[i]);
  text_add(p->text, ": ");
  for (int i = 0; i < step->node->output_count; i++) {
    if (i) text_add(p->text, ", ");
    print_value(p->text, step->node->outputs[i]->name);
  }
  text_add(p->text, " = %s by %s", step->site.node->op->name, selection->implementation->name);
  print_way(p->text, &selection->way);
  text_add(p->text, " from ");
  token_quote(p->text, node_origins_text(step->node, p->scratch));
  text_add(p->text, "\n");
  print_places(p, step);
  for (uint32_t i = 0; i < emission->packed_count; i++) print_packed(p, (int)i, emission->packed[i]);
  for (uint32_t i = 0; i < emission->launch_count; i++) print_launch(p, &emission->launches[i]);
}

void plan_print(Text *text, const Plan *plan, const Compiler *compiler, const PlanWitness *witness) {
  Printer p = {.text = text, .scratch = arena_scratch(), .plan = plan, .compiler = compiler, .witness = witness};
  p.hashes = int_map_new(p.scratch);
  if (plan->device->kind == DEVICE_CPU) text_add(text, "plan for the CPU");
  else text_add(text, "plan for sm_%d", plan->device->sm);
  text_add(text, "%s: %u buffers, %u steps, %zu bytes of temporaries in %zu\n", plan->tf32 ? ", tf32" : "", plan->buffer_count,
           plan->step_count, plan->temporary_bytes, plan->arena_bytes);
  GraphTextOptions options = {.name = name_constant, .context = &p, .inline_limit = INLINE_ELEMENTS, .origins = true};
  graph_print(text, plan->graph, &options);
  name_buffers(&p);
  for (uint32_t i = 0; i < plan->buffer_count; i++) print_buffer(&p, (int)i);
  for (uint32_t i = 0; i < plan->step_count; i++) print_step(&p, i);
  arena_free(p.scratch);
}
