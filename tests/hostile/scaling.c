// ingot-scaling [NAME...]: work and memory grow no faster than models do. Each shape of model is built at a size and at four times that
// size; what the passes counted as work (base/budget.h) and what was held in memory may grow by little more than four. Counts, not
// seconds: how busy the machine is changes nothing. Each shape runs in a process with a limit of CPU time, for what is not counted.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/api.h"
#include "base/checked.h"

// Under sanitizers, which count the same and take ten times as long, models are a third as large.
#ifndef SIZE
#define SIZE 1500
#endif
enum { CPU_SECONDS = 60, FLOAT = 1, INT64 = 7 };
#define MOST_GROWTH 5.5  // of four; n log n would be 4.8 here

// ---- a model's bytes ---------------------------------------------------------------------------------------------------------

typedef struct Writer {
  Arena *arena;
  Text graph;
  int opset;
} Writer;

static void put_number(Text *text, uint64_t value) {
  for (; value >= 0x80; value >>= 7) text_add_n(text, (char[]){(char)(value | 0x80)}, 1);
  text_add_n(text, (char[]){(char)value}, 1);
}
static void put_int(Text *text, int field, uint64_t value) {
  put_number(text, (uint64_t)field << 3);
  put_number(text, value);
}
static void put_bytes(Text *text, int field, const void *bytes, size_t size) {
  put_number(text, (uint64_t)field << 3 | 2);
  put_number(text, size);
  text_add_n(text, bytes, size);
}
static void put_string(Text *text, int field, const char *string) { put_bytes(text, field, string, strlen(string)); }
static void put_text(Text *text, int field, const Text *part) { put_bytes(text, field, part->bytes, part->length); }

static const char *name(const Writer *w, const char *stem, int number) { return arena_printf(w->arena, "%s%d", stem, number); }

// A node under way: what is added goes to it until node_end.
static Text node_begin(const Writer *w, const char *op) {
  Text node = text_new(w->arena);
  put_string(&node, 4, op);
  return node;
}
static void node_in(Text *node, const char *input) { put_string(node, 1, input); }
static void set_int(Text *node, const char *attribute, int64_t value) {
  Text text = text_new(node->arena);
  put_string(&text, 1, attribute);
  put_int(&text, 3, (uint64_t)value);
  put_int(&text, 20, 2);
  put_text(node, 5, &text);
}
static void node_end(Writer *w, Text *node, const char *output) {
  put_string(node, 2, output);
  put_text(&w->graph, 1, node);
}
static void node(Writer *w, const char *op, const char *a, const char *b, const char *output) {
  Text text = node_begin(w, op);
  node_in(&text, a);
  if (b) node_in(&text, b);
  node_end(w, &text, output);
}

// dims: sizes, or names where they begin with a letter, between commas; NULL: no shape.
static void declare(Writer *w, int field, const char *value, const char *dims) {
  Text shape = text_new(w->arena), tensor = text_new(w->arena), type = text_new(w->arena), info = text_new(w->arena);
  for (const char *at = dims; at && *at;) {
    size_t length = strcspn(at, ",");
    Text dim = text_new(w->arena);
    if (*at >= '0' && *at <= '9') put_int(&dim, 1, (uint64_t)atoll(at));
    else put_bytes(&dim, 2, at, length);
    put_text(&shape, 1, &dim);
    at += length + (at[length] == ',');
  }
  put_int(&tensor, 1, FLOAT);
  if (dims) put_text(&tensor, 2, &shape);
  put_text(&type, 1, &tensor);
  put_string(&info, 1, value);
  put_text(&info, 2, &type);
  put_text(&w->graph, field, &info);
}
static void input(Writer *w, const char *value, const char *dims) { declare(w, 11, value, dims); }
static void output(Writer *w, const char *value) { declare(w, 12, value, NULL); }

static void initializer(Writer *w, const char *value, int type, int count, const void *bytes, size_t size) {
  Text tensor = text_new(w->arena);
  put_int(&tensor, 1, (uint64_t)count);
  put_int(&tensor, 2, (uint64_t)type);
  put_string(&tensor, 8, value);
  put_bytes(&tensor, 9, bytes, size);
  put_text(&w->graph, 5, &tensor);
}

static Text finish(const Writer *w) {
  Text model = text_new(w->arena), opset = text_new(w->arena);
  put_string(&opset, 1, "");
  put_int(&opset, 2, (uint64_t)w->opset);
  put_int(&model, 1, 8);
  put_text(&model, 7, &w->graph);
  put_text(&model, 8, &opset);
  return model;
}

// ---- shapes ------------------------------------------------------------------------------------------------------------------

// op applied n times to its own result.
static void chain(Writer *w, int n, const char *op, const char *second) {
  for (int i = 0; i < n; i++) node(w, op, i ? name(w, "v", i - 1) : "x", second, i < n - 1 ? name(w, "v", i) : "y");
  output(w, "y");
}

