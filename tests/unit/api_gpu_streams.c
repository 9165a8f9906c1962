// Branches that run side by side on the emulated GPU, whose streams take turns in any order that events allow, and which finds what two streams do to one byte with nothing to
// order them: recorded plans give the bits of a single stream, at the same addresses and at others; a plan without any one of its waits is found out.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "kernels/ops.h"
#include "lower/plan.h"
#include "run/device.h"

enum { SIZE = 64, BYTES = SIZE * SIZE * 4, PLACES = 3 };

// Branches of different lengths, one of which forks again, and a value that two streams read to the end.
static const char branches[] =
    "graph g(%x: f32[64, 64]) -> (%y, %z) {\n"
    "  %h: f32[64, 64] = matmul(%x, %x)\n"
    "  %a0: f32[64, 64] = matmul(%h, %x)\n  %a1: f32[64, 64] = matmul(%a0, %h)\n  %a2: f32[64, 64] = matmul(%a1, %x)\n"
    "  %b0: f32[64, 64] = matmul(%x, %h)\n  %b1: f32[64, 64] = matmul(%b0, %h)\n  %b2: f32[64, 64] = matmul(%b1, %x)\n"
    "  %c0: f32[64, 64] = matmul(%b0, %x)\n  %c1: f32[64, 64] = matmul(%c0, %h)\n"
    "  %d0: f32[64, 64] = matmul(%h, %h)\n  %d1: f32[64, 64] = matmul(%d0, %x)\n  %d2: f32[64, 64] = matmul(%d1, %x)\n"
    "  %s: f32[64, 64] = matmul(%a2, %b2)\n  %z: f32[64, 64] = matmul(%s, %c1)\n  %y: f32[64, 64] = matmul(%z, %d2)\n}\n";

static void expect_ok(Status status) { cr_assert(!status, "%s", status_message(status)); }

static void set_up(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  if (!driver || !strstr(driver, "emulator")) cr_skip_test("this is about the emulated device");
  setenv("INGOT_EMULATOR_MULTIPROCESSORS", "132", 1);  // of a few each step would fill the chip
}
TestSuite(api_gpu_streams, .init = set_up, .timeout = 300);

typedef struct Bench {
  Arena *arena;
  Device *device;
  Plan *plan;
  Executable *executable;
  void *inputs[PLACES], *outputs[PLACES][2];
} Bench;

static Log no_log;

// The plan is made for four streams; the device uses `streams` of them.
static Bench open_bench(const char *text, int streams) {
  Bench b = {.arena = arena_new()};
  Graph *graph;
  expect_ok(
      cuda_device_new(&(DeviceOptions){.kind = DEVICE_CUDA, .threads = 1, .streams = streams, .log = &no_log}, &b.device));
  expect_ok(graph_parse(b.arena, core_ops, text, strlen(text), NULL, 0, &graph));
  const SelectOptions select = {.workspace_limit = 256 << 20};
  expect_ok(
      plan_make(graph, &(PlanTarget){.info = &b.device->info, .select = &select, .streams = PLAN_STREAMS}, b.arena, &b.plan));
  return b;
}

static void load(Bench *b) {
  float values[SIZE * SIZE];
  expect_ok(b->device->load(b->device, b->plan, b->arena, &b->executable));
  for (int p = 0; p < PLACES; p++) {
    for (int i = 0; i < SIZE * SIZE; i++) values[i] = (float)((i * 37 + p * 11) % 101 - 50) / 256;
    expect_ok(b->device->allocate(b->device, BYTES, &b->inputs[p]));
    expect_ok(b->device->upload(b->device, b->inputs[p], values, BYTES));
    for (int i = 0; i < 2; i++) expect_ok(b->device->allocate(b->device, BYTES, &b->outputs[p][i]));
  }
}

static void close_bench(Bench *b) {
  if (b->executable) b->device->discard(b->device, b->executable);
  for (int p = 0; p < PLACES && b->executable; p++) {
    b->device->release(b->device, b->inputs[p], BYTES);
    for (int i = 0; i < 2; i++) b->device->release(b->device, b->outputs[p][i], BYTES);
  }
  b->device->free(b->device);
  arena_free(b->arena);
}

static Status run_at(Bench *b, int place) {
  return b->device->run(b->device, b->executable, &b->inputs[place], b->outputs[place]);
}

// Results at each place after runs that stay there, take turns, and go elsewhere.
static void run_all(Bench *b, unsigned char results[PLACES][2][BYTES]) {
  static const int places[] = {0, 0, 0, 1, 0, 1, 1, 2, 2, 0, 2, 1};
  for (size_t i = 0; i < COUNT_OF(places); i++) {
    int p = places[i];
    expect_ok(run_at(b, p));
    for (int k = 0; k < 2; k++) expect_ok(b->device->download(b->device, results[p][k], b->outputs[p][k], BYTES));
  }
}

