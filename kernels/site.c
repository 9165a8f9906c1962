// Questions about a site's tensors, and the key under which its tuning result is remembered.
#include "kernels/site.h"

#include <string.h>
#include "base/text.h"
#include "kernels/control/region.h"
#include "kernels/packings.h"

bool site_refuse(const Site *site, const char *why) {
  if (site->refusal) *site->refusal = why;
  return false;
}

int64_t desc_count(const TensorDesc *desc) {
  int64_t count = 1;
  for (int i = 0; i < desc->rank; i++) count *= desc->dims[i];
  return count;
}

Extent desc_extent(const TensorDesc *desc, int axis) {
  bool known = desc->open && desc->open->dims[axis].now == desc->dims[axis];
  return known ? desc->open->dims[axis] : extent_static(desc->dims[axis]);
}

Extent desc_stride(const TensorDesc *desc, int axis) {
  bool known = desc->open && desc->open->strides[axis].now == desc->strides[axis];
  return known ? desc->open->strides[axis] : extent_static(desc->strides[axis]);
}

Extent desc_extent_in(const DimTable *table, const TensorDesc *desc, int axis) {
  return table ? desc_extent(desc, axis) : extent_static(desc->dims[axis]);
}

Extent desc_stride_in(const DimTable *table, const TensorDesc *desc, int axis) {
  return table ? desc_stride(desc, axis) : extent_static(desc->strides[axis]);
}

bool desc_is_open(const TensorDesc *desc) {
  for (int i = 0; i < desc->rank; i++)
    if (desc_extent(desc, i).open || desc_stride(desc, i).open) return true;
  return false;
}

bool site_is_open(const Site *site) {
  bool open = false;
  for (int i = 0; i < site_input_count(site) && site->dims; i++)
    open |= !site->inputs[i].absent && desc_is_open(&site->inputs[i]);
  for (int i = 0; i < site->node->output_count && site->dims; i++) open |= desc_is_open(&site->outputs[i]);
  return open;
}

TensorDesc desc_with_extent(Arena *arena, const TensorDesc *desc, int axis, Extent extent) {
  TensorDesc changed = *desc;
  changed.dims[axis] = extent.now;
  changed.constant = NULL;
  if (!desc->open) return changed;
  OpenDims *open = arena_copy(arena, desc->open, sizeof *desc->open);
  open->dims[axis] = extent;
  changed.open = open;
  return changed;
}

bool desc_same_dims(const TensorDesc *a, const TensorDesc *b) {
  bool same = a->rank == b->rank;
  for (int i = 0; i < a->rank && same; i++) same = a->dims[i] == b->dims[i];
  return same;
}

bool desc_has_order(const TensorDesc *desc, const uint8_t *order) {
  int64_t stride = 1;
  for (int i = desc->rank - 1; i >= 0; i--) {
    int axis = order[i];
    if (desc->dims[axis] == 1) continue;
    if (desc->strides[axis] != stride) return false;
    stride *= desc->dims[axis];
  }
  return true;
}

