// Builds and fills operator cases; see cases.h. The rows are in the folders' cases.inc.
#include "kernels/cases.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "ir/graph_text.h"
#include "ir/verify.h"
#include "kernels/random/random.h"

#define CASE(name, signature, nodes, fill, loose) {name, signature, nodes, fill, loose},
const OperatorCase operator_cases[] = {
#include "kernels/elementwise/cases.inc"
#include "kernels/rowwise/cases.inc"
#include "kernels/view/cases.inc"
#include "kernels/matmul/cases.inc"
#include "kernels/attention/cases.inc"
#include "kernels/conv/cases.inc"
#include "kernels/pool/cases.inc"
#include "kernels/common/edges.inc"
#include "kernels/gather/cases.inc"
#include "kernels/pad/cases.inc"
#include "kernels/resize/cases.inc"
#include "kernels/scan/cases.inc"
#include "kernels/sort/cases.inc"
#include "kernels/recurrent/cases.inc"
#include "kernels/fft/cases.inc"
#include "kernels/linear/cases.inc"
#include "kernels/random/cases.inc"
#include "kernels/control/cases.inc"
    {0},
};
#undef CASE

// How one input is filled.
typedef struct Fill {
  double low, high;
  bool distinct, constant;
  int axis, spacing;  // spacing: of edges, zeros between them; 0: none
} Fill;

static Fill default_fill(DType dtype) {
  switch (dtype_kind(dtype)) {
    case KIND_SIGNED: return dtype == DTYPE_I2 ? (Fill){-2, 1} : dtype == DTYPE_I4 ? (Fill){-8, 7} : (Fill){-8, 8};
    case KIND_UNSIGNED: return dtype == DTYPE_U2 ? (Fill){0, 3} : (Fill){0, 15};
    case KIND_BOOL: return (Fill){0, 1};
    default: return dtype == DTYPE_F8E8M0 ? (Fill){0.25, 4} : (Fill){-1, 1};
  }
}

// Finds "name in low high", "name distinct axis below" or "name edges spacing 0" among the parts of the row's fill.
static Status find_fill(const OperatorCase *row, const char *name, Fill *out) {
  for (const char *part = row->fill; *part; part += strspn(part, "; ")) {
    char found[64], word[16];
    double a, b;
    if (sscanf(part, "%63s %15s %lf %lf", found, word, &a, &b) != 4)
      FAIL(ERROR_INVALID_ARGUMENT, "case %s: cannot read '%s'", row->name, part);
    part += strcspn(part, ";");
    if (strcmp(found, name) != 0) continue;
    *out = strcmp(word, "distinct") == 0   ? (Fill){0, b, .distinct = true, .axis = (int)a}
           : strcmp(word, "edges") == 0    ? (Fill){.spacing = (int)a}
           : strcmp(word, "constant") == 0 ? (Fill){a, b, .constant = true}
                                           : (Fill){a, b};
  }
  return OK;
}

typedef struct Source {
  uint64_t seed, next;
  uint32_t words[4];
} Source;

static double next_uniform(Source *source) {
  if (source->next % 4 == 0) random_block(source->seed, source->next / 4, source->words);
  return random_uniform(source->words[source->next++ % 4]);
}

static void fill_distinct(Source *source, const Fill *fill, Arena *arena, Tensor *tensor) {
  int64_t below = (int64_t)fill->high, inner = 1, *numbers = arena_array(arena, int64_t, (size_t)below);
  for (int i = fill->axis + 1; i < tensor->rank; i++) inner *= tensor->dims[i];
  int64_t size = tensor->dims[fill->axis], lines = size ? tensor_count(tensor) / size : 0;
  for (int64_t line = 0; line < lines; line++) {
    for (int64_t i = 0; i < below; i++) numbers[i] = i;
    for (int64_t i = 0; i < size && i < below; i++) {
      int64_t other = i + (int64_t)(next_uniform(source) * (double)(below - i)), chosen = numbers[other];
      numbers[other] = numbers[i];
      numbers[i] = chosen;
      tensor_set_i(tensor, (line / inner * size + i) * inner + line % inner, chosen);
    }
  }
}