static int streams_of(const Plan *plan) {
  int most = 0;
  for (uint32_t s = 0; s < plan->step_count; s++) most = MAX(most, plan->steps[s].stream);
  return most + 1;
}

Test(api_gpu_streams, results_are_those_of_one_stream) {
  static unsigned char expected[PLACES][2][BYTES], results[PLACES][2][BYTES];
  for (int streams = 1; streams <= PLAN_STREAMS; streams++) {
    Bench b = open_bench(branches, streams);
    cr_assert_geq(streams_of(b.plan), 3);
    load(&b);
    run_all(&b, streams == 1 ? expected : results);
    if (streams > 1) cr_expect_arr_eq(results, expected, sizeof expected, "on %d streams", streams);
    close_bench(&b);
  }
}

// Products of any of the last few values, joined in the last.
static const char *random_graph(unsigned *random, Arena *arena) {
  enum { NODES = 16, REACH = 5 };
  Text text = text_new(arena);
  text_add(&text, "graph g(%%v0: f32[64, 64]) -> (%%y, %%z) {\n  %%v1: f32[64, 64] = matmul(%%v0, %%v0)\n");
  for (int i = 2; i < NODES; i++) {
    int operands[2];
    for (int k = 0; k < 2; k++) {
      *random = *random * 1664525u + 1013904223u;
      operands[k] = i - 1 - (int)((*random >> 16) % (unsigned)MIN(i, REACH));
    }
    text_add(&text, "  %%v%d: f32[64, 64] = matmul(%%v%d, %%v%d)\n", i, operands[0], operands[1]);
  }
  text_add(&text, "  %%z: f32[64, 64] = matmul(%%v%d, %%v%d)\n  %%y: f32[64, 64] = matmul(%%z, %%v%d)\n}\n", NODES - 1,
           NODES - 2, NODES - 3);
  return arena_string(arena, text_get(&text));
}

Test(api_gpu_streams, random_graphs_give_what_one_stream_gives) {
  enum { GRAPHS = 5, RUNS = 3 };
  static unsigned char results[2][2][BYTES];
  unsigned random = 1;
  int beside = 0;
  Arena *arena = arena_new();
  for (int g = 0; g < GRAPHS; g++) {
    const char *graph = random_graph(&random, arena);
    for (int several = 0; several < 2; several++) {
      Bench b = open_bench(graph, several ? PLAN_STREAMS : 1);
      beside += several && streams_of(b.plan) > 1;
      load(&b);
      for (int i = 0; i < RUNS; i++) expect_ok(run_at(&b, 0));
      for (int k = 0; k < 2; k++) expect_ok(b.device->download(b.device, results[several][k], b.outputs[0][k], BYTES));
      close_bench(&b);
    }
    cr_assert_arr_eq(results[1], results[0], sizeof results[0], "graph %d: %s", g, graph);
  }
  cr_expect_geq(beside, GRAPHS / 2, "%d graphs ran side by side", beside);
  arena_free(arena);
}

typedef enum Found { FOUND, NOTHING_FOUND, NO_SUCH_WAIT } Found;

// Without the wait of this number, counted over the plan.
static Found run_without(int number) {
  Bench b = open_bench(branches, PLAN_STREAMS);
  uint32_t s = 0;
  while (s < b.plan->step_count && number >= b.plan->steps[s].wait_count) number -= b.plan->steps[s++].wait_count;
  if (s == b.plan->step_count) return NO_SUCH_WAIT;
  PlanStep *mistaken = &b.plan->steps[s];
  mistaken->waits[number] = mistaken->waits[--mistaken->wait_count];
  load(&b);
  Status status = OK;
  for (int i = 0; i < 3 && !status; i++) status = run_at(&b, 0);
  if (!status) status = b.device->synchronize(b.device);
  return status && strstr(status_message(status), "nothing to order the two") ? FOUND : NOTHING_FOUND;
}

// Each in a process of its own: after such a fault a GPU is lost to its process.
Test(api_gpu_streams, a_plan_without_a_wait_is_found_out) {
  int waits = 0, ended = FOUND;
  while (ended == FOUND) {
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (!child) _exit(run_without(waits));
    cr_assert_eq(waitpid(child, &ended, 0), child);
    cr_assert(WIFEXITED(ended));
    ended = WEXITSTATUS(ended);
    waits += ended == FOUND;
  }
  cr_expect_eq(ended, NO_SUCH_WAIT, "wait %d is left out, and nothing is found", waits);
  cr_expect_geq(waits, 5);
}
