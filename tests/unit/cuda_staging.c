// What is made on the host on its way to the device: everything arrives, whatever its size and whoever makes it, over a driver that copies as late as
// it may. A part that cannot be made, and a driver's call that fails, give an error, and the next upload is as good as the first.
#include <criterion/criterion.h>
#include "base/checked.h"
#include "base/thread.h"
#include "cuda/context.h"
#include "tests/fake_cuda.h"

// ---- a driver that copies late -----------------------------------------------------------------------------------------------

typedef struct Copy {
  void *to;
  const void *from;
  size_t size;
} Copy;

enum { MOST_COPIES = 4096, MOST_EVENTS = 8 };
static Copy copies[MOST_COPIES];
static int copy_count, copied;
static struct {
  CudaEvent event;
  int copies;  // enqueued before it
} events[MOST_EVENTS];

static CudaResult late_copy_in(CudaAddress to, const void *from, size_t size, CudaStream stream) {
  CudaResult result = fake_cuMemcpyHtoDAsync(to, from, 0, stream);
  if (!result) copies[copy_count++] = (Copy){(void *)(uintptr_t)to, from, size};
  return result;
}

static void copy_up_to(int count) {
  for (; copied < count; copied++) memcpy(copies[copied].to, copies[copied].from, copies[copied].size);
}

static CudaResult late_copy_out(void *to, CudaAddress from, size_t size, CudaStream stream) {
  CudaResult result = fake_cuMemcpyDtoHAsync(to, from, 0, stream);
  if (!result) copies[copy_count++] = (Copy){to, (const void *)(uintptr_t)from, size};
  return result;
}

static CudaResult late_record(CudaEvent event, CudaStream stream) {
  int i = 0;
  while (i < MOST_EVENTS - 1 && events[i].event && events[i].event != event) i++;
  events[i].event = event;
  events[i].copies = copy_count;
  return fake_cuEventRecord(event, stream);
}

static CudaResult late_wait_event(CudaEvent event) {
  for (int i = 0; i < MOST_EVENTS; i++)
    if (events[i].event == event) copy_up_to(events[i].copies);
  return fake_cuEventSynchronize(event);
}

static CudaResult late_wait(CudaStream stream) {
  copy_up_to(copy_count);
  return fake_cuStreamSynchronize(stream);
}

// What has been copied need not be remembered.
static void forget_copies(void) {
  if (copied < copy_count) return;
  copy_count = copied = 0;
  for (int i = 0; i < MOST_EVENTS; i++) events[i].copies = 0;
}

static CudaContext *open_late(CudaDriver *driver, Arena *arena) {
  const CudaDriver *fake;
  CudaContext *context;
  fake_cuda_reset(0, 0);
  copy_count = copied = 0;
  memset(events, 0, sizeof events);
  cr_assert_null(cuda_driver_from_table(arena, fake_cuda_symbols, &fake));
  *driver = *fake;
  driver->cuMemcpyHtoDAsync = late_copy_in;
  driver->cuMemcpyDtoHAsync = late_copy_out;
  driver->cuEventRecord = late_record;
  driver->cuEventSynchronize = late_wait_event;
  driver->cuStreamSynchronize = late_wait;
  cr_assert_null(cuda_context_open(&(CudaContextOptions){.driver = driver}, &context));
  cr_assert_null(cuda_enter(context));
  return context;
}

static void close_late(CudaContext *context) {
  cuda_leave(context);
  cuda_context_close(context);
  cr_assert_eq(fake_cuda.live, 0);
}

// ---- parts -------------------------------------------------------------------------------------------------------------------

// More small ones than go into a buffer at once, some that share one, some as large as one and larger, and none at all.
enum { SMALL = 150, PARTS = SMALL + 9, STAGE = CUDA_STAGING_BYTES };
static const size_t large[PARTS - SMALL] = {STAGE,     3 << 20,        5 << 20, (3 << 20) + 1, STAGE - 300, 0,
                                            STAGE + 1, 2 * STAGE + 77, 19};

typedef struct Part {
  int number;
  size_t size;
  unsigned char *memory;
} Part;

// Again the same from PERIOD on: what follows is copied, and compared, a block at a time.
enum { PERIOD = 1 << 16 };
static unsigned char byte_of(int number, size_t at) { return (unsigned char)(at * 31 + (at >> 8) + (size_t)number * 7 + 1); }

static Status make_part(void *context, void *out) {
  const Part *part = context;
  unsigned char *bytes = out;
  for (size_t i = 0; i < MIN(part->size, PERIOD); i++) bytes[i] = byte_of(part->number, i);
  for (size_t at = PERIOD; at < part->size; at += PERIOD) memcpy(bytes + at, bytes, MIN(PERIOD, part->size - at));
  return OK;
}

static Status refuse(void *context, void *out) { FAIL(ERROR_UNSUPPORTED, "part %d", ((const Part *)context)->number); }

typedef struct Upload {
  Arena *arena;
  CudaDriver driver;
  CudaContext *context;
  Part parts[PARTS];
  CudaMade made[PARTS];
} Upload;

static void open_upload(Upload *u) {
  u->arena = arena_new();
  u->context = open_late(&u->driver, u->arena);
  for (int i = 0; i < PARTS; i++) {
    Part *part = &u->parts[i];
    *part = (Part){.number = i, .size = i < SMALL ? 1 + (size_t)i * 97 % 5000 : large[i - SMALL]};
    void *memory;
    cr_assert_null(cuda_alloc(u->context, part->size + 1, &memory));
    part->memory = memory;
    memset(part->memory, 0, part->size + 1);
    u->made[i] = (CudaMade){part->memory, part->size, make_part, part};
  }
}