static void fill_edges(const Fill *fill, Tensor *tensor) {
  static const double edges[] = {
      NAN, INFINITY, -INFINITY, 0,     -0.0, FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MIN, -FLT_MIN, FLT_MAX, -FLT_MAX,
      1,   -1,       0.5,       -0.5,  3,    -3,           2.5,           -2.5,    6,        6.5,     -6.5,
      20,  -20,      88.7,      -88.7, 89,   -104,         1e10,          -1e10,   1e-6,     -1e-6};
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++)
    tensor_set_f(tensor, i, i % fill->spacing ? 0 : edges[(size_t)(i / fill->spacing) % COUNT_OF(edges)]);
}

static void fill_range(Source *source, const Fill *fill, Arena *arena, Tensor *tensor) {
  bool whole = !dtype_is_float(tensor->dtype) && dtype_kind(tensor->dtype) != KIND_COMPLEX;
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++) {
    double u = next_uniform(source);
    if (tensor->dtype == DTYPE_STRING) ((const char **)tensor->data)[i] = arena_printf(arena, "s%d", (int)(u * 10));
    else if (whole) tensor_set_i(tensor, i, (int64_t)fill->low + (int64_t)(u * (fill->high - fill->low + 1)));
    else if (fill->constant) tensor_set_f(tensor, i, rint((fill->low + u * (fill->high - fill->low)) * 64) / 64);
    else tensor_set_f(tensor, i, fill->low + u * (fill->high - fill->low));
  }
}

// Makes constants of the inputs that the row says are.
static Status make_constants(const OperatorCase *row, Arena *arena, Graph *graph) {
  Source source = {.seed = 1};
  int left = 0;
  for (int i = 0; i < graph->input_count; i++) {
    Value *value = graph->inputs[i];
    Fill fill = {0};
    TRY(find_fill(row, value->name, &fill));
    if (!fill.constant) {
      graph->inputs[left++] = value;
      continue;
    }
    int64_t dims[MAX_RANK];
    Tensor *tensor = arena_new_of(arena, Tensor);
    if (!value_get_dims(value, dims))
      FAIL(ERROR_INVALID_ARGUMENT, "case %s: constant '%s' is not static", row->name, value->name);
    TRY(tensor_new(arena, value->dtype, value->rank, dims, tensor));
    fill_range(&source, &fill, arena, tensor);
    value->constant = tensor;
    value->is_input = false;
  }
  graph->input_count = left;
  return OK;
}

Status operator_case_build(const OperatorCase *row, Arena *arena, const OpDef *const *ops, Graph **out) {
  Text text = text_new(arena);
  text_add(&text, "graph case%s {\n  %s\n}\n", row->signature, row->nodes);
  TRY(status_context(graph_parse(arena, ops, text_get(&text), text.length, NULL, 0, out), "case %s", row->name));
  TRY(make_constants(row, arena, *out));
  FOR_NODES(node, *out) TRY(status_context(node_infer(node), "case %s", row->name));
  return status_context(graph_verify(*out), "case %s", row->name);
}

Status operator_case_fill(const OperatorCase *row, const Graph *graph, Arena *arena, uint64_t seed, Tensor *inputs) {
  Source source = {.seed = seed};
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    int64_t dims[MAX_RANK];
    if (!value_get_dims(value, dims)) FAIL(ERROR_INVALID_ARGUMENT, "case %s: input '%s' is not static", row->name, value->name);
    Fill fill = default_fill(value->dtype);
    TRY(find_fill(row, value->name, &fill));
    TRY(tensor_new(arena, value->dtype, value->rank, dims, &inputs[i]));
    if (fill.spacing) fill_edges(&fill, &inputs[i]);
    else if (fill.distinct) fill_distinct(&source, &fill, arena, &inputs[i]);
    else fill_range(&source, &fill, arena, &inputs[i]);
  }
  return OK;
}

void operator_case_tolerance(const OperatorCase *row, DType dtype, double *rtol, double *atol) {
  switch (dtype) {
    case DTYPE_F64: *rtol = 1e-9, *atol = 1e-10; break;
    case DTYPE_F32: *rtol = 1e-4, *atol = 1e-5; break;
    case DTYPE_F16: *rtol = 2e-3, *atol = 1e-3; break;
    case DTYPE_BF16: *rtol = 1.6e-2, *atol = 8e-3; break;
    case DTYPE_C64: *rtol = 1e-4, *atol = 1e-5; break;
    default:
      if (dtype_is_float(dtype)) {
        *rtol = 0.13, *atol = 0.05;  // the 8- and 4-bit types
        break;
      }
      *rtol = 0, *atol = row->loose > 1 ? 1 : 0;
      return;
  }
  *rtol *= row->loose;
  *atol *= row->loose;
}
