// nms: for each batch and class, boxes in descending order of score, leaving out those that overlap an already chosen one by
// more than a threshold. boxes[N,B,4] are two corners (y1, x1, y2, x2, in either order) or, with center_point_box, (x, y,
// width, height); scores[N,C,B]. Each row of the result is batch, class, box. Without a maximum nothing is chosen.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/budget.h"
#include "kernels/meaning.h"
#include "kernels/sort/reserved.h"
#include "kernels/sort/sort.h"

static Status require_boxes(const Node *node, Value **scores) {
  Value *boxes;
  Dim same;
  TRY(meaning_require_rank(node, 0, 3, &boxes));
  TRY(meaning_require_rank(node, 1, 3, scores));
  if (!dtype_is_float(boxes->dtype) || !dtype_is_float((*scores)->dtype))
    FAIL(ERROR_INVALID_MODEL, "boxes and scores must be floats");
  TRY(meaning_same_dim(node, "batches", boxes->dims[0], (*scores)->dims[0], &same));
  TRY(meaning_same_dim(node, "boxes", boxes->dims[1], (*scores)->dims[2], &same));
  return meaning_same_dim(node, "box coordinates", boxes->dims[2], 4, &same);
}

static Status infer_nms(Node *node) {
  Value *scores;
  TRY(require_boxes(node, &scores));
  value_set_type(node->outputs[0], DTYPE_I64, 2, (Dim[]){meaning_data_dim(node, 0, DTYPE_I64, 2, 0, "chosen"), 3});
  return OK;
}

typedef struct Box {
  double y1, x1, y2, x2;
} Box;

static Box read_box(const double *values, bool centred) {
  if (centred)
    return (Box){values[1] - values[3] / 2, values[0] - values[2] / 2, values[1] + values[3] / 2, values[0] + values[2] / 2};
  return (Box){fmin(values[0], values[2]), fmin(values[1], values[3]), fmax(values[0], values[2]), fmax(values[1], values[3])};
}

static bool overlaps(Box a, Box b, double threshold) {
  double height = fmin(a.y2, b.y2) - fmax(a.y1, b.y1), width = fmin(a.x2, b.x2) - fmax(a.x1, b.x1);
  double area_a = (a.y2 - a.y1) * (a.x2 - a.x1), area_b = (b.y2 - b.y1) * (b.x2 - b.x1);
  if (height <= 0 || width <= 0 || area_a <= 0 || area_b <= 0) return false;
  double shared = height * width, all = area_a + area_b - shared;
  return all > 0 && shared / all > threshold;
}

// What is no number is as bad as can be.
static double score_of(const double *scores, int64_t i) { return isnan(scores[i]) ? -INFINITY : scores[i]; }

static int compare_scores(const void *a, const void *b, void *context) {
  int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
  double x = score_of(context, i), y = score_of(context, j);
  if (x != y) return x > y ? -1 : 1;
  return (i > j) - (i < j);
}

typedef struct NmsCall {
  int64_t boxes, most;
  bool centred, limited;
  double overlap, score;
  int64_t *order, *chosen;
} NmsCall;

// Chooses among the boxes of one class; returns how many are in call->chosen.
static int64_t choose(const NmsCall *call, const double *boxes, const double *scores) {
  int64_t candidates = 0, count = 0;
  for (int64_t i = 0; i < call->boxes; i++)
    if (!call->limited || scores[i] > call->score) call->order[candidates++] = i;
  qsort_r(call->order, (size_t)candidates, sizeof *call->order, compare_scores, (void *)scores);
  for (int64_t i = 0; i < candidates && count < call->most; i++) {
    budget_step((uint64_t)count * 8 + 8);
    Box box = read_box(boxes + 4 * call->order[i], call->centred);
    bool keep = true;
    for (int64_t k = 0; k < count && keep; k++)
      keep = !overlaps(box, read_box(boxes + 4 * call->chosen[k], call->centred), call->overlap);
    if (keep) call->chosen[count++] = call->order[i];
  }
  return count;
}

// Rows of batch, class and box: those chosen.
typedef struct NmsResult {
  int64_t *rows, count;
} NmsResult;

static double scalar_operand(const Tensor *tensor) { return tensor && tensor_count(tensor) ? tensor_get_f(tensor, 0) : 0; }

