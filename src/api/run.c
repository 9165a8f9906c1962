// Running a session, and where the results go. A result is either lent by the session or written to memory of the caller's, which is
// believed to be no larger than the caller said: everything is checked before anything is written.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/memory.h"
#include "base/recover.h"
#include "base/text.h"

enum { DEVICE_ALIGNMENT = 256 };  // of what a kernel writes to directly, see kernels/site.h

static const char *output_name(const ingot_session *session, int index) { return session->engine->outputs[index].name; }

// ---- where the caller wants it -----------------------------------------------------------------------------------------------

static ingot_output *output_at(ingot_output *outputs, int index) {
  return (ingot_output *)((char *)outputs + (size_t)index * outputs->size);
}

static Status check_sizes(ingot_output *outputs, int count) {
  for (int i = 0; i < count; i++) {
    size_t size = i ? output_at(outputs, i)->size : outputs->size;
    if (size != sizeof(ingot_output))
      FAIL(ERROR_INVALID_ARGUMENT, "outputs[%d].size is %zu, but an ingot_output of Ingot %s has %zu bytes", i, size,
           INGOT_VERSION, sizeof(ingot_output));
  }
  return OK;
}

static Status read_callers_memory(ingot_session *session, int index, const ingot_output *given, Destination *to) {
  const ingot_tensor *tensor = &given->tensor;
  const char *name = output_name(session, index);
  to->callers = true;
  to->capacity = given->capacity;
  if (given->capacity) {
    if (tensor->strides)
      FAIL(ERROR_INVALID_ARGUMENT, "output '%s': its memory is given in bytes, and then strides must be NULL", name);
  } else {
    TRY(api_read_shape(tensor, "output", name, &session->expected[index]));
    to->expected = &session->expected[index];
    to->capacity = tensor_bytes(to->expected);
  }
  if (!tensor->data && to->capacity)
    FAIL(ERROR_INVALID_ARGUMENT, "output '%s': the caller owns its memory, but data is NULL", name);
  void *start;
  TRY(api_address(tensor, 0, "output", name, &start));
  to->to = start;
  return OK;
}

static Status read_destination(ingot_session *session, int index, const ingot_output *given, Destination *to) {
  const char *name = output_name(session, index);
  *to = (Destination){.host = api_on_host(&given->tensor) || !given->tensor.device.device_type};
  if (!to->host) TRY(api_check_device(session, &given->tensor, "output", name));
  switch (given->owner) {
    case INGOT_OWNED_BY_SESSION: return OK;
    case INGOT_OWNED_BY_CALLER: return read_callers_memory(session, index, given, to);
  }
  FAIL(ERROR_INVALID_ARGUMENT, "output '%s': its owner %d is neither the session nor the caller", name, (int)given->owner);
}

static bool shares(const RunTensor *taken, const ingot_tensor *given, const Destination *to) {
  const char *start = (char *)given->data + given->byte_offset;
  for (int i = 0; taken->list && i < taken->list->count; i++)
    if (shares(&taken->list->items[i], (const ingot_tensor *)(const void *)start + i, to)) return true;
  return taken->storage && given->data && api_overlaps(to->to, to->capacity, start, taken->storage->bytes);
}

// Results may be written while inputs are still read, and in any order.
static Status check_overlap(ingot_session *session, const ingot_tensor *inputs, int index, const Destination *to) {
  const char *name = output_name(session, index);
  for (int i = 0; i < ingot_engine_input_count(session->engine); i++)
    if ((session->inputs[i].storage || session->inputs[i].list) && shares(&session->inputs[i], &inputs[i], to))
      FAIL(ERROR_INVALID_ARGUMENT, "output '%s' and input '%s' share memory", name, session->engine->inputs[i].name);
  for (int i = 0; i < index; i++) {
    const Destination *other = &session->destinations[i];
    if (other->callers && api_overlaps(to->to, to->capacity, other->to, other->capacity))
      FAIL(ERROR_INVALID_ARGUMENT, "outputs '%s' and '%s' share memory", output_name(session, i), name);
  }
  if (api_is_lent(session, to->to, to->capacity))
    FAIL(ERROR_INVALID_ARGUMENT, "output '%s' is to go to memory that the session lent: it is not the caller's", name);
  return OK;
}

