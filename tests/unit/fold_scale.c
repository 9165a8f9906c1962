// Batch norms behind and in front of convolutions and products, with large means, tiny variances and biases, in every float type: what fold_scale makes of them must
// be as near to the exact result as the graph was before, but for the 2^-14 that the pass allows itself. And arithmetic that
// only looks like a shift is left alone.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/evaluate.h"
#include "base/text.h"
#include "ir/graph_text.h"
#include "passes/passes.h"
#include "kernels/ops.h"

enum { CHANNELS = 4, PIXELS = 9 };

static uint64_t state = 88172645463325252u;
static double uniform(double low, double high) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return low + (high - low) * (double)(state >> 11) * 0x1p-53;
}

typedef struct Problem {
  DType dtype;
  int groups;
  double mean_scale, variance;
} Problem;

static void add_values(Text *text, const char *name, DType dtype, const char *dims, int count, double low, double high) {
  text_add(text, "  const %%%s: %s[%s] = [", name, dtype_name(dtype), dims);
  for (int i = 0; i < count; i++) {
    uint64_t element;
    element_set_f(dtype, &element, uniform(low, high));
    text_add(text, "%s%.17g", i ? ", " : "", element_get_f(dtype, &element));
  }
  text_add(text, "]\n");
}

// conv, a bias, then (x - mean) * factor + beta, the factor 1 / sqrt(variance) times gamma.
static const char *problem_text(Arena *arena, const Problem *problem) {
  Text text = text_new(arena);
  const char *type = dtype_name(problem->dtype);
  DType wide = problem->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  int in = CHANNELS / problem->groups;
  double factor = 1 / sqrt(problem->variance);
  text_add(&text, "graph g(%%x: %s[1, %d, 3, 3]) -> (%%y) {\n", type, CHANNELS);
  add_values(&text, "w", problem->dtype, arena_printf(arena, "%d, %d, 1, 1", CHANNELS, in), CHANNELS * in, -1, 1);
  add_values(&text, "b", problem->dtype, "4, 1, 1", CHANNELS, -1, 1);
  add_values(&text, "m", wide, "4, 1, 1", CHANNELS, -problem->mean_scale, problem->mean_scale);
  add_values(&text, "s", wide, "4, 1, 1", CHANNELS, factor / 2, factor * 2);
  add_values(&text, "t", wide, "4, 1, 1", CHANNELS, -1, 1);
  text_add(&text, "  %%c: ?[?] = conv(%%x, %%w) {group: [%d]}\n", problem->groups);
  text_add(&text,
           "  %%d: ?[?] = elementwise(%%c, %%b) {program: program {%%0: %s = input 0; %%1: %s = input 1; %%2 = add %%0 %%1; "
           "yield %%2}}\n",
           type, type);
  const char *w = dtype_name(wide);
  text_add(&text,
           "  %%y: ?[?] = elementwise(%%d, %%m, %%s, %%t) {program: program {%%0: %s = input 0; %%1: %s = input 1; %%2 = sub "
           "%%0 %%1; %%3: %s = input 2; %%4 = mul %%2 %%3; %%5: %s = input 3; %%6 = add %%4 %%5; ",
           w, w, w, w);
  if (problem->dtype != wide) text_add(&text, "%%7: %s = cast %%6; yield %%7}}\n}\n", type);
  else text_add(&text, "yield %%6}}\n}\n");
  return text_get(&text);
}

static Graph *parse(Arena *arena, const char *text) {
  Graph *graph = NULL;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert(!status, "%s\n%s", status_message(status), text);
  FOR_NODES(node, graph) {
    status = node_infer(node);
    cr_assert(!status, "%s\n%s", status_message(status), text);
  }
  return graph;
}

static const Tensor *constant(const Graph *graph, const char *name) { return graph_find_value(graph, name)->constant; }

