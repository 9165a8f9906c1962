// See behind.h.
#include "kernels/behind.h"

#include "base/checked.h"
#include "kernels/control/region.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/assembly.h"
#include "kernels/gather/gather.h"
#include "kernels/program/generate.h"

enum { MOST_BESIDE = 15 };

// Which result of the region the value is.
static int result_of(const Graph *body, const Value *value) {
  for (int i = 0; i < body->output_count; i++)
    if (body->outputs[i] == value) return i;
  return -1;
}

// Adds what one node behind computes; its result's instruction, or -1 where it reads anything but the anchor's result and inputs behind the anchor's.
static int append(Program *program, const Behind *behind, const Graph *body, const Node *node, Arena *arena) {
  const Program *own = node_program(node, "program");
  int *inputs = arena_array(arena, int, (size_t)node->input_count + 1),
      *results = arena_array(arena, int, (size_t)own->count + 1);
  for (int i = 0; i < node->input_count; i++) {
    int number = region_input(body, node->inputs[i]);
    bool whole = node->inputs[i] == behind->anchor->outputs[0];
    if (!whole && number < behind->operands) return -1;
    inputs[i] = whole ? 0 : number - behind->operands + 1;
  }
  program_append(program, own, inputs, results);
  return results[own->outputs[0]];
}

// The last concatenation of those that the body begins with.
static const Node *last_joining(const Graph *body) {
  const Node *last = body->first;
  while (last->next && (assembly_cuts(last->next) || assembly_joins(last->next))) last = last->next;
  return last;
}

// What moves reads the first inputs.
static bool read_operands(const Graph *body, Behind *out) {
  for (const Node *node = body->first; out->assembled; node = node->next) {
    for (int i = 0; i < node->input_count; i++) out->operands = MAX(out->operands, region_input(body, node->inputs[i]) + 1);
    if (node == out->anchor) return true;
  }
  out->operands = out->anchor->input_count;
  for (int i = 0; i < out->operands; i++)
    if (region_input(body, out->anchor->inputs[i]) != i) return false;
  return true;
}

static bool read_body(const Graph *body, const OpDef *op, Arena *arena, Behind *out) {
  if (!body->first || body->node_count < 2) return false;
  const Node *anchor = op == &op_concat ? last_joining(body) : body->first;
  if (anchor->op != op || anchor->output_count != 1) return false;
  *out = (Behind){.anchor = anchor, .assembled = anchor != body->first};
  if (!read_operands(body, out)) return false;
  out->beside = body->input_count - out->operands;
  if (out->beside < 0 || out->beside > MOST_BESIDE) return false;
  Program *program = program_new(arena, 1 + out->beside);
  int *results = arena_array(arena, int, (size_t)body->output_count);
  for (int i = 0; i < body->output_count; i++) results[i] = -1;
  int whole = result_of(body, anchor->outputs[0]);
  if (whole >= 0) results[whole] = program_input(program, 0, anchor->outputs[0]->dtype);
  for (const Node *node = anchor->next; node; node = node->next) {
    if (node->op != &op_elementwise || node->output_count != 1) return false;
    int result = result_of(body, node->outputs[0]);
    if (result < 0 || (results[result] = append(program, out, body, node, arena)) < 0) return false;
  }
  for (int i = 0; i < body->output_count; i++) {
    if (results[i] < 0) return false;
    program_output(program, results[i]);
  }
  out->program = program;
  return !program_has(program, OP_index) && !program_has_reduction(program);
}

bool behind_read(const Site *site, const OpDef *op, Arena *arena, Behind *out) {
  REQUIRE(site, read_body(region_body(site->node), op, arena, out),
          "the region is no such operator with elementwise programs behind it");
  const Value *whole = out->anchor->outputs[0];
  TensorDesc made = {.rank = whole->rank};
  REQUIRE(site, value_get_dims(whole, made.dims), "sizes inside of the region are open");
  for (int i = 0; i < site->node->output_count; i++)
    REQUIRE(site, desc_same_dims(&site->outputs[i], &made) && dtype_kind(site->outputs[i].dtype) != KIND_STRING,
            "a result has other sizes, or strings");
  return true;
}
