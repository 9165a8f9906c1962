// Tensors from files and from nothing: a command's inputs.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/index_bound.h"

Wanted cli_wanted(const ingot_binding *binding) {
  static const ValueKind kinds[] = {
      [INGOT_TENSOR] = VALUE_TENSOR, [INGOT_SEQUENCE] = VALUE_SEQUENCE, [INGOT_OPTIONAL] = VALUE_OPTIONAL};
  Wanted wanted = {.name = ingot_binding_name(binding),
                   .kind = kinds[ingot_binding_kind(binding)],
                   .dtype_name = ingot_binding_dtype_name(binding),
                   .rank = ingot_binding_rank(binding)};
  for (int k = 0; k < wanted.rank; k++) wanted.dims[k] = ingot_binding_dims(binding)[k];
  return wanted;
}

// "2x3" up to `end` -> dims.
static bool parse_dims(const char *text, const char *end, int *rank, int64_t *dims) {
  for (*rank = 0; *rank < MAX_RANK;) {
    char *after;
    int64_t dim = strtoll(text, &after, 10);
    if (after == text || after > end || dim < 0) return false;
    dims[(*rank)++] = dim;
    if (after == end) return true;
    if (*after != 'x') return false;
    text = after + 1;
  }
  return false;
}

static const char *names_text(Arena *arena, const Wanted *bindings, int count) {
  Text text = text_new(arena);
  for (int i = 0; i < count; i++) text_add(&text, "%s'%s'", i ? ", " : "", bindings[i].name);
  return count ? text_get(&text) : "none";
}

// Takes "name:2x3,other:4" over into the bindings.
static int apply_shapes(const char *shapes, Wanted *bindings, int count, Arena *arena) {
  for (const char *at = shapes; at && *at;) {
    size_t span = strcspn(at, ",");
    Wanted *found = NULL;
    for (int i = 0; i < count; i++) {
      size_t length = strlen(bindings[i].name);
      if (span > length && at[length] == ':' && !memcmp(at, bindings[i].name, length)) found = &bindings[i];
    }
    if (!found)
      return cli_fail_text("--shapes %.*s: the model has no such input (say NAME:1x3x8x8); its inputs: %s", (int)span, at,
                           names_text(arena, bindings, count));
    if (found->kind != VALUE_TENSOR)
      return cli_fail_text("--shapes %.*s: '%s' is %s, which has no shape: give a file for it", (int)span, at, found->name,
                           found->kind == VALUE_SEQUENCE ? "a sequence" : "an optional");
    int rank;
    if (at[strlen(found->name) + 1] == 'x' || !parse_dims(at + strlen(found->name) + 1, at + span, &rank, found->dims))
      return cli_fail_text("--shapes %.*s: sizes are written like 1x3x8x8", (int)span, at);
    if (found->said) return cli_fail_text("--shapes names input '%s' twice", found->name);
    found->said = true;
    if (found->rank >= 0 && found->rank != rank)
      return cli_fail_text("--shapes %.*s: '%s' has %d axes", (int)span, at, found->name, found->rank);
    found->rank = rank;
    at += span + (at[span] == ',');
  }
  return 0;
}

// Floats in [-1, 1), integers below 100 and below what they index.
static void fill_random(Tensor *out, int64_t bound, uint64_t seed) {
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  int64_t count = tensor_count(out);
  double range = bound ? (double)bound : 100;
  for (int64_t i = 0; i < count; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    double unit = (double)(state >> 11) / 9007199254740992.0;
    if (dtype_is_float(out->dtype)) tensor_set_f(out, i, unit * 2 - 1);
    else tensor_set_i(out, i, out->dtype == DTYPE_BOOL ? (int64_t)(state >> 63) : (int64_t)(unit * range));
  }
}

static int random_input(const Wanted *binding, int64_t bound, uint64_t seed, Arena *arena, Tensor *out) {
  DType dtype;
  int64_t dims[MAX_RANK];
  if (binding->kind == VALUE_SEQUENCE)
    return cli_fail_text("input '%s' is a sequence of %s tensors: give a .pb file for it, which holds a SequenceProto",
                         binding->name, binding->dtype_name);
  if (!dtype_parse(binding->dtype_name, &dtype))
    return cli_fail_text("input '%s' has no declared type: give a file for it", binding->name);
  if (dtype == DTYPE_STRING) return cli_fail_text("input '%s' takes strings: give a .pb file for it", binding->name);
  if (binding->rank < 0)
    return cli_fail_text("input '%s' has no declared rank: say --shapes %s:1x2x3", binding->name, binding->name);
  for (int k = 0; k < binding->rank; k++) dims[k] = binding->dims[k] < 0 ? 1 : binding->dims[k];
  Status status = tensor_new(arena, dtype, binding->rank, dims, out);
  if (status) return cli_fail(api_error(status));
  fill_random(out, bound, seed);
  return 0;
}