// The exact result, and how far a rounding of the products may move it: the pass's bound, in units of the result.
static double exact(const Graph *graph, const Problem *problem, const Tensor *x, int channel, int pixel, double *allowed) {
  int in = CHANNELS / problem->groups, first = channel / (CHANNELS / problem->groups) * in;
  double sum = 0, scale = tensor_get_f(constant(graph, "s"), channel), weights = 0;
  for (int k = 0; k < in; k++) {
    double w = tensor_get_f(constant(graph, "w"), channel * in + k);
    sum += w * tensor_get_f(x, (first + k) * PIXELS + pixel);
    weights += fabs(w);
  }
  *allowed = 0x1p-14 * scale * weights;
  double centred = sum + tensor_get_f(constant(graph, "b"), channel) - tensor_get_f(constant(graph, "m"), channel);
  return centred * scale + tensor_get_f(constant(graph, "t"), channel);
}

static Tensor result_of(Graph *graph, Arena *arena, const Tensor *x) {
  Tensor y;
  evaluate(graph, arena, x, &y);
  return y;
}

// Returns whether the pass folded.
static bool check(const Problem *problem) {
  Arena *arena = arena_new();
  const char *text = problem_text(arena, problem);
  Graph *plain = parse(arena, text), *folded = parse(arena, text);
  PassOptions options = {.device = DEVICE_CPU, .precision = DTYPE_COUNT, .verify = true};
  Status status = passes_run_named(folded, "fold_scale", &options);
  cr_assert(!status, "%s", status_message(status));
  Tensor x;
  cr_assert(!tensor_new(arena, problem->dtype, 4, (int64_t[]){1, CHANNELS, 3, 3}, &x));
  for (int i = 0; i < CHANNELS * PIXELS; i++) tensor_set_f(&x, i, uniform(-2, 2));
  Tensor before = result_of(plain, arena, &x), after = result_of(folded, arena, &x);
  for (int i = 0; i < CHANNELS * PIXELS; i++) {
    double allowed, right = exact(plain, problem, &x, i / PIXELS, i % PIXELS, &allowed);
    double error = fabs(tensor_get_f(&after, i) - right), error_before = fabs(tensor_get_f(&before, i) - right);
    uint64_t unit;
    element_set_f(problem->dtype, &unit, right);
    double rounding = fabs(element_get_f(problem->dtype, &unit) - right);
    cr_assert(error <= allowed + 2 * error_before + 2 * rounding, "%s mean %g variance %g: %g is %g from %g, was %g",
              dtype_name(problem->dtype), problem->mean_scale, problem->variance, tensor_get_f(&after, i), error, right,
              error_before);
  }
  bool changed = folded->node_count < plain->node_count;
  arena_free(arena);
  return changed;
}

Test(fold_scale, results_stay) {
  static const DType dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_BF16};
  static const double means[] = {0, 1, 100, 1e3, 1e5, 1e8}, variances[] = {1e-12, 1e-3, 1, 1e6};
  int folded = 0, folded_narrow = 0;
  for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
    for (size_t m = 0; m < sizeof means / sizeof *means; m++)
      for (size_t v = 0; v < sizeof variances / sizeof *variances; v++)
        for (int groups = 1; groups <= CHANNELS; groups *= 2) {
          bool changed = check(&(Problem){dtypes[d], groups, means[m], variances[v]});
          folded += changed && d < 2;
          folded_narrow += changed && d >= 2;
          if (dtypes[d] == DTYPE_F32 && means[m] <= 1) cr_expect(changed, "an ordinary batch norm was not folded");
          if (dtypes[d] == DTYPE_F32 && means[m] >= 1e5) cr_expect(!changed, "a mean of %g was folded", means[m]);
        }
  cr_expect_gt(folded, 0);
  cr_expect_eq(folded_narrow, 0, "weights of 16 bits were rounded again");
}

// ---- Other kernels, other anchors, and batch norms in front of them, through the pass alone and through the pipeline