// One node of n inputs, each made by `op` from x.
static void gathered(Writer *w, int n, const char *op, const char *together, bool one) {
  Text last = node_begin(w, together);
  for (int i = 0; i < n; i++) {
    if (!one || !i) node(w, op, "x", NULL, name(w, "r", i));
    node_in(&last, name(w, "r", one ? 0 : i));
  }
  if (!strcmp(together, "Concat")) set_int(&last, "axis", 0);
  node_end(w, &last, "y");
  output(w, "y");
}

static void relus(Writer *w, int n) { input(w, "x", "2,3"), chain(w, n, "Relu", NULL); }
static void softmaxes(Writer *w, int n) { input(w, "x", "2,3"), chain(w, n, "Softmax", NULL); }
static void transposes(Writer *w, int n) { input(w, "x", "2,3"), chain(w, n, "Transpose", NULL); }
static void products(Writer *w, int n) { input(w, "x", "2,2"), input(w, "w", "2,2"), chain(w, n, "MatMul", "w"); }
static void concat_of_many(Writer *w, int n) { input(w, "x", "1,3"), gathered(w, n, "Relu", "Concat", false); }
static void sum_of_many(Writer *w, int n) { input(w, "x", "2,3"), gathered(w, n, "Tanh", "Sum", false); }
static void sum_of_one(Writer *w, int n) { input(w, "x", "2,3"), gathered(w, n, "Relu", "Sum", true); }
static void max_of_one(Writer *w, int n) { input(w, "x", "2,3"), gathered(w, n, "Softmax", "Max", true); }
static void concat_of_one(Writer *w, int n) { input(w, "x", "a,3"), gathered(w, n, "Relu", "Concat", true); }

static void reshapes(Writer *w, int n) {
  input(w, "x", "2,6");
  initializer(w, "s0", INT64, 2, (int64_t[]){3, 4}, 16);
  initializer(w, "s1", INT64, 3, (int64_t[]){2, 2, 3}, 24);
  for (int i = 0; i < n; i++)
    node(w, "Reshape", i ? name(w, "v", i - 1) : "x", name(w, "s", i % 2), i < n - 1 ? name(w, "v", i) : "y");
  output(w, "y");
}

static void doubled(Writer *w, int n, const char *op) {
  for (int i = 0; i < n; i++) {
    const char *from = i ? name(w, "v", i - 1) : "x";
    Text text = node_begin(w, op);
    node_in(&text, from);
    node_in(&text, from);
    if (!strcmp(op, "Concat")) set_int(&text, "axis", 0);
    node_end(w, &text, i < n - 1 ? name(w, "v", i) : "y");
  }
  output(w, "y");
}
static void doubling(Writer *w, int n) { input(w, "x", "2,3"), doubled(w, n, "Add"); }
static void sizes_doubling(Writer *w, int n) { input(w, "x", "a,3"), doubled(w, MIN(n / 25, 240), "Concat"); }

static void sizes_of_many(Writer *w, int n) {
  Text last = node_begin(w, "Concat");
  for (int i = 0; i < n; i++) {
    input(w, name(w, "x", i), arena_printf(w->arena, "b%d,3", i));
    node_in(&last, name(w, "x", i));
  }
  set_int(&last, "axis", 0);
  node_end(w, &last, "y");
  output(w, "y");
}

static void constants(Writer *w, int n) {
  input(w, "x", "2");
  Text last = node_begin(w, "Max");
  node_in(&last, "x");
  for (int i = 0; i < n; i++) {
    initializer(w, name(w, "c", i), FLOAT, 2, (float[]){(float)i, 1}, 8);
    node_in(&last, name(w, "c", i));
  }
  node_end(w, &last, "y");
  output(w, "y");
}

static void outputs(Writer *w, int n) {
  input(w, "x", "2,2");
  for (int i = 0; i < n; i++) {
    float number[] = {(float)i};
    initializer(w, name(w, "c", i), FLOAT, 1, number, sizeof number);
    node(w, "Add", "x", name(w, "c", i), name(w, "y", i));
    output(w, name(w, "y", i));
  }
}

static void pieces(Writer *w, int n) {
  input(w, "x", arena_printf(w->arena, "%d,3", n));
  Text text = node_begin(w, "Split");
  node_in(&text, "x");
  set_int(&text, "axis", 0);
  set_int(&text, "num_outputs", n);
  for (int i = 0; i < n - 1; i++) put_string(&text, 2, name(w, "y", i));
  node_end(w, &text, name(w, "y", n - 1));
  for (int i = 0; i < n; i++) output(w, name(w, "y", i));
}

static void sizes_computed(Writer *w, int n) {
  input(w, "x", "a,b");
  initializer(w, "two", INT64, 2, (int64_t[]){2, 2}, 16);
  node(w, "Shape", "x", NULL, "s0");
  for (int i = 0; i < n; i++)
    node(w, i % 2 ? "Add" : "Mul", name(w, "s", i), i % 2 ? name(w, "s", i) : "two", name(w, "s", i + 1));
  Text cast = node_begin(w, "Cast");
  node_in(&cast, name(w, "s", n));
  set_int(&cast, "to", FLOAT);
  node_end(w, &cast, "y");
  output(w, "y");
}

