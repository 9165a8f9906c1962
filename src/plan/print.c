// A plan as text: its buffers, then its steps with their launches. It holds no address and no time: the same graph for the same device gives the
// same text.
//
//   plan for sm_90: 2 buffers ...
//   buffer %x: input 0, 256 bytes, steps 0..0
//   buffer %workspace.3: arena at 512, 1024 bytes, steps 1..1
//   step 0: %y = conv by mma_conv "64x64x64 w2x2 s3 splitk1" from "conv1 (Conv), relu1 (Relu)"
//     packed 0: 4096 bytes, recipe 5d41402abc4b2a76b9719d911017c592
//     kernel mma_conv 7d793037a0760186574b0282f2f435e7 grid 4 1 1 block 128 1 1 shared 49152 (%x, packed 0, %y, i32 5)
//
// A buffer is called what its value is; of several with one name, all but the first have their number behind it.
#include <string.h>

#include "ir/graph_text.h"
#include "ir/token.h"
#include "ir/origins.h"
#include "kernels/packings.h"
#include "plan/plan.h"

typedef struct Printer {
  Text *text;
  Arena *scratch;
  const Plan *plan;
  const Compiler *compiler;
  const char **names;  // of buffers
} Printer;

static void print_hash(Text *text, Hash128 hash) {
  char hex[33];
  hash128_hex(hash, hex);
  text_add(text, " %s", hex);
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

static void print_name(Printer *p, int buffer) {
  text_add(p->text, "%%");
  token_print_name(p->text, token_is_name_byte, p->names[buffer]);
}

static void print_buffer(Printer *p, int number) {
  const PlanBuffer *b = &p->plan->buffers[number];
  text_add(p->text, "buffer ");
  print_name(p, number);
  if (b->kind == PLAN_INPUT) text_add(p->text, ": input %d", b->index);
  if (b->kind == PLAN_OUTPUT) text_add(p->text, ": output %d", b->index);
  if (b->kind == PLAN_ARENA) text_add(p->text, ": arena at %zu", b->offset);
  if (b->kind == PLAN_CONSTANT) {
    text_add(p->text, ": constant");
    print_hash(p->text, tensor_content_hash(b->constant));
    for (int i = 0; i < b->constant->rank; i++) text_add(p->text, i ? ",%d" : " order %d", b->order[i]);
  }
  text_add(p->text, ", %zu bytes", b->bytes);
  if (b->first_step >= 0) text_add(p->text, ", steps %d..%d", b->first_step, b->last_step);
  text_add(p->text, "\n");
}

// ---- launches ----------------------------------------------------------------------------------------------------------------

static void print_place(Printer *p, const PlanPlace *place, DType dtype) {
  if (place->buffer < 0) {
    text_add(p->text, "none");
    return;
  }
  print_name(p, place->buffer);
  long long bytes = (long long)place->offset * (long long)dtype_size(dtype);
  if (bytes) text_add(p->text, "+%lld", bytes);
}

static void print_reference(Printer *p, const PlanStep *step, const BufferRef *ref) {
  switch (ref->kind) {
    case BUFFER_INPUT: print_place(p, &step->inputs[ref->index], step->site.inputs[ref->index].dtype); break;
    case BUFFER_OUTPUT: print_place(p, &step->outputs[ref->index], step->site.outputs[ref->index].dtype); break;
    case BUFFER_WORKSPACE: print_place(p, &(PlanPlace){step->workspace_buffer, (int64_t)ref->offset}, DTYPE_U8); break;
    case BUFFER_PACKED: text_add(p->text, "packed %d", ref->index); break;
    case BUFFER_REPORT: text_add(p->text, "report"); break;
    case BUFFER_STEP: text_add(p->text, "step"); break;
  }
}

static void print_argument(Printer *p, const PlanStep *step, const LaunchArg *arg) {
  switch (arg->kind) {
    case ARG_BUFFER: print_reference(p, step, &arg->buffer); break;
    case ARG_I32: text_add(p->text, "i32 %d", arg->i32); break;
    case ARG_I64: text_add(p->text, "i64 %lld", (long long)arg->i64); break;
    case ARG_F32: text_add(p->text, "f32 %a", (double)arg->f32); break;
  }
}

// Of all that a routine of the host is given: the node, its operands' types and places, the content of constants, the way.
static Hash128 host_hash(Printer *p, const HostParameters *parameters) {
  const Site *site = parameters->site;
  Text text = text_new(p->scratch);
  text_add(&text, "%s", site_key(site, p->scratch));
  node_print(&text, site->node, NULL);
  Hash128 hash = hash128_combine(hash128_bytes(text_get(&text), text.length),
                                 hash128_bytes(parameters->way->config, sizeof parameters->way->config));
  for (int i = 0; i < site->node->input_count; i++)
    if (site->inputs[i].constant) hash = hash128_combine(hash, tensor_content_hash(site->inputs[i].constant));
  return hash;
}

static void print_dims(Text *text, const char *word, const unsigned dims[3]) {
  text_add(text, " %s %u %u %u", word, dims[0], dims[1], dims[2]);
}

static void print_kernel(Printer *p, const PlanStep *step, const Launch *launch) {
  text_add(p->text, "  kernel %s", launch->entry);
  print_hash(p->text, compiler_key(p->compiler, launch->source, step->site.device->sm));
  print_dims(p->text, "grid", launch->grid);
  print_dims(p->text, "block", launch->block);
  if (launch->cluster[0]) print_dims(p->text, "cluster", launch->cluster);
  text_add(p->text, " shared %u", launch->shared_bytes);
}

static void print_launch(Printer *p, const PlanStep *step, const Launch *launch) {
  switch (launch->kind) {
    case LAUNCH_KERNEL: print_kernel(p, step, launch); break;
    case LAUNCH_LIBRARY:
      text_add(p->text, "  library %s", launch->routine->name);
      print_hash(p->text, hash128_bytes(launch->parameters, launch->routine->parameter_bytes));
      break;
    case LAUNCH_HOST:
      text_add(p->text, "  host %s", launch->host->name);
      print_hash(p->text, host_hash(p, launch->site));
      break;
  }
  for (int i = 0; i < launch->arg_count; i++) {
    text_add(p->text, i ? ", " : " (");
    print_argument(p, step, &launch->args[i]);
  }
  text_add(p->text, launch->arg_count ? ")\n" : " ()\n");
}

// ---- steps -------------------------------------------------------------------------------------------------------------------

static void print_step(Printer *p, uint32_t number) {
  const PlanStep *step = &p->plan->steps[number];
  const Selection *selection = &step->selection;
  const Emission *emission = selection->emission;
  text_add(p->text, "step %u: ", number);
  for (int i = 0; i < step->node->output_count; i++) {
    text_add(p->text, i ? ", %%" : "%%");
    token_print_name(p->text, token_is_name_byte, step->node->outputs[i]->name);
  }
  text_add(p->text, " = %s by %s", step->node->op->name, selection->implementation->name);
  if (*selection->way.name) text_add(p->text, " "), token_quote(p->text, selection->way.name);
  text_add(p->text, " from ");
  token_quote(p->text, node_origins_text(step->node, p->scratch));
  text_add(p->text, "\n");
  for (uint32_t i = 0; i < emission->packed_count; i++) {
    text_add(p->text, "  packed %u: %zu bytes, recipe", i, emission->packed[i]->bytes);
    print_hash(p->text, emission->packed[i]->key);
    text_add(p->text, "\n");
  }
  for (uint32_t i = 0; i < emission->launch_count; i++) print_launch(p, step, &emission->launches[i]);
}

void plan_print(Text *text, const Plan *plan, const DeviceInfo *device, const Compiler *compiler) {
  Printer p = {.text = text, .scratch = arena_scratch(), .plan = plan, .compiler = compiler};
  if (device->kind == DEVICE_CPU) text_add(text, "plan for the CPU");
  else text_add(text, "plan for sm_%d", device->sm);
  text_add(text, ": %u buffers, %u steps, %zu bytes of temporaries in %zu\n", plan->buffer_count, plan->step_count,
           plan->temporary_bytes, plan->arena_bytes);
  name_buffers(&p);
  for (uint32_t i = 0; i < plan->buffer_count; i++) print_buffer(&p, (int)i);
  for (uint32_t i = 0; i < plan->step_count; i++) print_step(&p, i);
  arena_free(p.scratch);
}