// "x:1x3x?": the shape as --shapes takes it, with a question mark for each size that the model leaves open.
static void note_guess(const Wanted *binding, Text *guessed) {
  bool open = false;
  for (int k = 0; k < binding->rank; k++) open = open || binding->dims[k] < 0;
  if (!open) return;
  text_add(guessed, "%s%s:", guessed->length ? "," : "", binding->name);
  for (int k = 0; k < binding->rank; k++) {
    if (k) text_add(guessed, "x");
    if (binding->dims[k] < 0) text_add(guessed, "?");
    else text_add(guessed, "%lld", (long long)binding->dims[k]);
  }
}

// A file's sizes are its own; those that were said for its input must be the same.
static int check_shape(const Wanted *binding, const Tensor *tensor) {
  bool same = binding->rank == tensor->rank;
  for (int k = 0; same && k < binding->rank; k++) same = binding->dims[k] < 0 || binding->dims[k] == tensor->dims[k];
  return same ? 0 : cli_fail_text("--shapes says other sizes for input '%s' than its file has", binding->name);
}

// "name=file" -> file, where the name is that of an input; NULL otherwise.
static const char *named_file(const char *input, const char *name) {
  size_t length = strlen(name);
  return !strncmp(input, name, length) && input[length] == '=' ? input + length + 1 : NULL;
}

static int assign_named(const char *input, const Wanted *bindings, int count, const char **files, bool *found) {
  for (int k = 0; k < count; k++) {
    const char *file = named_file(input, bindings[k].name);
    if (!file) continue;
    if (files[k]) return cli_fail_text("--input gives input '%s' twice", bindings[k].name);
    files[k] = file;
    *found = true;
    break;
  }
  return 0;
}

// The file for each input: named ones first, the others in order. A lone .npz serves every input.
static int assign_files(const Common *common, const Wanted *bindings, int count, Arena *arena, const char **files) {
  bool archive = common->input_count == 1 && !strcasecmp(path_extension(common->inputs[0]), ".npz");
  bool *named = arena_array(arena, bool, (size_t)common->input_count);
  int next = 0;
  for (int i = 0; i < common->input_count; i++) {
    int code = assign_named(common->inputs[i], bindings, count, files, &named[i]);
    if (code) return code;
  }
  for (int i = 0; i < common->input_count; i++) {
    if (named[i]) continue;
    const char *equals = strchr(common->inputs[i], '=');
    if (equals && !file_exists(common->inputs[i]))
      return cli_fail_text("--input %s: the model has no input '%.*s'; its inputs: %s", common->inputs[i],
                           (int)(equals - common->inputs[i]), common->inputs[i], names_text(arena, bindings, count));
    if (archive) {
      for (int k = 0; k < count; k++) files[k] = common->inputs[i];
      continue;
    }
    while (next < count && files[next]) next++;
    if (next == count) return cli_fail_text("--input %s: the model takes only %d", common->inputs[i], count);
    files[next++] = common->inputs[i];
  }
  return 0;
}

// Sizes by the names that the model gives them: of inputs whose shapes are known, for those that are made up.
typedef struct Sizes {
  const ingot_engine *engine;
  StringMap *known;  // name -> size + 1
  Arena *arena;
} Sizes;

static void learn_sizes(Sizes *sizes, int input, int rank, const int64_t *dims) {
  const ingot_binding *binding = ingot_engine_input(sizes->engine, input);
  for (int k = 0; k < rank && k < ingot_binding_rank(binding); k++) {
    const char *name = ingot_binding_dim_name(binding, k);
    if (*name && dims[k] >= 0) string_map_set(sizes->known, name, (void *)(uintptr_t)(dims[k] + 1));
  }
}

