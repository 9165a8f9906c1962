// A concatenation with pointwise programs behind it, as one step: what each part brings is read once, copied into its place where the whole is wanted too, and worked on. The region's body holds
// the concat first, then the programs (elementwise nodes); any of their results may be its results. What programs read beside the concatenation is broadcast, or cut along with it.
#include "kernels/control/region.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"
#include "kernels/meaning.h"
#include "kernels/program/generate.h"

enum { MOST_PARTS = 64, MOST_POINTERS = 400, MOST_BESIDE = 15 };  // pointers: of the 4 KiB that a launch's arguments may take

typedef struct Joined {
  const Node *concat;
  int axis, parts;         // inputs of the region: first the parts, in order
  int beside;              // then what programs read beside them, each input once
  const Program *program;  // of one element: inputs are the part, then what is beside; outputs are the region's
} Joined;

// Which result of the region the value is.
static int result_of(const Graph *body, const Value *value) {
  for (int i = 0; i < body->output_count; i++)
    if (body->outputs[i] == value) return i;
  return -1;
}

// Adds what one node behind computes; its result's instruction, or -1 where it reads anything but the concatenation and inputs behind the parts.
static int append(Program *program, const Joined *joined, const Graph *body, const Node *node, Arena *arena) {
  const Program *own = node_program(node, "program");
  int *inputs = arena_array(arena, int, (size_t)node->input_count + 1),
      *results = arena_array(arena, int, (size_t)own->count + 1);
  for (int i = 0; i < node->input_count; i++) {
    int number = node->inputs[i] == joined->concat->outputs[0] ? joined->parts - 1 : region_input(body, node->inputs[i]);
    if (number < joined->parts - 1 || (number == joined->parts - 1 && node->inputs[i] != joined->concat->outputs[0])) return -1;
    inputs[i] = number - (joined->parts - 1);
  }
  program_append(program, own, inputs, results);
  return results[own->outputs[0]];
}

static bool read_body(const Site *site, Arena *arena, Joined *out) {
  const Graph *body = region_body(site->node);
  const Node *concat = body->first;
  if (!concat || concat->op != &op_concat || body->node_count < 2) return false;
  *out = (Joined){.concat = concat, .axis = (int)node_int(concat, "axis", 0), .parts = concat->input_count};
  for (int i = 0; i < concat->input_count; i++)
    if (region_input(body, concat->inputs[i]) != i) return false;
  out->beside = body->input_count - out->parts;
  if (out->beside > MOST_BESIDE) return false;
  Program *program = program_new(arena, 1 + out->beside);
  int *results = arena_array(arena, int, (size_t)body->output_count);
  for (int i = 0; i < body->output_count; i++) results[i] = -1;
  int whole = result_of(body, concat->outputs[0]);
  if (whole >= 0) results[whole] = program_input(program, 0, concat->outputs[0]->dtype);
  for (const Node *node = concat->next; node; node = node->next) {
    if (node->op != &op_elementwise || node->output_count != 1) return false;
    int result = result_of(body, node->outputs[0]);
    if (result < 0 || (results[result] = append(program, out, body, node, arena)) < 0) return false;
  }
  for (int i = 0; i < body->output_count; i++) program_output(program, results[i]);
  out->program = program;
  return !program_uses_index(program) && !program_has_reduction(program);
}

static bool describe(const Site *site, Arena *arena, Joined *out) {
  if (!read_body(site, arena, out) || 2 * (out->parts + out->beside) > MOST_POINTERS) return false;
  const TensorDesc *y = &site->outputs[0];
  for (int i = 0; i < site->node->output_count; i++)
    if (!desc_same_dims(&site->outputs[i], y) || dtype_kind(site->outputs[i].dtype) == KIND_STRING) return false;
  int64_t extent = 0;
  for (int i = 0; i < out->parts; i++) extent += site->inputs[i].dims[out->axis];
  return y->dims[out->axis] == extent;
}

static bool supports(const Site *site) {
  Arena *scratch = arena_scratch();
  Joined joined;
  bool takes = describe(site, scratch, &joined);
  arena_free(scratch);
  return takes;
}

// The tensor's part from `at` on along the result's axis; where it is the same all along, itself.
static int64_t cut(const TensorDesc *desc, const TensorDesc *y, int axis, int64_t at, int64_t extent, TensorDesc *out) {
  int own = axis - (y->rank - desc->rank);
  *out = *desc;
  if (own < 0 || desc->dims[own] == 1) return 0;
  out->dims[own] = extent;
  out->constant = NULL;
  out->offset += at * desc->strides[own];
  return at * desc->strides[own];
}

static void fill_part(const Site *site, const Joined *joined, int source, int64_t at, Arena *arena, ElementwisePart *part) {
  int inputs = 1 + joined->beside, outputs = site->node->output_count;
  const TensorDesc *x = &site->inputs[source], *y = &site->outputs[0];
  TensorDesc *descs = arena_array(arena, TensorDesc, (size_t)(inputs + outputs));
  int64_t *bases = arena_array(arena, int64_t, (size_t)(inputs + outputs)), extent = x->dims[joined->axis];
  descs[0] = *x;
  for (int i = 1; i < inputs; i++) bases[i] = cut(&site->inputs[joined->parts + i - 1], y, joined->axis, at, extent, &descs[i]);
  for (int i = 0; i < outputs; i++) bases[inputs + i] = cut(&site->outputs[i], y, joined->axis, at, extent, &descs[inputs + i]);
  *part = (ElementwisePart){joined->program, inputs, outputs, descs, descs + inputs, bases};
}

static Status emit(const Site *site, const Joined *joined, int count, const ElementwisePart *parts, const int *sources,
                   Emission *out) {
  GeneratedKernel kernel;
  TRY(generate_elementwise_parts(count, parts, out->arena, &kernel));
  Launch *launch = emit_kernel(out, kernel.source, kernel.entry, kernel.grid, kernel.block);
  for (int k = 0; k < count; k++) {
    emit_buffer(out, launch, BUFFER_INPUT, sources[k]);
    for (int i = 0; i < joined->beside; i++) emit_buffer(out, launch, BUFFER_INPUT, joined->parts + i);
    for (int i = 0; i < site->node->output_count; i++) emit_buffer(out, launch, BUFFER_OUTPUT, i);
  }
  return OK;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  Joined joined;
  if (!describe(site, out->arena, &joined)) FAIL(ERROR_UNSUPPORTED, "it is no concatenation with programs behind");
  ElementwisePart parts[MOST_PARTS];
  int sources[MOST_PARTS], count = 0, most = MIN(MOST_PARTS, MOST_POINTERS / (1 + joined.beside + site->node->output_count));
  int64_t at = 0;
  for (int i = 0; i < joined.parts; at += site->inputs[i++].dims[joined.axis]) {
    if (desc_count(&site->inputs[i]) == 0) continue;
    if (count == most) {
      TRY(emit(site, &joined, count, parts, sources, out));
      count = 0;
    }
    fill_part(site, &joined, i, at, out->arena, &parts[count]);
    sources[count++] = i;
  }
  return count ? emit(site, &joined, count, parts, sources, out) : OK;
}

const Implementation cuda_concat_programs = {
    .name = "concat_programs",
    .backend = BACKEND_CUDA,
    .op = &op_region,
    .supports = supports,
    .ways = one_way,
    .lower = lower,
};
