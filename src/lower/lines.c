// See lines.h. A concatenation gets a line where at most one of its operands must be copied into it: then it takes no more launches than a concatenation of its own, and
// moves less. Nothing else may become slower for it: whoever reads or writes a part finds the same alignment as in memory of its own, and no view of it would take a copy.
#include "lower/lines.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/fused.h"
#include "kernels/gather/gather.h"
#include "kernels/view/view.h"

enum { WIDEST_ACCESS = 16, LONGEST_CHAIN = 8, MOST_READERS = 128 };

struct Lines {
  Arena *arena;
  IntMap *places;  // by value id
};

typedef struct Place {
  Line *line;
  int64_t at;
  bool joined;  // it is a concatenation of what lies there
} Place;

// An operand of a concatenation: `width` from `start` on of what a step makes, which is to lie `at` behind the concatenation's own place.
typedef struct Part {
  const Value *root;
  int64_t start, at, width;
} Part;

static const Place *place_of(const Lines *lines, const Value *value) { return int_map_get(lines->places, value->id); }

static Line *find(const Lines *lines, const Value *value, bool joined, int64_t *at) {
  const Place *place = place_of(lines, value);
  if (!place || place->joined != joined) return NULL;
  *at = place->at;
  return place->line;
}

Line *lines_of(const Lines *lines, const Value *value, int64_t *at) { return find(lines, value, false, at); }
Line *lines_joined(const Lines *lines, const Value *value, int64_t *at) { return find(lines, value, true, at); }

static void add(Lines *lines, const Value *value, Place place) {
  int_map_set(lines->places, value->id, arena_copy(lines->arena, &place, sizeof place));
}

void lines_add(Lines *lines, const Value *value, Line *line, int64_t at) { add(lines, value, (Place){line, at, false}); }

void line_layout(const Line *line, int64_t *dims, int64_t *strides) {
  value_get_dims(line->like, dims);
  dims[line->axis] = line->high - line->low;
  order_strides(line->like->rank, dims, line->like->order, strides);
}

// ---- who may lie in one --------------------------------------------------------------------------------------------------------

static bool writes_anywhere(const Node *node, const DeviceInfo *device) {
  const OpDef *op = fused_core(node)->op;
  for (int i = 0; implementations[i]; i++) {
    const Implementation *implementation = implementations[i];
    bool here = (implementation->backend == BACKEND_CPU) == (device->kind == DEVICE_CPU);
    if (here && implementation->writes_anywhere && implementation->op == op) return true;
  }
  return false;
}

typedef struct Readers {
  const DeviceInfo *device;
  int left;       // that are still looked at
  bool reshaped;  // one of them is a reshape
} Readers;

// Whether all readers, through views too, take elements from wherever they lie, and none is a caller.
static bool reads_anywhere(const Value *value, Readers *readers) {
  if (value->is_output) return false;
  for (const Use *use = value->uses; use; use = use->next) {
    const Node *node = use->node;
    ViewMap map = {0};
    if (readers->left-- <= 0) return false;
    if (node->op->view) node->op->view(node, &map);
    readers->reshaped |= map.regroups;
    if (node->op->view ? !reads_anywhere(node->outputs[0], readers) : !writes_anywhere(node, readers->device)) return false;
  }
  return true;
}

// Of the same size in every call, with elements, and not so many that a line of a few could not be counted.
static bool has_plain_type(const Value *value) {
  const int64_t most = (int64_t)1 << 40;
  int64_t dims[MAX_RANK], count = 1;
  if (value->open || value->kind != VALUE_TENSOR || !value_get_dims(value, dims)) return false;
  for (int i = 0; i < value->rank && count; i++) count = dims[i] > most / count ? 0 : count * dims[i];
  return count > 0 && value->dtype != DTYPE_STRING && dtype_kind(value->dtype) != KIND_COMPLEX;
}