// A name that stood in the model before has a number behind it here: "batch_2" is called "batch" there.
static void apply_sizes(const Sizes *sizes, int input, Wanted *binding) {
  for (int k = 0; k < binding->rank; k++) {
    const char *name = ingot_binding_dim_name(ingot_engine_input(sizes->engine, input), k);
    const char *suffix = strrchr(name, '_');
    void *found = string_map_get(sizes->known, name);
    if (!found && suffix && strspn(suffix + 1, "0123456789") == strlen(suffix + 1))
      found = string_map_get(sizes->known, arena_string_n(sizes->arena, name, (size_t)(suffix - name)));
    if (binding->dims[k] < 0 && found) binding->dims[k] = (int64_t)(uintptr_t)found - 1;
  }
}

static int read_input(const Common *common, const char *file, const Wanted *binding, Arena *arena, HostValue *value) {
  Status status = API_LIMITED(&common->config, cli_read_value(file, binding, &common->picture, arena, value));
  if (status) return cli_fail(api_error(status));
  return binding->said && value->kind == VALUE_TENSOR ? check_shape(binding, &value->tensor) : 0;
}

// Those that come from files, and those that are left out. *made_up: those that are neither.
static int read_inputs(const Common *common, const char *folder, const char **files, const Wanted *bindings, Sizes *sizes,
                       InputSet *out, bool *made_up) {
  bool pictures = false;
  for (int i = 0; i < out->count; i++) {
    HostValue *value = &out->values[i];
    const char *file = files[i];
    if (!file && folder) file = arena_printf(out->arena, "%s/input_%d.pb", folder, i);
    *value = (HostValue){.kind = bindings[i].kind, .name = bindings[i].name, .tensor.dtype = DTYPE_COUNT};
    bool optional = ingot_binding_has_default(ingot_engine_input(sizes->engine, i)) || bindings[i].kind == VALUE_OPTIONAL;
    if (optional && (!file || (file != files[i] && !file_exists(file)))) continue;
    made_up[i] = !file;
    if (bindings[i].said) learn_sizes(sizes, i, bindings[i].rank, bindings[i].dims);
    if (!file) continue;
    int code = read_input(common, file, &bindings[i], out->arena, value);
    if (code) return code;
    if (value->kind == VALUE_TENSOR) learn_sizes(sizes, i, value->tensor.rank, value->tensor.dims);
    pictures |= picture_is_one(file) || file_is_stream(file);
  }
  if (!pictures && (common->picture.normalised || common->picture.bgr))
    return cli_fail_text("--mean, --scale and --bgr are about pictures, and no input is one");
  return 0;
}

static int make_inputs(const ingot_engine *engine, const Common *common, const char *folder, uint64_t seed, InputSet *out) {
  Wanted *bindings = arena_array(out->arena, Wanted, out->count);
  const char **files = arena_array(out->arena, const char *, out->count);
  bool *made_up = arena_array(out->arena, bool, out->count);
  Sizes sizes = {engine, string_map_new(out->arena), out->arena};
  Text guessed = text_new(out->arena);
  for (int i = 0; i < out->count; i++) bindings[i] = cli_wanted(ingot_engine_input(engine, i));
  int code = apply_shapes(common->shapes, bindings, out->count, out->arena);
  if (!code) code = assign_files(common, bindings, out->count, out->arena, files);
  if (!code) code = read_inputs(common, folder, files, bindings, &sizes, out, made_up);
  for (int i = 0; i < out->count && !code; i++) {
    if (made_up[i]) {
      apply_sizes(&sizes, i, &bindings[i]);
      note_guess(&bindings[i], &guessed);
      code = random_input(&bindings[i], input_index_bound(engine->engine->graph, i), seed + (uint64_t)i, out->arena,
                          &out->values[i].tensor);
    }
    if (!code) out->tensors[i] = cli_wrap(out->arena, &out->values[i]);
  }
  if (guessed.length) out->guessed = text_get(&guessed);
  return code;
}

int cli_make_inputs(const ingot_engine *engine, const Common *common, const char *folder, uint64_t seed, InputSet *out) {
  Arena *arena = arena_new();
  int count = ingot_engine_input_count(engine);
  *out = (InputSet){.arena = arena,
                    .count = count,
                    .guessed = "",
                    .values = arena_array(arena, HostValue, count),
                    .tensors = arena_array(arena, ingot_tensor, count)};
  int code = make_inputs(engine, common, folder, seed, out);
  if (code) cli_free_inputs(out);
  return code;
}

void cli_free_inputs(InputSet *set) {
  arena_free(set->arena);
  *set = (InputSet){0};
}