static void close_upload(Upload *u) {
  for (int i = 0; i < PARTS; i++) cuda_free(u->context, u->parts[i].memory, u->parts[i].size + 1);
  close_late(u->context);
  arena_free(u->arena);
}

static Status upload(Upload *u, ThreadPool *pool) {
  double seconds = 0;
  forget_copies();
  Status status = cuda_upload_made(u->context, pool, u->made, PARTS, &seconds);
  if (!status) cr_expect(seconds > 0);
  return status;
}

// Whatever was there before.
static void expect_upload(Upload *u, ThreadPool *pool) {
  for (int i = 0; i < PARTS; i++) memset(u->parts[i].memory, 0, u->parts[i].size);
  Status status = upload(u, pool);
  cr_assert_null(status, "%s", status_message(status));
  for (int i = 0; i < PARTS; i++) {
    const Part *part = &u->parts[i];
    for (size_t at = 0; at < MIN(part->size, PERIOD); at++)
      if (part->memory[at] != byte_of(i, at)) cr_assert_fail("byte %zu of part %d, of %zu bytes", at, i, part->size);
    if (part->size > PERIOD)
      cr_assert_arr_eq(part->memory + PERIOD, part->memory, part->size - PERIOD, "part %d, of %zu bytes", i, part->size);
    cr_assert_eq(part->memory[part->size], 0, "part %d is longer than it is", i);
  }
}

Test(cuda_staging, parts_of_every_size_arrive) {
  for (int threads = 1; threads <= 3; threads += 2) {
    Upload u;
    open_upload(&u);
    ThreadPool *pool = threads == 1 ? NULL : thread_pool_new(threads);
    expect_upload(&u, pool);
    thread_pool_free(pool);
    close_upload(&u);
  }
}

Test(cuda_staging, a_part_that_cannot_be_made_is_an_error) {
  static const int refused[] = {0, 70, SMALL, SMALL + 7};  // among small ones, a whole buffer, larger than one
  Upload u;
  open_upload(&u);
  for (size_t i = 0; i < COUNT_OF(refused); i++) {
    u.made[refused[i]].make = refuse;
    Status status = upload(&u, NULL);
    cr_assert_eq(status_code(status), ERROR_UNSUPPORTED);
    status_free(status);
    u.made[refused[i]].make = make_part;
    expect_upload(&u, NULL);
  }
  close_upload(&u);
}

Test(cuda_staging, a_call_that_fails_is_an_error) {
  Upload u;
  open_upload(&u);
  int before = fake_cuda.calls;
  expect_upload(&u, NULL);
  int calls = fake_cuda.calls - before;
  cr_assert_gt(calls, PARTS);
  for (int n = 1; n <= calls; n += n < 8 || n > calls - 8 ? 1 : 13) {
    fake_cuda.calls = 0;
    fake_cuda.fail_at = n;
    fake_cuda.fail_with = CUDA_OUT_OF_MEMORY;
    Status status = upload(&u, NULL);
    if (fake_cuda.calls < n) cr_assert_null(status);  // the second time needs fewer: its buffers are there
    else cr_assert_not_null(status, "call %d failed unnoticed", n);
    status_free(status);
    fake_cuda.fail_at = 0;
    expect_upload(&u, NULL);
  }
  close_upload(&u);
}

// ---- memory that is pinned ---------------------------------------------------------------------------------------------------

static const char *pinned;  // of PINNED_BYTES
enum { PINNED_BYTES = 2 * STAGE + 77 };

static CudaResult ask_for_type(void *value, int attribute, CudaAddress address) {
  cr_assert_eq(attribute, CUDA_POINTER_MEMORY_TYPE);
  if (address - (uintptr_t)pinned >= PINNED_BYTES) return 1;
  *(unsigned *)value = CUDA_MEMORY_HOST;
  return CUDA_OK;
}

// There and back; how many copies that took.
static int round_trip(CudaContext *context, void *device, const char *from, char *back, size_t size) {
  forget_copies();
  int before = copy_count;
  cr_assert_null(cuda_upload(context, device, from, size));
  cr_assert_null(cuda_download(context, back, device, size));
  cr_assert(!memcmp(from, back, size), "%zu bytes", size);
  return copy_count - before;
}

Test(cuda_staging, pinned_memory_travels_as_it_is) {
  Arena *arena = arena_new();
  CudaDriver driver;
  CudaContext *context = open_late(&driver, arena);
  char *memory = arena_alloc(arena, PINNED_BYTES), *ordinary = arena_alloc(arena, PINNED_BYTES);
  for (size_t i = 0; i < PINNED_BYTES; i++) memory[i] = (char)byte_of(3, i);
  void *device;
  cr_assert_null(cuda_alloc(context, PINNED_BYTES, &device));
  driver.cuPointerGetAttribute = ask_for_type;
  pinned = memory;
  cr_expect_eq(round_trip(context, device, memory, ordinary, PINNED_BYTES), 1 + 3);
  cr_expect_eq(round_trip(context, device, ordinary, memory, PINNED_BYTES), 3 + 1);
  round_trip(context, device, memory + 5, ordinary, 100);
  // A copy that was given to the device is waited for, whatever fails: the memory is the caller's again.
  for (int fail_at = 1; fail_at <= 3; fail_at++) {
    fake_cuda.calls = 0;
    fake_cuda.fail_at = fail_at;
    fake_cuda.fail_with = CUDA_OUT_OF_MEMORY;
    Status status = cuda_upload(context, device, memory, PINNED_BYTES);
    cr_expect_not_null(status, "call %d failed unnoticed", fail_at);
    status_free(status);
    cr_expect_eq(copied, copy_count);
    fake_cuda.fail_at = 0;
  }
  cuda_free(context, device, PINNED_BYTES);
  close_late(context);
  arena_free(arena);
}