// ---- whether it fits ---------------------------------------------------------------------------------------------------------

static const char *type_text(Arena *arena, DType dtype, int rank, const int64_t *dims) {
  Text text = text_new(arena);
  text_add(&text, "%s[", dtype_name(dtype));
  for (int k = 0; k < rank; k++) text_add(&text, "%s%lld", k ? ", " : "", (long long)dims[k]);
  text_add(&text, "]");
  return text_get(&text);
}

static Status misfit(const char *name, const Destination *to, const Tensor *result) {
  Arena *arena = arena_scratch();
  const char *type = type_text(arena, result->dtype, result->rank, result->dims);
  Status status;
  if (to->expected)
    status = status_make(ERROR_INVALID_ARGUMENT, "output '%s' is %s, but the caller's memory is said to be %s", name, type,
                         type_text(arena, to->expected->dtype, to->expected->rank, to->expected->dims));
  else
    status = status_make(ERROR_INVALID_ARGUMENT, "output '%s' is %s, %zu bytes, but the caller's memory has %zu", name, type,
                         tensor_bytes(result), to->capacity);
  arena_free(arena);
  return status;
}

static Status check_fit(const char *name, const Destination *to, const Tensor *result) {
  if (result->dtype == DTYPE_STRING && !to->host)
    FAIL(ERROR_INVALID_ARGUMENT, "output '%s' holds strings, which live on the host", name);
  if (!to->callers) return OK;
  const Tensor *expected = to->expected;
  bool fits = tensor_bytes(result) <= to->capacity;
  if (expected)
    fits = expected->dtype == result->dtype && expected->rank == result->rank &&
           !memcmp(expected->dims, result->dims, (size_t)result->rank * sizeof *result->dims);
  return fits ? OK : misfit(name, to, result);
}

// What is known before the run is refused before the run; device memory of the caller's is then written by the last kernel itself, if the
// result is what the caller says (hand_over asks).
static Status place_output(ingot_session *session, int index) {
  const Destination *to = &session->destinations[index];
  const Value *value = session->engine->engine->graph->outputs[index];
  Tensor result = {.dtype = value->dtype, .rank = value->rank};
  if (!to->callers || value->kind != VALUE_TENSOR || value->dtype == DTYPE_COUNT) return OK;
  if (value_get_dims(value, result.dims)) TRY(check_fit(output_name(session, index), to, &result));
  else if (to->expected && to->expected->dtype == value->dtype) result = *to->expected;
  else return OK;
  if (to->host || (uintptr_t)to->to % DEVICE_ALIGNMENT) return OK;
  return run_tensor_borrow_device(session->device, result.dtype, result.rank, result.dims, to->to, &session->outputs[index]);
}

// ---- handing it over ---------------------------------------------------------------------------------------------------------

// What is lent is the session's own, and may be taken: not an input handed through, not a constant of the engine, not another output too. The runner, which writes
// later results there, lets go of it then (results.c).
static bool is_of_one(const Storage *storage) { return storage->references == 1 + storage->staged; }

static Status own_on_host(ingot_session *session, RunTensor *result, void **out) {
  TRY(run_tensor_host(result, out));
  Storage *storage = result->storage;
  bool owned = *out == storage->host_memory ? storage->owns_host : storage->owns_device;
  if (owned && is_of_one(storage)) return OK;
  void *copy;
  TRY(memory_take(storage->bytes, &copy));
  if (storage->bytes) memcpy(copy, *out, storage->bytes);
  Tensor tensor = {.dtype = result->dtype, .rank = result->rank, .data = copy};
  memcpy(tensor.dims, result->dims, sizeof tensor.dims);
  RunTensor own;
  Status status = run_tensor_borrow_host(session->device, &tensor, &own);
  if (status) {
    memory_free(copy);
    return status;
  }
  own.storage->owns_host = true;
  run_tensor_drop(result);
  *result = own;
  *out = copy;
  return OK;
}