static void mixture(Writer *w, int n) {
  static const char *const ops[] = {"Relu", "MatMul", "Transpose", "Softmax", "Add", "Sigmoid"};
  input(w, "x", "4,4");
  input(w, "w", "4,4");
  for (int i = 0; i < n; i++)
    node(w, ops[i % 6], i ? name(w, "v", i - 1) : "x", i % 6 == 1 || i % 6 == 4 ? "w" : NULL,
         i < n - 1 ? name(w, "v", i) : "y");
  output(w, "y");
}

static void long_names(Writer *w, int n) {
  char *stem = arena_alloc(w->arena, (size_t)n * 4 + 1);
  memset(stem, 'n', (size_t)n * 4);
  input(w, "x", "2,3");
  for (int i = 0; i < 16; i++) node(w, "Tanh", i ? name(w, stem, i - 1) : "x", NULL, name(w, stem, i));
  output(w, name(w, stem, 15));
}

typedef struct Shape {
  const char *name;
  void (*write)(Writer *writer, int size);
  int times;  // of the usual size: a Sum of few terms is one kernel, and only many are a tree of them; 0: once
} Shape;
static const Shape shapes[] = {{"relus", relus},
                               {"softmaxes", softmaxes},
                               {"transposes", transposes},
                               {"products", products},
                               {"reshapes", reshapes},
                               {"doubling", doubling},
                               {"concat_of_many", concat_of_many},
                               {"concat_of_one", concat_of_one},
                               {"sum_of_many", sum_of_many, 4},
                               {"sum_of_one", sum_of_one, 4},
                               {"max_of_one", max_of_one, 4},
                               {"sizes_doubling", sizes_doubling},
                               {"sizes_of_many", sizes_of_many},
                               {"sizes_computed", sizes_computed},
                               {"constants", constants},
                               {"outputs", outputs},
                               {"pieces", pieces},
                               {"mixture", mixture},
                               {"long_names", long_names}};

// ---- measuring ---------------------------------------------------------------------------------------------------------------

typedef struct Cost {
  double work, bytes;
} Cost;

static Status measure(const Shape *shape, int size, Arena *arena, Cost *out) {
  Writer writer = {.arena = arena, .graph = text_new(arena), .opset = 18};
  shape->write(&writer, size);
  Text bytes = finish(&writer);
  ingot_config config;
  ingot_model *model;
  ingot_engine *engine;
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.seconds = 1e6});
  TRY((Status)ingot_model_open_memory(bytes.bytes, bytes.length, NULL, &config, &model));
  TRY((Status)ingot_engine_build(model, &config, &engine));
  *out = (Cost){(double)budget_work(&budget), (double)atomic_load(&budget.most)};
  ingot_model_free(model);
  ingot_engine_free(engine);
  budget_leave(&budget);
  return OK;
}

static int run_shape(const Shape *shape) {
  Cost small = {0}, large = {0};
  Arena *arena = arena_new();
  int size = SIZE * MAX(shape->times, 1);
  Status status = RECOVER_GUARD(measure(shape, size, arena, &small));
  if (!status) status = RECOVER_GUARD(measure(shape, 4 * size, arena, &large));
  arena_free(arena);
  if (status) {
    printf("%-16s FAILED: %s\n", shape->name, status_message(status));
    status_free(status);
    return 1;
  }
  double work = large.work / small.work, bytes = large.bytes / small.bytes;
  bool good = work <= MOST_GROWTH && bytes <= MOST_GROWTH;
  printf("%-16s work x%.2f (%.0f a node)  memory x%.2f (%.0f a node)%s\n", shape->name, work, large.work / (4 * size), bytes,
         large.bytes / (4 * size), good ? "" : "  FAILED: four times the model");
  return !good;
}

int main(int count, char **arguments) {
  int failed = 0, known = 0;
  for (int k = 1; k < count; k++)
    for (size_t i = 0; i < COUNT_OF(shapes); i++) known += !strcmp(arguments[k], shapes[i].name);
  if (known != count - 1) return fputs("usage: ingot-scaling [SHAPE...], shapes of the table in scaling.c\n", stderr), 2;
  for (size_t i = 0; i < COUNT_OF(shapes); i++) {
    bool wanted = count < 2;
    for (int k = 1; k < count; k++) wanted = wanted || !strcmp(arguments[k], shapes[i].name);
    if (!wanted) continue;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      setrlimit(RLIMIT_CPU, &(struct rlimit){CPU_SECONDS, CPU_SECONDS});
      int bad = run_shape(&shapes[i]);
      fflush(stdout);
      _exit(bad);
    }
    int result;
    waitpid(child, &result, 0);
    if (result) failed++;
    if (WIFSIGNALED(result)) printf("%-16s FAILED: signal %d\n", shapes[i].name, WTERMSIG(result));
  }
  return failed > 0;
}
