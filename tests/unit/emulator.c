// The emulated device sees what a plan does wrong among launches: work on two streams with no event between, memory given back while it is in
// use, results read before they are there. Each test does it right first, with the same kernel, and must hear nothing.
#include <criterion/criterion.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/compiler.h"
#include "cuda/context.h"

static Arena *arena;
static const CudaDriver *driver;
static CudaContext *cuda;
static CudaStream streams[2];
static CudaFunction add_one;
static const unsigned one[3] = {1, 1, 1}, row[3] = {64, 1, 1};

// y[i] = x[i] + 1, 64 elements.
static const char source[] =
    "extern \"C\" __global__ void add_one(const float *x, float *y) {\n  y[threadIdx.x] = x[threadIdx.x] + 1;\n}\n";

static void good(Status status) { cr_assert_null(status, "%s", status_message(status)); }
static void check(CudaResult result, const char *call) {
  if (result) good(cuda_driver_error(driver, result, call));
}
#define CHECK(call) check(driver->call, #call)

static void open_device(void) {
  arena = arena_new();
  if (!getenv("INGOT_LIBCUDA") || !strstr(getenv("INGOT_LIBCUDA"), "emulator"))
    cr_skip_test("this is about the emulated device");
  good(cuda_driver_open(arena, &driver));
  good(cuda_context_open(&(CudaContextOptions){.driver = driver}, &cuda));
  good(cuda_enter(cuda));
  Compiler *compiler = compiler_new(&(CompilerOptions){.folder = ""});
  Cubin cubin;
  good(compiler_compile(compiler, &(KernelSource){"test", source, cuda->info.sm}, &cubin));
  LoadedModule *module;  // stays until the context closes
  good(cuda_function(cuda, &(ModuleImage){cubin.key, cubin.data, cubin.size}, "add_one", 0, &module, &add_one));
  compiler_free(compiler);
  for (int i = 0; i < 2; i++) CHECK(cuStreamCreateWithPriority(&streams[i], CUDA_STREAM_NON_BLOCKING, 0));
}

static void close_device(void) {
  for (int i = 0; i < 2 && cuda; i++) driver->cuStreamDestroy(streams[i]);
  if (cuda) cuda_leave(cuda);
  cuda_context_close(cuda);
  arena_free(arena);
}

static CudaAddress buffer(bool filled) {
  CudaAddress address;
  CHECK(cuMemAlloc(&address, 64 * sizeof(float)));
  if (filled) {
    CHECK(cuMemsetD32Async(address, 0x3f800000, 64, streams[0]));
    CHECK(cuStreamSynchronize(streams[0]));
  }
  return address;
}

static void launch(CudaAddress x, CudaAddress y, int stream) {
  void *arguments[] = {&x, &y};
  check(driver->cuLaunchKernel(add_one, one[0], one[1], one[2], row[0], row[1], row[2], 0, streams[stream], arguments, NULL),
        "cuLaunchKernel");
}

static float first_of(CudaAddress y, int stream) {
  float values[64];
  CHECK(cuMemcpyDtoHAsync(values, y, sizeof values, streams[stream]));
  return values[0];
}

static void expect_found(const char *text) {
  CudaResult result = driver->cuCtxSynchronize();
  cr_assert_neq(result, CUDA_OK, "nothing was found");
  const char *found = "";
  driver->cuGetErrorString(result, &found);
  cr_expect_not_null(strstr(found, text), "%s", found);
}

// A launch on one stream, then one on the other that reads what the first wrote.
static void chain(CudaAddress a, CudaAddress b, CudaAddress c, bool with_event) {
  CudaEvent event;
  CHECK(cuEventCreate(&event, CUDA_EVENT_DISABLE_TIMING));
  launch(a, b, 0);
  CHECK(cuEventRecord(event, streams[0]));
  if (with_event) CHECK(cuStreamWaitEvent(streams[1], event, 0));
  launch(b, c, 1);
  CHECK(cuEventDestroy(event));
}

TestSuite(emulator, .init = open_device, .fini = close_device, .timeout = 60);

Test(emulator, streams_with_an_event_between_are_in_order) {
  CudaAddress a = buffer(true), b = buffer(true), c = buffer(true);
  for (int round = 0; round < 20; round++) {
    chain(a, b, c, true);
    cr_assert_float_eq(first_of(c, 1), 3, 0);
  }
  CHECK(cuCtxSynchronize());
}

Test(emulator, a_missing_event_is_found) {
  CudaAddress a = buffer(true), b = buffer(true), c = buffer(true);
  chain(a, b, c, false);
  expect_found("with nothing to order the two");
}

Test(emulator, an_event_recorded_too_early_is_found) {
  CudaAddress a = buffer(true), b = buffer(true), c = buffer(true);
  CudaEvent event;
  CHECK(cuEventCreate(&event, CUDA_EVENT_DISABLE_TIMING));
  CHECK(cuEventRecord(event, streams[0]));
  launch(a, b, 0);
  CHECK(cuStreamWaitEvent(streams[1], event, 0));
  launch(b, c, 1);
  driver->cuEventDestroy(event);
  expect_found("with nothing to order the two");
}

// The second stream writes over what the first still reads.
Test(emulator, a_buffer_reused_on_another_stream_is_found) {
  CudaAddress a = buffer(true), b = buffer(true), c = buffer(true);
  launch(a, b, 0);
  launch(c, a, 1);
  expect_found("with nothing to order the two");
}

Test(emulator, the_host_orders_what_it_waits_for) {
  CudaAddress a = buffer(true), b = buffer(true), c = buffer(true);
  launch(a, b, 0);
  CHECK(cuStreamSynchronize(streams[0]));
  launch(b, c, 1);
  cr_expect_float_eq(first_of(c, 1), 3, 0);
}

