// "ids:1x128,mask:1..8x16..128..512": sizes of inputs as text.
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

#define WRITTEN "sizes are written like 1x3x8x8, and those that vary like 1..8 or 1..4..8"

static Status read_number(const char **at, const char *end, int64_t *out) {
  char *after;
  if (*at >= end || **at < '0' || **at > '9') FAIL(ERROR_INVALID_ARGUMENT, WRITTEN);
  *out = strtoll(*at, &after, 10);
  if (after > end || *out > INT64_MAX / 16) FAIL(ERROR_INVALID_ARGUMENT, WRITTEN);
  *at = after;
  return OK;
}

static bool skip_dots(const char **at, const char *end) {
  if (end - *at < 2 || memcmp(*at, "..", 2)) return false;
  *at += 2;
  return true;
}

// 8, or from 1 to 8, or with what it mostly is between them.
static Status read_size(const char **at, const char *end, ShapeRange *range, int axis) {
  int64_t numbers[3];
  int count = 0;
  do TRY(read_number(at, end, &numbers[count++]));
  while (count < 3 && skip_dots(at, end));
  if (*at < end && (**at != 'x' || *at + 1 == end)) FAIL(ERROR_INVALID_ARGUMENT, WRITTEN);
  *at += *at < end;
  range->least[axis] = numbers[0], range->best[axis] = numbers[count / 2], range->most[axis] = numbers[count - 1];
  if (range->least[axis] > range->best[axis] || range->best[axis] > range->most[axis])
    FAIL(ERROR_INVALID_ARGUMENT, "a range begins with the smallest size: %lld is more than %lld", (long long)numbers[0],
         (long long)numbers[count - 1]);
  return OK;
}

static Status read_sizes(const Value *input, const char *at, const char *end, ShapeRange *range) {
  int rank = 0;
  if (input->kind != VALUE_TENSOR)
    FAIL(ERROR_INVALID_ARGUMENT, "the input is %s, which has no shape",
         input->kind == VALUE_SEQUENCE ? "a sequence" : "an optional");
  if (input->rank < 0) FAIL(ERROR_INVALID_ARGUMENT, "the model declares no shape, and only a run knows it");
  while (at < end) {
    if (rank == MAX_RANK) FAIL(ERROR_INVALID_ARGUMENT, "there are more than %d sizes", MAX_RANK);
    TRY(read_size(&at, end, range, rank++));
  }
  if (input->rank != rank) FAIL(ERROR_INVALID_ARGUMENT, "the model declares %d axes, not %d", input->rank, rank);
  for (int k = 0; k < rank; k++)
    if (dim_is_static(input->dims[k]) && (input->dims[k] != range->least[k] || input->dims[k] != range->most[k]))
      FAIL(ERROR_INVALID_ARGUMENT, "the model declares %lld for axis %d, not %lld", (long long)input->dims[k], k,
           (long long)(input->dims[k] == range->least[k] ? range->most[k] : range->least[k]));
  return OK;
}

// A symbol has one range, whichever input says it.
static Status check_symbols(const Graph *graph, const ShapeRange *const *ranges) {
  for (int i = 0; i < graph->input_count; i++)
    for (int j = 0; ranges[i] && j < i; j++)
      for (int k = 0; ranges[j] && k < graph->inputs[i]->rank; k++)
        for (int l = 0; l < graph->inputs[j]->rank; l++) {
          Dim dim = graph->inputs[i]->dims[k];
          if (dim_is_static(dim) || dim != graph->inputs[j]->dims[l]) continue;
          if (ranges[i]->least[k] == ranges[j]->least[l] && ranges[i]->best[k] == ranges[j]->best[l] &&
              ranges[i]->most[k] == ranges[j]->most[l])
            continue;
          FAIL(ERROR_INVALID_ARGUMENT, "shapes: '%s' is one size of the model, but has two ranges, of inputs '%s' and '%s'",
               dim_symbol_name(graph->dims, dim), graph->inputs[j]->name, graph->inputs[i]->name);
        }
  return OK;
}

Status api_parse_shapes(const Graph *graph, const char *text, Arena *arena, ShapeProfile *out) {
  const ShapeRange **ranges = arena_array(arena, const ShapeRange *, (size_t)graph->input_count + 1);
  *out = (ShapeProfile){.ranges = ranges};
  for (const char *at = text; at && *at;) {
    size_t span = strcspn(at, ",");
    int index = find_input(graph, at, span);
    if (index < 0) FAIL(ERROR_INVALID_ARGUMENT, "shapes: the model has no input of the name in '%.*s'", (int)span, at);
    const Value *input = graph->inputs[index];
    ShapeRange *range = arena_new_of(arena, ShapeRange);
    TRY(status_context(read_sizes(input, at + strlen(input->name) + 1, at + span, range), "shapes: '%.*s'", (int)span, at));
    ranges[index] = range;
    at += span + (at[span] == ',');
  }
  TRY(check_symbols(graph, ranges));
  api_sample_shapes(graph, arena, out);
  return OK;
}
