// See fused.h.
#include "kernels/fused.h"

#include "kernels/control/region.h"
#include "kernels/elementwise/elementwise.h"

static bool is_pair(const Graph *body) {
  const Node *anchor = body->first, *behind = body->last;
  return body->node_count == 2 && body->output_count == 1 && anchor->op->takes_epilogue && anchor->output_count == 1 &&
         behind->op == &op_elementwise && behind->output_count == 1 && body->outputs[0] == behind->outputs[0] &&
         value_same_shape(anchor->outputs[0], behind->outputs[0]);
}

// The anchor reads inputs of the body alone.
static bool reads_inputs(const Graph *body) {
  for (int i = 0; i < body->first->input_count; i++)
    if (body->first->inputs[i] && region_input(body, body->first->inputs[i]) < 0) return false;
  return true;
}

// places[i]: the epilogue's input that input i of the node behind is. False where it reads anything but the result and inputs of the body.
static bool find_places(const Graph *body, Fused *out, int *places) {
  const Node *behind = body->last;
  const Value *result = body->first->outputs[0];
  bool needs_result = false;
  int count = 0;
  if (behind->input_count > FUSED_OPERANDS + 1 || node_program(behind, "program")->input_count != behind->input_count)
    return false;
  for (int i = 0; i < behind->input_count; i++) {
    places[i] = behind->inputs[i] == result ? 0 : ++count;
    needs_result |= behind->inputs[i] == result;
    if (behind->inputs[i] == result) continue;
    if (count > FUSED_OPERANDS || !behind->inputs[i] || region_input(body, behind->inputs[i]) < 0) return false;
    out->read[count - 1] = behind->inputs[i];
  }
  out->operand_count = body->first->input_count + count;
  return needs_result;
}

static const Program *in_places(const Program *program, const int *places, int count, Arena *arena) {
  bool moved = program->input_count != count;
  for (int i = 0; i < program->input_count; i++) moved |= places[i] != i;
  if (!moved) return program;
  Program *made = program_copy(arena, program);
  made->input_count = count;
  for (int i = 0; i < made->count; i++)
    if (made->code[i].op == OP_input) made->code[i].args[0] = places[made->code[i].args[0]];
  return made;
}

static bool reads_all(const Graph *body) {
  for (int i = 0; i < body->input_count; i++)
    if (!body->inputs[i]->uses) return false;
  return true;
}

static bool read_form(const Node *node, Fused *out, int *places) {
  *out = (Fused){.node = node, .anchor = node, .operand_count = node->input_count, .reads_all = true};
  const Graph *body = node->op == &op_region ? region_body(node) : NULL;
  Fused fused = *out;
  if (!body || !is_pair(body) || !reads_inputs(body) || !find_places(body, &fused, places)) return false;
  fused.anchor = body->first;
  fused.reads_all = reads_all(body);
  *out = fused;
  return true;
}

bool fused_read(const Node *node, Arena *arena, Fused *out) {
  int places[FUSED_OPERANDS + 1];
  if (!read_form(node, out, places)) return false;
  const Program *program = node_program(region_body(node)->last, "program");
  out->program = in_places(program, places, out->operand_count - out->anchor->input_count + 1, arena);
  return true;
}

const Node *fused_anchor(const Node *node) {
  Fused fused;
  int places[FUSED_OPERANDS + 1];
  read_form(node, &fused, places);
  return fused.anchor;
}

int fused_input(const Fused *fused, int operand) {
  int own = fused->anchor->input_count;
  if (fused->anchor == fused->node) return fused->node->inputs[operand] ? operand : -1;
  const Value *value = operand < own ? fused->anchor->inputs[operand] : fused->read[operand - own];
  return value ? region_input(region_body(fused->node), value) : -1;
}

Value *fused_operand(const Fused *fused, int operand) {
  int input = fused_input(fused, operand);
  return input < 0 ? NULL : fused->node->inputs[input];
}

