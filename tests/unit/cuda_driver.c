// The CUDA layer over a fake driver: what it does when all goes well, and that any single failing call gives an error, leaks
// nothing and leaves the context closable.
#include <criterion/criterion.h>
#include <limits.h>
#include <malloc.h>
#include "tests/fake_cuda.h"
#include "cuda/context.h"

static Status run_nothing(void *state, CudaStream stream) {
  ++*(int *)state;
  return OK;
}

typedef struct Memory {
  CudaContext *context;
  void *device;
  size_t size;
} Memory;

// Bigger than both staging buffers together.
enum { SIZE = 2 * CUDA_STAGING_BUFFERS * CUDA_STAGING_BYTES + 12345 };

static Status use_context(CudaContext *context, Memory *memory, const char *data, char *back) {
  TRY(cuda_alloc(context, SIZE, &memory->device));
  memory->size = SIZE;
  TRY(cuda_upload(context, memory->device, data, SIZE));
  TRY(cuda_download(context, back, memory->device, SIZE));
  ModuleImage image = {{1, 2}, "cubin", 5};
  LoadedModule *module, *same;
  CudaFunction function, again;
  CudaFunctionInfo info;
  TRY(cuda_function(context, &image, "kernel", 100 << 10, &module, &function));
  TRY(cuda_function(context, &image, "kernel", 0, &same, &again));
  if (module != same || cuda_module_bytes(context) != 5) FAIL(ERROR_INTERNAL, "a module is loaded twice");
  TRY(cuda_function_info(context, function, 128, 0, &info));
  unsigned one[3] = {1, 1, 1}, none[3] = {0};
  TRY(cuda_launch(context, function, one, one, none, 0, (CudaLaunchHow){0}, NULL, context->stream));
  TRY(cuda_launch(context, again, one, one, one, 0, (CudaLaunchHow){0}, NULL, context->stream));
  int runs = 0;
  double seconds;
  CudaTiming timing = {.warmups = 1, .repeats = 3, .flush_l2 = true};
  TRY(cuda_time(context, &timing, run_nothing, &runs, &seconds));
  if (runs != 1 + 3) FAIL(ERROR_INTERNAL, "%d runs for a warm-up and three repeats", runs);
  timing =
      (CudaTiming){.repeats = 7, .batch = 4, .hopeless = seconds / 8};  // a batch takes a millisecond here, whatever it does
  TRY(cuda_time(context, &timing, run_nothing, &runs, &seconds));
  if (runs != 4 + 4) FAIL(ERROR_INTERNAL, "a hopeless repeat is repeated: %d runs", runs - 4);
  timing.hopeless *= 4;
  TRY(cuda_time(context, &timing, run_nothing, &runs, &seconds));
  if (runs != 8 + 28) FAIL(ERROR_INTERNAL, "%d runs for seven batches of four", runs - 8);
  TRY(cuda_synchronize(context, context->stream));
  cuda_module_drop(context, module);
  if (cuda_module_bytes(context) != 5) FAIL(ERROR_INTERNAL, "a module that is in use was unloaded");
  cuda_module_drop(context, same);
  if (cuda_module_bytes(context)) FAIL(ERROR_INTERNAL, "a module that nobody uses is still loaded");
  return OK;
}

static Status scenario(const CudaDriver *driver, const char *data, char *back) {
  CudaContext *context;
  CudaContextOptions options = {.driver = driver};
  TRY(cuda_context_open(&options, &context));
  Memory memory = {0};
  Status status = cuda_enter(context);
  if (!status) {
    status = use_context(context, &memory, data, back);
    cuda_free(context, memory.device, memory.size);
    cuda_leave(context);
  }
  cuda_context_close(context);
  return status;
}

static const CudaDriver *fake_driver(Arena *arena) {
  const CudaDriver *driver;
  cr_assert_null(cuda_driver_from_table(arena, fake_cuda_symbols, &driver));
  return driver;
}

