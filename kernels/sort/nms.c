// nms: for each batch and class, boxes in descending order of score, leaving out those that overlap an already chosen one by
// more than a threshold. boxes[N,B,4] are two corners (y1, x1, y2, x2, in either order) or, with center_point_box, (x, y,
// width, height); scores[N,C,B]. Each row of the result is batch, class, box. Without a maximum nothing is chosen.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/budget.h"
#include "kernels/meaning.h"
#include "kernels/sort/sort.h"

static Status infer_nms(Node *node) {
  Value *boxes, *scores;
  Dim same;
  TRY(meaning_require_rank(node, 0, 3, &boxes));
  TRY(meaning_require_rank(node, 1, 3, &scores));
  if (!dtype_is_float(boxes->dtype) || !dtype_is_float(scores->dtype))
    FAIL(ERROR_INVALID_MODEL, "boxes and scores must be floats");
  TRY(meaning_same_dim(node, "batches", boxes->dims[0], scores->dims[0], &same));
  TRY(meaning_same_dim(node, "boxes", boxes->dims[1], scores->dims[2], &same));
  TRY(meaning_same_dim(node, "box coordinates", boxes->dims[2], 4, &same));
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

static int compare_scores(const void *a, const void *b, void *context) {
  const double *scores = context;
  int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
  if (scores[i] != scores[j]) return scores[i] > scores[j] ? -1 : 1;
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

static Status reference_nms(Reference *r) {
  const Tensor *scores = r->inputs[1], *most = reference_input(r, 2), *overlap = reference_input(r, 3),
               *score = reference_input(r, 4);
  int64_t batches = scores->dims[0], classes = scores->dims[1], boxes = scores->dims[2], found = 0;
  if (r->inputs[0]->dims[0] != batches || r->inputs[0]->dims[1] != boxes || r->inputs[0]->dims[2] != 4)
    FAIL(ERROR_INVALID_MODEL, "boxes and scores do not match");
  NmsCall call = {.boxes = boxes,
                  .most = most && tensor_count(most) ? MIN(MAX(tensor_get_i(most, 0), 0), boxes) : 0,
                  .centred = node_int(r->node, "center_point_box", 0) != 0,
                  .limited = score && tensor_count(score)};
  if (overlap && tensor_count(overlap)) call.overlap = tensor_get_f(overlap, 0);
  if (call.limited) call.score = tensor_get_f(score, 0);
  const double *box_data, *score_data;
  void *memory, *rows;
  TRY(reference_doubles(r, r->inputs[0], &box_data));
  TRY(reference_doubles(r, scores, &score_data));
  TRY(reference_scratch(r, sizeof(int64_t), 2 * boxes, &memory));
  TRY(reference_scratch(r, 3 * sizeof(int64_t), batches * classes * call.most, &rows));
  call.order = memory;
  call.chosen = call.order + boxes;
  int64_t *to = rows;
  for (int64_t n = 0; n < batches; n++)
    for (int64_t c = 0; c < classes; c++) {
      int64_t count = choose(&call, box_data + n * boxes * 4, score_data + (n * classes + c) * boxes);
      for (int64_t i = 0; i < count; i++, found++) {
        *to++ = n;
        *to++ = c;
        *to++ = call.chosen[i];
      }
    }
  Tensor *out;
  TRY(reference_output(r, 0, DTYPE_I64, 2, (int64_t[]){found, 3}, &out));
  memcpy(out->data, rows, (size_t)found * 3 * sizeof(int64_t));
  return OK;
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
};