typedef enum Anchor { KERNEL_3X3, TRANSPOSED, PRODUCT, NORM_BEFORE, NORM_RELU_BEFORE, ANCHORS } Anchor;
static const char *const anchor_names[] = {"3x3", "transposed", "product", "norm before", "norm and relu before"};

typedef struct Around {
  Anchor anchor;
  DType dtype;
  double mean_scale, variance;
} Around;

static void add_norm(Text *text, const char *type, const char *to, const char *from) {
  text_add(
      text,
      "  %%%s: ?[?] = elementwise(%%%s, %%m, %%s, %%t) {program: program {%%0: f32 = input 0; %%1: f32 = input 1; %%2 = sub "
      "%%0 %%1; %%3: f32 = input 2; %%4 = mul %%2 %%3; %%5: f32 = input 3; %%6 = add %%4 %%5; ",
      to, from);
  if (strcmp(type, "f32")) text_add(text, "%%7: %s = cast %%6; yield %%7}}\n", type);
  else text_add(text, "yield %%6}}\n");
}

static void add_anchor(Text *text, Anchor anchor, const char *to, const char *from) {
  static const char *const attributes[] = {"{pads: [1, 1, 1, 1]}", "{pads: [1, 1, 1, 1], strides: [2, 2]}", "",
                                           "{pads: [1, 1, 1, 1]}", "{pads: [1, 1, 1, 1]}"};
  const char *op = anchor == TRANSPOSED ? "conv_transpose" : anchor == PRODUCT ? "matmul" : "conv";
  text_add(text, "  %%%s: ?[?] = %s(%%%s, %%w) %s\n", to, op, from, attributes[anchor]);
}

static char *around_text(Arena *arena, const Around *around) {
  Text text = text_new(arena);
  bool product = around->anchor == PRODUCT;
  const char *type = dtype_name(around->dtype), *vector = product ? "4" : "4, 1, 1";
  double factor = 1 / sqrt(around->variance);
  text_add(&text, "graph g(%%x: %s[%s]) -> (%%y) {\n", type, product ? "9, 4" : "1, 4, 3, 3");
  add_values(&text, "w", around->dtype, product ? "4, 4" : "4, 4, 3, 3", product ? 16 : 144, -1, 1);
  add_values(&text, "m", DTYPE_F32, vector, CHANNELS, -around->mean_scale, around->mean_scale);
  add_values(&text, "s", DTYPE_F32, vector, CHANNELS, factor / 2, factor * 2);
  add_values(&text, "t", DTYPE_F32, vector, CHANNELS, -1, 1);
  if (around->anchor >= NORM_BEFORE) {
    bool relu = around->anchor == NORM_RELU_BEFORE;
    add_norm(&text, type, "n", "x");
    if (relu)
      text_add(&text, "  %%r: ?[?] = elementwise(%%n) {program: program {%%0: %s = input 0; %%1 = relu %%0; yield %%1}}\n",
               type);
    add_anchor(&text, around->anchor, "y", relu ? "r" : "n");
  } else {
    add_anchor(&text, around->anchor, "c", "x");
    add_norm(&text, type, "y", "c");
  }
  text_add(&text, "}\n");
  return (char *)text_get(&text);
}

// The same graph in doubles: its constants are written to the last digit.
static const char *in_doubles(Arena *arena, const char *text) {
  static const char *const types[] = {": f32", ": f16", ": bf16"};
  Text out = text_new(arena);
  while (*text) {
    size_t length = 0;
    for (int i = 0; i < 3; i++)
      if (!strncmp(text, types[i], strlen(types[i]))) length = strlen(types[i]);
    if (length) text_add(&out, ": f64");
    else text_add(&out, "%c", *text);
    text += length ? length : 1;
  }
  return text_get(&out);
}

static void run_passes(Graph *graph, bool pipeline) {
  PassOptions options = {.device = DEVICE_CPU, .precision = DTYPE_COUNT, .verify = true};
  Status status = pipeline ? passes_run(graph, &options, NULL, 0, NULL) : passes_run_named(graph, "fold_scale", &options);
  cr_assert(!status, "%s", status_message(status));
}