// A region of a prologue: `front` works on input 0 of `rest`, which is an anchor or the region of one.
typedef struct Fronted {
  const Node *front, *rest;
  int main;  // the front's input that is as large as its result, and becomes the anchor's operand
} Fronted;

static bool reads_inputs_but(const Graph *body, const Node *node, int from) {
  for (int i = from; i < node->input_count; i++)
    if (node->inputs[i] && region_input(body, node->inputs[i]) < 0) return false;
  return true;
}

static bool read_fronted(const Node *node, Fronted *out) {
  const Graph *body = node->op == &op_region ? region_body(node) : NULL;
  if (!body || body->node_count != 2 || body->output_count != 1) return false;
  const Node *front = body->first, *rest = body->last;
  if (front->op != &op_elementwise || front->output_count != 1 || !fused_anchor(rest)->op->takes_epilogue) return false;
  const Value *made = front->outputs[0];
  if (rest->output_count != 1 || body->outputs[0] != rest->outputs[0] || rest->input_count < 1 || rest->inputs[0] != made)
    return false;
  if (front->input_count > FUSED_OPERANDS + 1 || !reads_inputs_but(body, front, 0) || !reads_inputs_but(body, rest, 1))
    return false;
  // What the front makes is the anchor's first operand, and nothing else.
  Fused fused;
  int places[FUSED_OPERANDS + 1];
  read_form(rest, &fused, places);
  if (!fused.reads_all || fused_input(&fused, 0) != 0) return false;
  for (int i = 1; i < fused.operand_count; i++)
    if (fused_input(&fused, i) == 0) return false;
  *out = (Fronted){front, rest, -1};
  for (int i = front->input_count - 1; i >= 0; i--)
    if (value_same_shape(front->inputs[i], made) && front->inputs[i]->dtype == made->dtype) out->main = i;
  return out->main >= 0;
}

const Node *fused_core(const Node *node) {
  Fronted fronted;
  return fused_anchor(read_fronted(node, &fronted) ? fronted.rest : node);
}

// The prologue with its main input as number 0; its others' numbers in the body are added to `numbers`.
static const Program *prologue_of(const Fronted *fronted, const Graph *body, Arena *arena, int *numbers) {
  int places[FUSED_OPERANDS + 1], count = 0;
  for (int i = 0; i < fronted->front->input_count; i++) {
    places[i] = i == fronted->main ? 0 : ++count;
    if (i != fronted->main) numbers[count - 1] = region_input(body, fronted->front->inputs[i]);
  }
  return in_places(node_program(fronted->front, "program"), places, count + 1, arena);
}

static void site_of(const Node *node, Arena *arena, Site *site, int **numbers) {
  Fused fused;
  bool is = fused_read(node, arena, &fused) && fused.reads_all;
  if (!is) fused = (Fused){.node = node, .anchor = node, .operand_count = node->input_count};
  site->node = fused.anchor;
  site->region = is ? node : NULL;
  site->epilogue = fused.program;
  *numbers = arena_array(arena, int, (size_t)fused.operand_count + FUSED_OPERANDS + 1);
  for (int i = 0; i < fused.operand_count; i++) (*numbers)[i] = fused_input(&fused, i);
}

void fused_site(const Node *node, Arena *arena, Site *site, int **numbers) {
  Fronted fronted;
  bool is = read_fronted(node, &fronted);
  site->prologue = NULL;
  site_of(is ? fronted.rest : node, arena, site, numbers);
  if (!is) return;
  const Graph *body = region_body(node);
  int count = site_input_count(site);
  for (int i = 0; i < count; i++)
    if ((*numbers)[i] >= 0)
      (*numbers)[i] =
          region_input(body, (*numbers)[i] ? fronted.rest->inputs[(*numbers)[i]] : fronted.front->inputs[fronted.main]);
  site->prologue = prologue_of(&fronted, body, arena, *numbers + count);
  site->region = node;
}