Test(cuda_driver, a_round_trip_keeps_bytes_and_loads_a_module_once) {
  Arena *arena = arena_new();
  char *data = arena_alloc(arena, SIZE), *back = arena_alloc(arena, SIZE);
  for (size_t i = 0; i < SIZE; i++) data[i] = (char)(i * 2654435761u >> 24);
  fake_cuda_reset(0, 0);
  Status status = scenario(fake_driver(arena), data, back);
  cr_assert_null(status, "%s", status_message(status));
  cr_assert(memcmp(data, back, SIZE) == 0);
  cr_assert_eq(fake_cuda.loads, 1);
  cr_assert_eq(fake_cuda.launches, 2);
  cr_assert_eq(fake_cuda.live, 0);
  arena_free(arena);
}

Test(cuda_driver, any_call_that_fails_once_gives_an_error_and_no_leak) {
  // Memory that is given back stays in the process: to get its pages anew each time took five times as long as all else.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  Arena *arena = arena_new();
  const CudaDriver *driver = fake_driver(arena);
  char *data = arena_alloc(arena, SIZE), *back = arena_alloc(arena, SIZE);
  fake_cuda_reset(0, 0);
  cr_assert_null(scenario(driver, data, back));
  int calls = fake_cuda.calls;
  // The last call is the wait of cuda_context_close; its push of the context comes before, and the two have nobody to tell.
  for (int n = 1; n <= calls - 2; n++) {
    for (int kind = 0; kind < 2; kind++) {
      fake_cuda_reset(n, kind ? 700 : CUDA_OUT_OF_MEMORY);
      Status status = scenario(driver, data, back);
      cr_assert_not_null(status, "call %d failed unnoticed", n);
      cr_assert_eq(fake_cuda.live, 0, "call %d: %d objects leaked", n, fake_cuda.live);
      cr_assert(strlen(status_message(status)) > 10);
      status_free(status);
    }
  }
  arena_free(arena);
}

Test(cuda_driver, a_fatal_error_is_remembered) {
  Arena *arena = arena_new();
  CudaContext *context;
  CudaContextOptions options = {.driver = fake_driver(arena)};
  fake_cuda_reset(0, 0);
  cr_assert_null(cuda_context_open(&options, &context));
  cr_assert_null(cuda_check_alive(context));
  fake_cuda_reset(1, 700);
  fake_cuda.live = 2;  // the context and its stream
  Status status = cuda_synchronize(context, context->stream);
  cr_assert(strstr(status_message(status), "cuStreamSynchronize"), "%s", status_message(status));
  status_free(status);
  status = cuda_check_alive(context);
  cr_assert(strstr(status_message(status), "cuStreamSynchronize"), "%s", status_message(status));
  status_free(status);
  cuda_context_close(context);
  cr_assert_eq(fake_cuda.live, 0);
  arena_free(arena);
}

Test(cuda_driver, describes_the_device) {
  Arena *arena = arena_new();
  DeviceInfo info;
  fake_cuda_reset(0, 0);
  cr_assert_null(cuda_device_info(fake_driver(arena), 0, &info));
  cr_assert_eq(info.sm, 90);
  cr_assert_eq(info.multiprocessors, 132);
  cr_assert_eq(info.shared_per_block, 227 << 10);
  CudaContext *context;
  CudaContextOptions options = {.driver = fake_driver(arena), .device = 3};
  Status status = cuda_context_open(&options, &context);
  cr_assert_eq(status_code(status), ERROR_UNSUPPORTED);
  status_free(status);
  arena_free(arena);
}

Test(cuda_driver, a_table_that_lacks_a_function_is_refused_by_name) {
  Arena *arena = arena_new();
  CudaSymbol symbols[] = {{"cuInit", (void *)fake_cuInit}, {NULL, NULL}};
  const CudaDriver *driver;
  Status status = cuda_driver_from_table(arena, symbols, &driver);
  cr_assert(strstr(status_message(status), "cuDriverGetVersion"));
  status_free(status);
  arena_free(arena);
}