// room: for so many of each class.
static Status choose_all(Reference *r, int64_t room, NmsResult *result) {
  const Tensor *scores = r->inputs[1], *most = reference_input(r, 2), *overlap = reference_input(r, 3),
               *score = reference_input(r, 4);
  int64_t batches = scores->dims[0], classes = scores->dims[1], boxes = scores->dims[2];
  if (r->inputs[0]->dims[0] != batches || r->inputs[0]->dims[1] != boxes || r->inputs[0]->dims[2] != 4)
    FAIL(ERROR_INVALID_MODEL, "boxes and scores do not match");
  NmsCall call = {.boxes = boxes,
                  .most = most && tensor_count(most) ? MIN(MIN(MAX(tensor_get_i(most, 0), 0), boxes), room) : 0,
                  .centred = node_int(r->node, "center_point_box", 0) != 0,
                  .limited = score && tensor_count(score),
                  .overlap = scalar_operand(overlap),
                  .score = scalar_operand(score)};
  const double *box_data, *score_data;
  void *memory, *rows;
  TRY(reference_doubles(r, r->inputs[0], &box_data));
  TRY(reference_doubles(r, scores, &score_data));
  TRY(reference_scratch(r, sizeof(int64_t), 2 * boxes, &memory));
  TRY(reference_scratch(r, 3 * sizeof(int64_t), batches * classes * call.most, &rows));
  call.order = memory;
  call.chosen = call.order + boxes;
  *result = (NmsResult){.rows = rows};
  for (int64_t n = 0; n < batches; n++)
    for (int64_t c = 0; c < classes; c++) {
      int64_t count = choose(&call, box_data + n * boxes * 4, score_data + (n * classes + c) * boxes);
      for (int64_t i = 0; i < count; i++) {
        int64_t *row = result->rows + 3 * result->count++;
        row[0] = n;
        row[1] = c;
        row[2] = call.chosen[i];
      }
    }
  return OK;
}

static Status reference_nms(Reference *r) {
  NmsResult result;
  TRY(choose_all(r, INT64_MAX, &result));
  Tensor *out;
  TRY(reference_output(r, 0, DTYPE_I64, 2, (int64_t[]){result.count, 3}, &out));
  memcpy(out->data, result.rows, (size_t)result.count * 3 * sizeof(int64_t));
  return OK;
}

// ---- into reserved memory ----------------------------------------------------------------------------------------------------

static int64_t room_of(const Node *node) { return MAX(node_int(node, "room", 0), 0); }

static Status infer_nms_reserved(Node *node) {
  Value *scores;
  TRY(require_boxes(node, &scores));
  DimTable *dims = node->graph->dims;
  Dim classes = dim_mul(dims, scores->dims[0], scores->dims[1]);
  Dim most = dim_make(dims, DIM_MIN, scores->dims[2], meaning_const(node, room_of(node)));
  Dim room = dim_mul(dims, dim_mul(dims, classes, most), meaning_const(node, 3)), one = meaning_const(node, 1);
  value_set_type(node->outputs[0], DTYPE_I64, 1, &room);
  value_set_type(node->outputs[1], DTYPE_I64, 1, &one);
  return OK;
}

static Status reference_nms_reserved(Reference *r) {
  const Tensor *scores = r->inputs[1];
  int64_t room = scores->dims[0] * scores->dims[1] * MIN(room_of(r->node), scores->dims[2]) * 3;
  NmsResult result;
  TRY(choose_all(r, room_of(r->node), &result));
  return reserved_output(r, result.rows, result.count * 3, room, result.count);
}

const OpDef op_nms_reserved = {
    .name = "nms_reserved",
    .help = "boxes that do not overlap better ones, with room for all, and how many there are",
    .min_inputs = 2,
    .max_inputs = 5,
    .min_outputs = 2,
    .max_outputs = 2,
    .attributes = (const AttributeSpec[]){{"room", ATTR_INTS, true}, {"center_point_box", ATTR_INTS, false}, {0}},
    .infer = infer_nms_reserved,
    .reference = reference_nms_reserved,
    .exact_values = true,
};

// A maximum that is known in the run only may be all boxes.
static int64_t most_for_sure(const Node *node) {
  if (node->input_count < 3 || !node->inputs[2]) return 0;
  const Tensor *most = node->inputs[2]->constant;
  if (!most) return INT32_MAX;
  return tensor_count(most) ? MIN(MAX(tensor_get_i(most, 0), 0), INT32_MAX) : 0;
}

static Value *reserve_nms(Builder *b, const Node *node) {
  Node *reserved = graph_add(b->graph, b->at, &op_nms_reserved, node->input_count, node->inputs, 2);
  node_set_int(reserved, "room", most_for_sure(node));
  node_set_int(reserved, "center_point_box", node_int(node, "center_point_box", 0));
  return counted_of(b, build_finish(b, reserved), 3, 0);
}

const OpDef op_nms = {
    .name = "nms",
    .help = "boxes that do not overlap better ones",
    .min_inputs = 2,
    .max_inputs = 5,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"center_point_box", ATTR_INTS, false}, {0}},
    .infer = infer_nms,
    .reference = reference_nms,
    .data_dependent = true,
    .reserve = reserve_nms,
};