Test(emulator, memory_nothing_wrote_is_found) {
  CudaAddress a = buffer(false), b = buffer(false);
  launch(a, b, 0);
  expect_found("which nothing wrote");
}

Test(emulator, memory_given_back_is_found) {
  CudaAddress a = buffer(true), b = buffer(true);
  CHECK(cuMemFree(a));
  launch(a, b, 0);
  expect_found("not allocated");
}

Test(emulator, a_buffer_too_small_is_found) {
  CudaAddress a = buffer(true), b;
  CHECK(cuMemAlloc(&b, 63 * sizeof(float)));
  launch(a, b, 0);
  expect_found("thread (63,0,0) writes 4 bytes");
}

// Pinned memory is written when the copy's turn comes, not when the call returns.
Test(emulator, a_copy_to_pinned_memory_is_late) {
  CudaAddress a = buffer(true);
  int late = 0;
  for (int round = 0; round < 50; round++) {
    float *host;
    CHECK(cuMemHostAlloc((void **)&host, 64 * sizeof(float), CUDA_HOST_PORTABLE));
    host[0] = 0;
    CHECK(cuMemcpyDtoHAsync(host, a, 64 * sizeof(float), streams[0]));
    late += host[0] == 0;
    CHECK(cuStreamSynchronize(streams[0]));
    cr_assert_float_eq(host[0], 1, 0);
    CHECK(cuMemFreeHost(host));
  }
  cr_expect_gt(late, 20);
}

// Two streams captured into one graph, replayed: with the event the order holds, without it the replay is found out.
static CudaGraphExec capture(CudaAddress a, CudaAddress b, CudaAddress c, bool ordered) {
  CudaGraph graph;
  CudaGraphExec exec;
  CudaEvent fork, done, join;
  CHECK(cuEventCreate(&fork, 0));
  CHECK(cuEventCreate(&done, 0));
  CHECK(cuEventCreate(&join, 0));
  CHECK(cuStreamBeginCapture(streams[0], CUDA_CAPTURE_THREAD_LOCAL));
  CHECK(cuEventRecord(fork, streams[0]));
  CHECK(cuStreamWaitEvent(streams[1], fork, 0));
  launch(a, b, 0);
  CHECK(cuEventRecord(done, streams[0]));
  if (ordered) CHECK(cuStreamWaitEvent(streams[1], done, 0));
  launch(b, c, 1);
  CHECK(cuEventRecord(join, streams[1]));
  CHECK(cuStreamWaitEvent(streams[0], join, 0));
  CHECK(cuStreamEndCapture(streams[0], &graph));
  CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  CHECK(cuGraphDestroy(graph));
  driver->cuEventDestroy(fork);
  driver->cuEventDestroy(done);
  driver->cuEventDestroy(join);
  return exec;
}

Test(emulator, a_captured_graph_keeps_its_order) {
  CudaAddress a = buffer(true), b = buffer(true), c = buffer(true);
  CudaGraphExec exec = capture(a, b, c, true);
  for (int round = 0; round < 20; round++) CHECK(cuGraphLaunch(exec, streams[0]));
  cr_expect_float_eq(first_of(c, 0), 3, 0);
  CHECK(cuGraphExecDestroy(exec));
}

Test(emulator, a_captured_graph_without_its_event_is_found) {
  CudaAddress a = buffer(true), b = buffer(true), c = buffer(true);
  CudaGraphExec exec = capture(a, b, c, false);
  driver->cuGraphLaunch(exec, streams[0]);
  expect_found("with nothing to order the two");
  driver->cuGraphExecDestroy(exec);
}

// Work of another stream that the capturing one does not wait for is no part of its graph: a driver refuses that.
Test(emulator, a_capture_that_is_not_joined_is_refused) {
  CudaAddress a = buffer(true), b = buffer(true);
  CudaGraph graph;
  CudaEvent fork;
  CHECK(cuEventCreate(&fork, 0));
  CHECK(cuStreamBeginCapture(streams[0], CUDA_CAPTURE_THREAD_LOCAL));
  CHECK(cuEventRecord(fork, streams[0]));
  CHECK(cuStreamWaitEvent(streams[1], fork, 0));
  launch(a, b, 1);
  cr_expect_eq(driver->cuStreamEndCapture(streams[0], &graph), 904);  // CUDA_ERROR_STREAM_CAPTURE_UNJOINED
  cr_expect_null(graph);
  launch(a, b, 1);  // nothing is captured any more
  cr_expect_float_eq(first_of(b, 1), 2, 0);
  CHECK(cuEventDestroy(fork));
}

// What a GPU would refuse is refused.
Test(emulator, launches_no_gpu_accepts_are_refused) {
  CudaAddress a = buffer(true), b = buffer(true);
  void *arguments[] = {&a, &b};
  cr_expect_neq(driver->cuLaunchKernel(add_one, 1, 1, 1, 1025, 1, 1, 0, streams[0], arguments, NULL), CUDA_OK);
  cr_expect_neq(driver->cuLaunchKernel(add_one, 0, 1, 1, 64, 1, 1, 0, streams[0], arguments, NULL), CUDA_OK);
  cr_expect_neq(driver->cuLaunchKernel(add_one, 1, 65536, 1, 64, 1, 1, 0, streams[0], arguments, NULL), CUDA_OK);
  cr_expect_neq(driver->cuLaunchKernel(add_one, 1, 1, 1, 64, 1, 1, 50 << 10, streams[0], arguments, NULL), CUDA_OK);
  CHECK(cuCtxSynchronize());
}