// Elements from one place along the axis to the next, in memory of this order.
static int64_t elements_inside(const Value *value, int axis) {
  int64_t count = 1;
  for (int i = value->rank - 1; i >= 0 && value->order[i] != axis; i--) count *= value->dims[value->order[i]];
  return count;
}

// The widest access that neighbours allow where the value's rows begin at multiples of this many bytes.
static int64_t access_of(int64_t bytes) {
  int64_t access = WIDEST_ACCESS;
  while (bytes % access) access /= 2;
  return access;
}

static int64_t bytes_along(const Value *value, int axis) {
  return elements_inside(value, axis) * (int64_t)dtype_size(value->dtype);
}

// Whether at this place the value's rows begin as aligned as in memory of its own.
static bool is_aligned(const Line *line, const Value *value, int64_t at) {
  int64_t each = bytes_along(value, line->axis), access = access_of(each * value->dims[line->axis]);
  int64_t wide = each * line->like->dims[line->axis];
  return each * at % access == 0 && (!line->exact || wide % access == 0);
}

static bool may_lie(const Line *line, const Value *root, int64_t at, const DeviceInfo *device) {
  const Node *producer = root->producer;
  Readers readers = {device, MOST_READERS, false};
  if (!producer || producer->op->view || producer->op->is_list || producer->op->is_control || !has_plain_type(root))
    return false;
  if (memcmp(root->order, line->like->order, (size_t)root->rank) || !writes_anywhere(producer, device)) return false;
  return reads_anywhere(root, &readers) && !readers.reshaped && is_aligned(line, root, at);
}

// ---- one concatenation ---------------------------------------------------------------------------------------------------------

// Along the axis, whole along all others; what it is cut from.
static const Value *cut_from(const Node *slice, int axis, int64_t *start) {
  int count;
  const Value *x = slice->inputs[0];
  const Dim *starts = node_dims(slice, "starts", &count);
  const int64_t *steps = node_ints(slice, "steps", &count);
  for (int i = 0; i < count; i++)
    if (steps[i] != 1 || !dim_is_static(starts[i]) || (i != axis && x->dims[i] != slice->outputs[0]->dims[i])) return NULL;
  *start += starts[axis];
  return x;
}

static Part part_of(const Value *operand, int axis, int64_t at) {
  Part part = {operand, 0, at, operand->dims[axis]};
  for (int i = 0; i < LONGEST_CHAIN && part.root->producer && part.root->producer->op == &op_slice; i++) {
    int64_t start = part.start;
    const Value *x = cut_from(part.root->producer, axis, &start);
    if (!x) break;
    part.root = x;
    part.start = start;
  }
  return part;
}

// Whether nothing lies there yet, and no operand but number `own` is to.
static bool is_free(const Line *line, const Part *parts, int count, int own, int64_t base, int64_t at, int64_t width) {
  for (int i = 0; i < line->count; i++)
    if (at < line->cells[i].at + line->cells[i].width && line->cells[i].at < at + width) return false;
  for (int i = 0; i < count; i++)
    if (i != own && at < base + parts[i].at + parts[i].width && base + parts[i].at < at + width) return false;
  return true;
}

static bool add_cell(Line *line, const Value *value, int64_t at, int64_t width) {
  if (line->count == LINE_CELLS || (line->exact && (at < 0 || at + width > line->like->dims[line->axis]))) return false;
  line->cells[line->count++] = (LineCell){value, at, width};
  return true;
}

// Puts an operand into the line, whose concatenation lies at `base`. *copied: it must be copied there; false: it cannot even be.
static bool put(const Lines *lines, Line *line, const Part *parts, int count, int own, int64_t base, const DeviceInfo *device,
                bool *copied) {
  const Part *part = &parts[own];
  const Place *place = place_of(lines, part->root);
  int64_t at = base + part->at - part->start;
  *copied = place && (place->line != line || place->at != at);
  if (place && !*copied) return true;
  int64_t width = part->root->dims[line->axis];
  if (!place && is_free(line, parts, count, own, base, at, width) && may_lie(line, part->root, at, device) &&
      add_cell(line, part->root, at, width))
    return true;
  *copied = true;
  at = base + part->at;
  return is_free(line, parts, count, own, base, at, part->width) && add_cell(line, NULL, at, part->width);
}