static double worst(const Tensor *y, const Tensor *right) {
  double most = 0;
  for (int64_t i = 0; i < tensor_count(right); i++) most = fmax(most, fabs(tensor_get_f(y, i) - tensor_get_f(right, i)));
  return most;
}

// The pass's bound in units of the result, where the norm stands behind; in front of the anchor nothing may change.
static double allowed_around(const Graph *graph, const Around *around) {
  double weights = 0, scale = 0;
  const Tensor *w = constant(graph, "w");
  if (around->dtype != DTYPE_F32) return 0;  // nothing is folded
  for (int64_t i = 0; i < tensor_count(w); i++) weights += fabs(tensor_get_f(w, i));
  for (int i = 0; i < CHANNELS; i++) scale = fmax(scale, tensor_get_f(constant(graph, "s"), i));
  return 0x1p-14 * scale * weights / CHANNELS;
}

static const Tensor *weights_of(const Graph *graph) {
  FOR_NODES(node, graph)
  if (node->input_count > 1 && strcmp(node->op->name, "elementwise")) return node->inputs[1]->constant;
  return NULL;
}

static bool has_other_weights(const Graph *a, const Graph *b) {
  return memcmp(weights_of(a)->data, weights_of(b)->data, tensor_bytes(weights_of(a))) != 0;
}

static bool check_around(const Around *around, bool pipeline) {
  Arena *arena = arena_new();
  const char *text = around_text(arena, around);
  Graph *plain = parse(arena, text), *changed = parse(arena, text), *exactly = parse(arena, in_doubles(arena, text));
  run_passes(changed, pipeline);
  Tensor x, wide;
  bool product = around->anchor == PRODUCT;
  const int64_t *dims = product ? (int64_t[]){9, 4} : (int64_t[]){1, 4, 3, 3};
  cr_assert(!tensor_new(arena, around->dtype, product ? 2 : 4, dims, &x));
  cr_assert(!tensor_new(arena, DTYPE_F64, product ? 2 : 4, dims, &wide));
  for (int i = 0; i < CHANNELS * PIXELS; i++) {
    tensor_set_f(&x, i, uniform(-2, 2));
    tensor_set_f(&wide, i, tensor_get_f(&x, i));
  }
  Tensor before = result_of(plain, arena, &x), after = result_of(changed, arena, &x), right = result_of(exactly, arena, &wide);
  double error = worst(&after, &right), was = worst(&before, &right), allowed = allowed_around(plain, around);
  cr_assert(error <= allowed + 2 * was, "%s, %s, mean %g, variance %g%s: wrong by %g, was by %g", anchor_names[around->anchor],
            dtype_name(around->dtype), around->mean_scale, around->variance, pipeline ? ", pipeline" : "", error, was);
  bool folded = changed->node_count < plain->node_count || has_other_weights(changed, plain);
  arena_free(arena);
  return folded;
}

Test(fold_scale, results_stay_around_every_anchor) {
  static const DType dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
  static const double means[] = {0, 1, 100, 1e3, 1e5, 1e8}, variances[] = {1e-12, 1e-3, 1, 1e6};
  for (int anchor = 0; anchor < ANCHORS; anchor++)
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
      for (size_t m = 0; m < sizeof means / sizeof *means; m++)
        for (size_t v = 0; v < sizeof variances / sizeof *variances; v++) {
          Around around = {anchor, dtypes[d], means[m], variances[v]};
          bool folded = check_around(&around, false);
          check_around(&around, true);
          bool ordinary = (anchor == KERNEL_3X3 || anchor == TRANSPOSED) && means[m] <= 1;
          if (ordinary && dtypes[d] == DTYPE_F32)
            cr_expect(folded, "an ordinary batch norm behind %s was not folded", anchor_names[anchor]);
          if (dtypes[d] != DTYPE_F32) cr_expect(!folded, "%s in %s was folded", anchor_names[anchor], dtype_name(dtypes[d]));
        }
}

