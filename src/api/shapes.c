// "ids:1x128,mask:1x128": sizes of inputs as text.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"

// The input whose name and a colon stand at text; -1: none.
static int find_input(const Graph *graph, const char *text, size_t span) {
  for (int i = 0; i < graph->input_count; i++) {
    size_t length = strlen(graph->inputs[i]->name);
    if (span > length && text[length] == ':' && !memcmp(text, graph->inputs[i]->name, length)) return i;
  }
  return -1;
}

static Status read_size(const char **at, const char *end, int64_t *out) {
  char *after;
  if (**at < '0' || **at > '9') FAIL(ERROR_INVALID_ARGUMENT, "sizes are written like 1x3x8x8");
  *out = strtoll(*at, &after, 10);
  if (after > end || (after < end && *after != 'x') || after + 1 == end || *out > INT64_MAX / 16)
    FAIL(ERROR_INVALID_ARGUMENT, "sizes are written like 1x3x8x8");
  *at = after + (after < end);
  return OK;
}

static Status read_sizes(const Value *input, const char *at, const char *end, int64_t *dims) {
  int rank = 0;
  if (input->kind != VALUE_TENSOR)
    FAIL(ERROR_INVALID_ARGUMENT, "the input is %s, which has no shape",
         input->kind == VALUE_SEQUENCE ? "a sequence" : "an optional");
  if (input->rank < 0) FAIL(ERROR_INVALID_ARGUMENT, "the model declares no shape, and only a run knows it");
  while (at < end) {
    if (rank == MAX_RANK) FAIL(ERROR_INVALID_ARGUMENT, "there are more than %d sizes", MAX_RANK);
    TRY(read_size(&at, end, &dims[rank++]));
  }
  if (input->rank != rank) FAIL(ERROR_INVALID_ARGUMENT, "the model declares %d axes, not %d", input->rank, rank);
  for (int k = 0; k < rank; k++)
    if (dim_is_static(input->dims[k]) && input->dims[k] != dims[k])
      FAIL(ERROR_INVALID_ARGUMENT, "the model declares %lld for axis %d, not %lld", (long long)input->dims[k], k,
           (long long)dims[k]);
  return OK;
}

Status api_parse_shapes(const Graph *graph, const char *text, Arena *arena, const int64_t *const **out) {
  const int64_t **shapes = arena_array(arena, const int64_t *, graph->input_count);
  *out = shapes;
  for (const char *at = text; at && *at;) {
    size_t span = strcspn(at, ",");
    int index = find_input(graph, at, span);
    if (index < 0) FAIL(ERROR_INVALID_ARGUMENT, "shapes: the model has no input of the name in '%.*s'", (int)span, at);
    const Value *input = graph->inputs[index];
    int64_t *dims = arena_array(arena, int64_t, MAX_RANK);
    TRY(status_context(read_sizes(input, at + strlen(input->name) + 1, at + span, dims), "shapes: '%.*s'", (int)span, at));
    shapes[index] = dims;
    at += span + (at[span] == ',');
  }
  return OK;
}