static Status own_on_device(ingot_session *session, RunTensor *result, void **out) {
  Device *device = session->device;
  TRY(run_tensor_device(result, out));
  if (result->storage->owns_device && is_of_one(result->storage)) return OK;
  RunTensor owned;
  TRY(run_tensor_allocate(device, result, run_tensor_bytes(result), &owned));
  Status status = device->copy(device, owned.storage->device_memory, *out, run_tensor_bytes(result));
  if (status) {
    run_tensor_drop(&owned);
    return status;
  }
  run_tensor_drop(result);
  *result = owned;
  *out = owned.storage->device_memory;
  return OK;
}

static Status lend(ingot_session *session, RunTensor *result, bool host, void **out) {
  if (result->dtype != DTYPE_STRING) return host ? own_on_host(session, result, out) : own_on_device(session, result, out);
  void *from;
  TRY(run_tensor_host(result, &from));
  size_t count = result->storage->bytes / sizeof(char *);
  *out = arena_array(session->strings[session->strings_turn], const char *, count);
  api_lend_strings(session, from, *out, (int64_t)count);
  return OK;
}

static Status write_out(ingot_session *session, const Destination *to, const RunTensor *result) {
  Device *device = session->device;
  const Storage *storage = result->storage;
  if (!storage->bytes) return OK;
  if (result->dtype == DTYPE_STRING) {
    void *from;
    TRY(run_tensor_host(result, &from));
    api_lend_strings(session, from, (const char **)to->to, (int64_t)(storage->bytes / sizeof(char *)));
    return OK;
  }
  if (!to->host) {
    void *from;
    TRY(run_tensor_device(result, &from));
    return from == to->to ? OK : device->copy(device, to->to, from, storage->bytes);
  }
  if (!storage->host_memory) return device->download(device, to->to, storage->device_memory, storage->bytes);
  memcpy(to->to, storage->host_memory, storage->bytes);
  return OK;
}

// Elements become the session's own too, on the host; the list may be one that others share, and then is theirs as well.
static Status lend_sequence(ingot_session *session, const RunTensor *sequence) {
  for (int i = 0; sequence->list && i < sequence->list->count; i++) {
    RunTensor *item = &sequence->list->items[i], lent;
    void *data;
    TRY(lend(session, item, true, &data));
    if (item->dtype != DTYPE_STRING) continue;
    Tensor tensor = {.dtype = item->dtype, .rank = item->rank, .data = data};
    memcpy(tensor.dims, item->dims, sizeof tensor.dims);
    TRY(run_tensor_borrow_host(session->device, &tensor, &lent));
    run_tensor_drop(item);
    *item = lent;
  }
  return OK;
}

static Status hand_over(ingot_session *session, int count) {
  for (int i = 0; i < count; i++) {
    const RunTensor *result = &session->outputs[i];
    if (result->kind != VALUE_TENSOR) {
      if (session->destinations[i].callers)
        FAIL(ERROR_INVALID_ARGUMENT, "output '%s' is no tensor: its elements are lent by the session", output_name(session, i));
      TRY(lend_sequence(session, result));
      continue;
    }
    Tensor tensor = {.dtype = result->dtype, .rank = result->rank};
    memcpy(tensor.dims, result->dims, sizeof tensor.dims);
    TRY(check_fit(output_name(session, i), &session->destinations[i], &tensor));
  }
  for (int i = 0; i < count; i++) {
    Destination *to = &session->destinations[i];
    void *lent = NULL;
    if (to->callers || session->outputs[i].kind != VALUE_TENSOR) continue;
    TRY(lend(session, &session->outputs[i], to->host, &lent));
    to->to = lent;
  }
  for (int i = 0; i < count; i++) {
    if (!session->destinations[i].callers) continue;
    TRY(write_out(session, &session->destinations[i], &session->outputs[i]));
    run_tensor_drop(&session->outputs[i]);  // only what is lent is kept
  }
  return OK;
}

static void describe(ingot_session *session, int index, ingot_tensor *out) {
  const Destination *to = &session->destinations[index];
  RunTensor *result = &session->outputs[index];
  if (to->expected) return;  // it is what it was said to be
  if (!to->callers) {
    out->data = to->to;
    out->byte_offset = 0;
    if (to->host) out->device = (ingot_place){INGOT_CPU, 0};
  }
  if (result->kind != VALUE_TENSOR) {
    *out = (ingot_tensor){.device = {INGOT_CPU, 0}};
    return;
  }
  out->ndim = result->rank;
  out->dtype = api_dtype(result->dtype);
  out->shape = result->dims;
  out->strides = NULL;
}