// x * 2 + M - M rounds x * 2 to an integer: composing the shifts would not.
Test(fold_scale, rounding_by_a_large_number_stays) {
  const char *text =
      "graph g(%x: f32[1, 1, 1, 2]) -> (%y) {\n  const %w: f32[1, 1, 1, 1] = [1.0]\n  const %m: f32[] = [12582912.0]\n"
      "  %c: ?[?] = conv(%x, %w)\n  %d: ?[?] = elementwise(%c) {program: program {%0: f32 = input 0; %1: f32 = const 2.0; %2 = "
      "mul %0 %1; yield %2}}\n  %e: ?[?] = elementwise(%d, %m) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = "
      "add %0 %1; yield %2}}\n  %y: ?[?] = elementwise(%e, %m) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = "
      "sub %0 %1; yield %2}}\n}\n";
  Arena *arena = arena_new();
  Graph *graph = parse(arena, text);
  PassOptions options = {.device = DEVICE_CPU, .precision = DTYPE_COUNT, .verify = true};
  cr_assert(!passes_run_named(graph, "fold_scale", &options));
  Tensor x;
  cr_assert(!tensor_new(arena, DTYPE_F32, 4, (int64_t[]){1, 1, 1, 2}, &x));
  tensor_set_f(&x, 0, 1.3);
  tensor_set_f(&x, 1, -0.4);
  Tensor y = result_of(graph, arena, &x);
  cr_expect_eq(tensor_get_f(&y, 0), 3);
  cr_expect_eq(tensor_get_f(&y, 1), -1);
  arena_free(arena);
}

// x * 1e30 * 1e30 * 1e-30 is infinite, x * 1e-30 * 1e-30 * 1e30 is 0: the product of the scales is neither.
Test(fold_scale, infinities_and_zeros_on_the_way_stay) {
  Arena *arena = arena_new();
  static const char *const scales[][2] = {{"1e30", "1e-30"}, {"1e-30", "1e30"}};
  for (int i = 0; i < 2; i++)
    for (int together = 0; together < 2; together++) {
      Text text = text_new(arena);
      text_add(
          &text,
          "graph g(%%x: f32[1, 1, 1, 1]) -> (%%y) {\n  const %%w: f32[1, 1, 1, 1] = [1.0]\n  %%c: ?[?] = conv(%%x, %%w)\n");
      if (together)
        text_add(
            &text,
            "  %%y: ?[?] = elementwise(%%c) {program: program {%%0: f32 = input 0; %%1: f32 = const %s; %%2 = mul %%0 %%1; "
            "%%3 = mul %%2 %%1; %%4: f32 = const %s; %%5 = mul %%3 %%4; yield %%5}}\n}\n",
            scales[i][0], scales[i][1]);
      else
        for (int k = 0; k < 3; k++)
          text_add(&text,
                   "  %%%c: ?[?] = elementwise(%%%c) {program: program {%%0: f32 = input 0; %%1: f32 = const %s; %%2 = mul %%0 "
                   "%%1; yield %%2}}\n%s",
                   "dey"[k], "cde"[k], scales[i][k == 2], k == 2 ? "}\n" : "");
      Graph *graph = parse(arena, text_get(&text));
      PassOptions options = {.device = DEVICE_CPU, .precision = DTYPE_COUNT, .verify = true};
      cr_assert(!passes_run_named(graph, "fold_scale", &options));
      Tensor x;
      cr_assert(!tensor_new(arena, DTYPE_F32, 4, (int64_t[]){1, 1, 1, 1}, &x));
      tensor_set_f(&x, 0, 1.5);
      Tensor y = result_of(graph, arena, &x);
      cr_expect_eq(tensor_get_f(&y, 0), i ? 0 : INFINITY, "%g", tensor_get_f(&y, 0));
    }
  arena_free(arena);
}
