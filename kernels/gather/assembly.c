// See assembly.h.
#include "kernels/gather/assembly.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/gather/gather.h"
#include "kernels/view/view.h"

bool assembly_joins(const Node *node) { return node && node->op == &op_concat && value_is_static(node->outputs[0]); }

bool assembly_cuts(const Node *node) {
  int count;
  if (!node || node->op != &op_slice || !value_is_static(node->outputs[0])) return false;
  const Dim *starts = node_dims(node, "starts", &count);
  const int64_t *steps = node_ints(node, "steps", &count);
  for (int i = 0; i < count; i++)
    if (steps[i] != 1 || !dim_is_static(starts[i])) return false;
  return true;
}

typedef struct Walk {
  bool (*ends)(const void *context, const Value *value);
  const void *context;
  AssemblyBox *out;
  int count;  // -1: too many
} Walk;

static void add_boxes(Walk *walk, const AssemblyBox *box);

static void add_cut(Walk *walk, const AssemblyBox *box) {
  const Node *slice = box->from->producer;
  int count;
  const Dim *starts = node_dims(slice, "starts", &count);
  AssemblyBox inner = *box;
  inner.from = slice->inputs[0];
  for (int i = 0; i < count; i++) inner.at[i] += starts[i];
  add_boxes(walk, &inner);
}

// Of each operand what lies in the box.
static void add_joined(Walk *walk, const AssemblyBox *box) {
  const Node *concat = box->from->producer;
  int axis = (int)node_int(concat, "axis", 0);
  int64_t begin = 0, low = box->at[axis], high = low + box->dims[axis];
  for (int i = 0; i < concat->input_count && walk->count >= 0; i++) {
    int64_t end = begin + concat->inputs[i]->dims[axis], first = MAX(begin, low), last = MIN(end, high);
    AssemblyBox inner = *box;
    inner.from = concat->inputs[i];
    inner.at[axis] = first - begin;
    inner.to[axis] += first - low;
    inner.dims[axis] = last - first;
    if (last > first) add_boxes(walk, &inner);
    begin = end;
  }
}

static void add_boxes(Walk *walk, const AssemblyBox *box) {
  const Node *producer = walk->ends(walk->context, box->from) ? NULL : box->from->producer;
  if (walk->count < 0) return;
  if (assembly_cuts(producer)) add_cut(walk, box);
  else if (assembly_joins(producer)) add_joined(walk, box);
  else if (walk->count == MOST_BOXES) walk->count = -1;
  else walk->out[walk->count++] = *box;
}

int assembly_boxes(const Value *whole, bool (*ends)(const void *context, const Value *value), const void *context,
                   AssemblyBox *out) {
  Walk walk = {ends, context, out, 0};
  AssemblyBox all = {.from = whole};
  value_get_dims(whole, all.dims);
  for (int i = 0; i < whole->rank; i++)
    if (!all.dims[i]) return 0;
  add_boxes(&walk, &all);
  return walk.count;
}