// The line that one of them is in already, with the concatenation's place in it; NULL where none is.
static Line *known_line(const Lines *lines, const Part *parts, int count, int64_t *base) {
  for (int i = 0; i < count; i++) {
    const Place *place = place_of(lines, parts[i].root);
    if (!place) continue;
    *base = place->at + parts[i].start - parts[i].at;
    return place->line;
  }
  *base = 0;
  return NULL;
}

// An axis is as many places longer as it takes to begin and end on whole accesses.
static void widen(Line *line, int64_t low, int64_t high) {
  int64_t each = bytes_along(line->like, line->axis), places = WIDEST_ACCESS / MIN(access_of(each), WIDEST_ACCESS);
  line->low = MIN(line->low, line->exact ? low : -(ceil_div(MAX(-low, 0), places) * places));
  line->high = MAX(line->high, line->exact ? high : ceil_div(MAX(high, 0), places) * places);
}

static void keep(Lines *lines, Line *line, int first_cell, const Value *whole, int64_t base) {
  widen(line, base, base + whole->dims[line->axis]);
  for (int i = first_cell; i < line->count; i++) {
    const LineCell *cell = &line->cells[i];
    widen(line, cell->at, cell->at + cell->width);
    if (cell->value) lines_add(lines, cell->value, line, cell->at);
  }
  add(lines, whole, (Place){line, base, true});
}

static int read_parts(const Node *concat, int axis, Part *parts) {
  int count = 0;
  int64_t at = 0;
  for (int i = 0; i < concat->input_count; i++) {
    const Value *operand = concat->inputs[i];
    if (operand->dims[axis]) parts[count++] = part_of(operand, axis, at);
    at += operand->dims[axis];
  }
  return count;
}

static bool is_typed(const Node *concat) {
  if (concat->op != &op_concat || concat->input_count > LINE_CELLS || !has_plain_type(concat->outputs[0])) return false;
  for (int i = 0; i < concat->input_count; i++)
    if (concat->inputs[i]->open || !value_is_static(concat->inputs[i])) return false;
  return true;
}

static void find_line(Lines *lines, const Node *concat, const DeviceInfo *device) {
  const Value *whole = concat->outputs[0];
  Readers readers = {device, MOST_READERS, false};
  Part parts[LINE_CELLS];
  int64_t base;
  if (!is_typed(concat) || !reads_anywhere(whole, &readers)) return;
  int axis = (int)node_int(concat, "axis", 0), count = read_parts(concat, axis, parts), copies = 0;
  Line *line = known_line(lines, parts, count, &base);
  if (line && (readers.reshaped || line->exact || line->axis != axis)) return;
  if (!line) {
    line = arena_new_of(lines->arena, Line);
    *line = (Line){.like = whole, .axis = axis, .exact = readers.reshaped, .buffer = -1};
  }
  bool fits = !memcmp(line->like->order, whole->order, (size_t)whole->rank) && is_aligned(line, whole, base);
  int before = line->count;
  for (int i = 0; i < count && fits; i++) {
    bool copied;
    fits = put(lines, line, parts, count, i, base, device, &copied) && (copies += copied) <= 1;
  }
  if (fits && copies < count) keep(lines, line, before, whole, base);
  else line->count = before;
}

Lines *lines_find(const Graph *graph, const DeviceInfo *device, Arena *arena) {
  Lines *lines = arena_new_of(arena, Lines);
  *lines = (Lines){arena, int_map_new(arena)};
  FOR_NODES(node, graph) find_line(lines, node, device);
  return lines;
}