bool desc_is_row_major(const TensorDesc *desc) {
  static const uint8_t identity[MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
  return desc_has_order(desc, identity);
}

bool desc_is_channels_last(const TensorDesc *desc) {
  if (desc->rank < 3) return false;
  uint8_t order[MAX_RANK] = {0};
  for (int i = 2; i < desc->rank; i++) order[i - 1] = (uint8_t)i;
  order[desc->rank - 1] = 1;
  return desc_has_order(desc, order);
}

bool desc_is_dense(const TensorDesc *desc) {
  // Repeatedly finds the axis that continues the packed run so far.
  bool taken[MAX_RANK] = {0};
  int64_t stride = 1;
  for (int step = 0; step < desc->rank; step++) {
    int found = -1;
    for (int i = 0; i < desc->rank && found < 0; i++)
      if (!taken[i] && (desc->dims[i] == 1 || desc->strides[i] == stride)) found = i;
    if (found < 0) return false;
    taken[found] = true;
    stride *= desc->dims[found];
  }
  return true;
}

bool site_writes_whole(const Site *site) {
  for (int i = 0; site->outputs && i < site_step(site)->output_count; i++)
    if (site->outputs[i].offset || !desc_is_dense(&site->outputs[i])) return false;
  return true;
}

Value *site_operand(const Site *site, int index) {
  Value *value = site->node->inputs[index];
  for (int i = 0; site->region && i < site->region->input_count; i++)
    if (region_body(site->region)->inputs[i] == value) return site->region->inputs[i];
  return value;
}

size_t desc_bytes(const TensorDesc *desc) { return (size_t)desc_count(desc) * dtype_size(desc->dtype); }

static void add_desc(Text *text, const TensorDesc *desc) {
  if (desc->absent) {
    text_add(text, " -");
    return;
  }
  text_add(text, " %s%s[", desc->constant ? "const " : "", dtype_name(desc->dtype));
  for (int i = 0; i < desc->rank; i++)
    text_add(text, "%s%lld:%lld", i ? "," : "", (long long)desc->dims[i], (long long)desc->strides[i]);
  text_add(text, "]");
  // What element 0 is aligned to: vector accesses depend on it.
  size_t bytes = (size_t)desc->offset * dtype_size(desc->dtype) % 16;
  if (bytes) text_add(text, "@%zu", bytes);
}

static void add_tensor(Text *text, const Tensor *tensor) {
  text_add(text, "%s", dtype_name(tensor->dtype));
  for (int i = 0; i < tensor->rank; i++) text_add(text, ",%lld", (long long)tensor->dims[i]);
}

static void add_attribute(Text *text, const Graph *graph, const Attribute *attribute);

// In the order of the operator's row, so that the order in which they were set does not matter.
static void add_meaning(Text *text, const Node *node) {
  text_add(text, "%s", node->op->name);
  for (const AttributeSpec *spec = node->op->attributes; spec && spec->name; spec++) {
    const Attribute *attribute = node_attribute(node, spec->name);
    if (attribute) add_attribute(text, node->graph, attribute);
  }
}

static void add_operand(Text *text, const Value *value, const int *number) {
  if (!value) text_add(text, " -");
  else if (value->constant) text_add(text, " const %016llx", (unsigned long long)tensor_content_hash(value->constant).low);
  else text_add(text, " %%%d", number[value->id]);
}

// Bodies are equal whatever their values are called: those are counted.
static void add_body(Text *text, const Graph *body) {
  int *number = arena_array(text->arena, int, (size_t)body->next_value_id + 1), count = 0;
  for (int i = 0; i < body->input_count; i++) number[body->inputs[i]->id] = ++count;
  FOR_NODES(node, body) {
    text_add(text, " {");
    add_meaning(text, node);
    for (int i = 0; i < node->input_count; i++) add_operand(text, node->inputs[i], number);
    for (int i = 0; i < node->output_count; i++) {
      number[node->outputs[i]->id] = ++count;
      text_add(text, " -> %s", dtype_name(node->outputs[i]->dtype));
    }
    text_add(text, "}");
  }
  for (int i = 0; i < body->output_count; i++) add_operand(text, body->outputs[i], number);
}

static void add_attribute(Text *text, const Graph *graph, const Attribute *attribute) {
  text_add(text, " %s=", attribute->name);
  for (int i = 0; i < attribute->count; i++) {
    switch (attribute->kind) {
      case ATTR_INTS: text_add(text, "%lld,", (long long)attribute->ints[i]); break;
      case ATTR_FLOATS: text_add(text, "%a,", attribute->floats[i]); break;
      case ATTR_STRINGS: text_add(text, "'%s',", attribute->strings[i]); break;
      case ATTR_DIMS: dim_print(text, graph->dims, attribute->dims[i]), text_add(text, ","); break;
      default: break;
    }
  }
  switch (attribute->kind) {
    case ATTR_STRING: text_add(text, "'%s'", attribute->string); break;
    case ATTR_PROGRAM: program_print(text, attribute->program); break;
    case ATTR_GRAPH: add_body(text, attribute->graph); break;
    case ATTR_TENSOR: add_tensor(text, attribute->tensor); break;
    default: break;
  }
}

char *site_key(const Site *site, Arena *arena) {
  const Node *node = site->node;
  Text text = text_new(arena);
  add_meaning(&text, node);
  for (int i = 0; i < site_input_count(site); i++) add_desc(&text, &site->inputs[i]);
  text_add(&text, " ->");
  for (int i = 0; i < node->output_count; i++) add_desc(&text, &site->outputs[i]);
  if (site->epilogue) {
    text_add(&text, " epilogue %d ", node->input_count);
    program_print(&text, site->epilogue);
  }
  if (site->prologue) {
    text_add(&text, " prologue %d ", site_prologue_input(site, 1));
    program_print(&text, site->prologue);
  }
  if (site->tf32) text_add(&text, " tf32");
  return arena_string(arena, text_get(&text));
}