// ---- the run -----------------------------------------------------------------------------------------------------------------

// With the inputs and destinations that were read.
static Status run_taken(ingot_session *session, int count) {
  api_drop(session->outputs, count);
  for (int i = 0; i < count; i++) TRY(place_output(session, i));
  TRY(runner_run(session->runner, session->inputs, session->outputs));
  session->stats = runner_stats(session->runner);
  return hand_over(session, count);
}

static Status run(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_output *wanted, int output_count) {
  int expected = ingot_engine_output_count(session->engine);
  if (output_count != expected)
    FAIL(ERROR_INVALID_ARGUMENT, "the model has %d outputs, but room for %d was given", expected, output_count);
  if (wanted) TRY(check_sizes(wanted, expected));
  api_turn_strings(session);
  TRY(api_take_inputs(session, inputs, input_count));
  for (int i = 0; i < expected; i++) {
    Destination *to = &session->destinations[i];
    if (wanted) TRY(read_destination(session, i, output_at(wanted, i), to));
    else *to = (Destination){.host = true};
    if (to->callers) TRY(check_overlap(session, inputs, i, to));
  }
  Status status = run_taken(session, expected);
  if (!status || !runner_make_room(session->runner)) return status;
  status_free(status);
  return run_taken(session, expected);
}

// The caller's stream and a run between what it holds now and what it is given afterwards.
typedef struct Between {
  void *stream;
  bool ordered;  // else it is not asked about any stream
} Between;

// What was enqueued before a run failed may still read the inputs, so the stream goes behind it all the same.
static Status run_between(ingot_session *session, Between between, const ingot_tensor *inputs, int input_count,
                          ingot_output *wanted, int output_count) {
  if (!between.ordered) return run(session, inputs, input_count, wanted, output_count);
  TRY(api_order(session, between.stream, true));
  Status status = RECOVER_GUARD(run(session, inputs, input_count, wanted, output_count));
  Status after = api_order(session, between.stream, false);
  if (!status) return after;
  status_free(after);
  return status;
}

// A session whose run failed lends nothing.
static Status run_cleanly(ingot_session *session, Between between, const ingot_tensor *inputs, int input_count,
                          ingot_output *wanted, int output_count) {
  Status status = SESSION_CALL(session, run_between(session, between, inputs, input_count, wanted, output_count));
  if (status) api_drop(session->outputs, ingot_engine_output_count(session->engine));
  return status;
}

ingot_error *ingot_session_run(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_tensor *outputs,
                               int output_count) {
  Status status = api_require("ingot_session_run", "session", session, "inputs", input_count ? inputs : (void *)&status,
                              "outputs", output_count ? outputs : (void *)&status, NULL);
  if (!status) status = run_cleanly(session, (Between){0}, inputs, input_count, NULL, output_count);
  for (int i = 0; !status && i < output_count; i++) {
    outputs[i] = (ingot_tensor){0};
    describe(session, i, &outputs[i]);
  }
  return api_error(status);
}

static Status run_into(const char *function, ingot_session *session, Between between, const ingot_tensor *inputs,
                       int input_count, ingot_output *outputs, int output_count) {
  Status status = api_require(function, "session", session, "inputs", input_count ? inputs : (void *)&status, "outputs",
                              output_count ? outputs : (void *)&status, NULL);
  if (!status) status = run_cleanly(session, between, inputs, input_count, outputs, output_count);
  for (int i = 0; !status && i < output_count; i++) describe(session, i, &output_at(outputs, i)->tensor);
  return status;
}

ingot_error *ingot_session_run_into(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_output *outputs,
                                    int output_count) {
  return api_error(run_into("ingot_session_run_into", session, (Between){0}, inputs, input_count, outputs, output_count));
}

ingot_error *ingot_session_run_ordered(ingot_session *session, void *cuda_stream, const ingot_tensor *inputs, int input_count,
                                       ingot_output *outputs, int output_count) {
  Between between = {.stream = cuda_stream, .ordered = true};
  return api_error(run_into("ingot_session_run_ordered", session, between, inputs, input_count, outputs, output_count));
}
