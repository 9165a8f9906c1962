// Values at the command line: tensors, sequences of them, and nothing; between the public interface, files and what is printed.
#include <string.h>

#include "api/api.h"
#include "cli/cli.h"

ingot_tensor cli_wrap(Arena *arena, HostValue *value) {
  if (value->kind == VALUE_OPTIONAL || value->tensor.dtype == DTYPE_COUNT) return (ingot_tensor){0};
  if (value->kind == VALUE_TENSOR)
    return (ingot_tensor){.data = value->tensor.data,
                          .device = {INGOT_CPU, 0},
                          .ndim = value->tensor.rank,
                          .dtype = api_dtype(value->tensor.dtype),
                          .shape = value->tensor.dims};
  ingot_tensor *elements = arena_array(arena, ingot_tensor, (size_t)value->count + 1);
  int64_t *count = arena_new_of(arena, int64_t);
  *count = value->count;
  for (int i = 0; i < value->count; i++) elements[i] = cli_wrap(arena, &value->items[i]);
  return (ingot_tensor){.data = elements, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_TENSORS, 64, 1}, .shape = count};
}

Status cli_unwrap(const ingot_tensor *tensor, Tensor *out) {
  *out = (Tensor){.rank = tensor->ndim, .data = (char *)tensor->data + tensor->byte_offset};
  if (!api_dtype_from(tensor->dtype, &out->dtype))
    FAIL(ERROR_INTERNAL, "a result has the type code %d, %d bits", tensor->dtype.code, tensor->dtype.bits);
  memcpy(out->dims, tensor->shape, (size_t)tensor->ndim * sizeof *out->dims);
  return OK;
}

static Status take_elements(ingot_session *session, int index, Arena *arena, HostValue *out) {
  out->kind = VALUE_SEQUENCE;
  out->count = ingot_session_output_length(session, index);
  out->items = arena_array(arena, HostValue, (size_t)out->count + 1);
  for (int i = 0; i < out->count; i++) {
    ingot_tensor element;
    TRY((Status)ingot_session_output_element(session, index, i, &element));
    out->items[i].name = "";
    TRY(cli_unwrap(&element, &out->items[i].tensor));
  }
  return OK;
}

int cli_take_output(ingot_session *session, const ingot_engine *engine, int index, const ingot_tensor *described, Arena *arena,
                    HostValue *out) {
  *out = (HostValue){.name = ingot_binding_name(ingot_engine_output(engine, index))};
  Status status = OK;
  switch (ingot_session_output_kind(session, index)) {
    case INGOT_TENSOR: status = cli_unwrap(described, &out->tensor); break;
    case INGOT_SEQUENCE: status = take_elements(session, index, arena, out); break;
    default: out->kind = VALUE_OPTIONAL;
  }
  return status ? cli_fail(api_error(status_context(status, "output '%s'", out->name))) : 0;
}

const char *cli_element_name(Arena *arena, const HostValue *value, int element) {
  return arena_printf(arena, "%s[%d]", value->name, element);
}

const char *cli_kind_text(Arena *arena, const HostValue *value) {
  if (value->kind == VALUE_SEQUENCE) return arena_printf(arena, "a sequence of %d", value->count);
  if (value->kind == VALUE_OPTIONAL) return "nothing";
  Text text = text_new(arena);
  text_add(&text, "%s[", dtype_name(value->tensor.dtype));
  for (int i = 0; i < value->tensor.rank; i++) text_add(&text, "%s%lld", i ? ", " : "", (long long)value->tensor.dims[i]);
  text_add(&text, "]");
  return text_get(&text);
}
