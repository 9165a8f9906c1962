// ingot run: one inference on given inputs; results summarised, ranked, or written to files.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/thread.h"
#include "cli/cli.h"

static int run(int count, char **arguments);
const Command command_run = {
    "run", "run a model once and show or keep the results",
    "[options]\n\n"
    "  ingot run mnist.onnx --input 7.png --top 3            the three likeliest classes\n"
    "  ingot run resnet50.onnx --input cat.jpg --mean 123.7,116.3,103.5 --scale 1/58.4,1/57.1,1/57.4 \\\n"
    "            --softmax --top 5 --labels imagenet.txt     a photo, normalised as the model was trained\n"
    "  ingot run bert.onnx --input ids=ids.npy --input mask=mask.npy --output out.npz\n"
    "  ingot run model.onnx --shapes x:4x3x64x64 --output golden/   random inputs; keeps input_K.pb and output_K.pb,\n"
    "                                                        which `ingot verify --data golden/` compares with\n\n"
    "  --data DIR              inputs from a folder of input_K.pb\n"
    "  --output PATH, -o PATH  .npz (all outputs), .npy or .pb (of a model with one output), else a folder\n"
    "  --top K                 the K largest values along the last axis of each output\n"
    "  --labels FILE           names for them, one a line\n"
    "  --softmax               turns the last axis into probabilities first\n"
    "  --seed N                of random inputs; default: 1\n",
    run};

typedef struct RunOptions {
  const char *output, *labels_path, *data;
  int top, seed;
  bool softmax;
  const char **labels;
  uint32_t label_count, label_capacity;
} RunOptions;

static int read_labels(RunOptions *options, Arena *arena) {
  Bytes bytes;
  if (!options->labels_path) return 0;
  Status status = file_read(options->labels_path, (size_t)64 << 20, arena, &bytes);
  if (status) return cli_fail((ingot_error *)status);
  const char *at = (const char *)bytes.data, *end = at + bytes.size;
  while (at < end) {
    const char *line = memchr(at, '\n', (size_t)(end - at));
    size_t length = (size_t)((line ? line : end) - at);
    *ARENA_PUSH(arena, options->labels, options->label_count, options->label_capacity) =
        arena_string_n(arena, at, length - (length && at[length - 1] == '\r'));
    at += length + 1;
  }
  return 0;
}

// ---- what an output holds ----------------------------------------------------------------------------------------------------

typedef struct Summary {
  double least, most, mean;
  int64_t count, strange;  // elements; NaN and infinities among them
} Summary;

static Summary summarise(const Tensor *tensor) {
  Summary s = {.least = INFINITY, .most = -INFINITY, .count = tensor_count(tensor)};
  if (tensor->dtype == DTYPE_STRING) return s;
  for (int64_t i = 0; i < s.count; i++) {
    double value = tensor_get_f(tensor, i);
    if (!isfinite(value)) {
      s.strange++;
      continue;
    }
    s.least = fmin(s.least, value);
    s.most = fmax(s.most, value);
    s.mean += value;
  }
  if (s.count > s.strange) s.mean /= (double)(s.count - s.strange);
  else s.least = s.most = s.mean = NAN;
  return s;
}

typedef struct Ranked {
  double value;
  int64_t index;
} Ranked;

static int largest_first(const void *a, const void *b) {
  const Ranked *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? 1 : -1;
  return x->index < y->index ? -1 : 1;
}

// The row's values, largest first. NULL where memory is short.
static Ranked *rank_row(const Tensor *tensor, int64_t row, int64_t length, bool softmax) {
  Ranked *ranked = malloc((size_t)length * sizeof *ranked);
  double most = -INFINITY, sum = 0;
  for (int64_t i = 0; ranked && i < length; i++) {
    ranked[i] = (Ranked){tensor_get_f(tensor, row * length + i), i};
    most = fmax(most, ranked[i].value);
  }
  for (int64_t i = 0; ranked && softmax && i < length; i++) sum += ranked[i].value = exp(ranked[i].value - most);
  for (int64_t i = 0; ranked && softmax && i < length; i++) ranked[i].value /= sum;
  if (ranked) qsort(ranked, (size_t)length, sizeof *ranked, largest_first);
  return ranked;
}

static const char *label_of(const RunOptions *options, int64_t index) {
  return index < (int64_t)options->label_count ? options->labels[index] : NULL;
}

static void print_top(const Tensor *tensor, const RunOptions *options) {
  enum { MAX_ROWS = 16 };
  int64_t length = tensor->rank ? tensor->dims[tensor->rank - 1] : 1, rows = length ? tensor_count(tensor) / length : 0;
  for (int64_t row = 0; row < rows && row < MAX_ROWS; row++) {
    Ranked *ranked = rank_row(tensor, row, length, options->softmax);
    if (rows > 1) printf("  row %lld\n", (long long)row);
    for (int64_t i = 0; ranked && i < length && i < options->top; i++) {
      const char *label = label_of(options, ranked[i].index);
      if (options->softmax)
        printf("  %6.2f%%  %lld%s%s\n", ranked[i].value * 100, (long long)ranked[i].index, label ? "  " : "",
               label ? label : "");
      else printf("  %9.4g  %lld%s%s\n", ranked[i].value, (long long)ranked[i].index, label ? "  " : "", label ? label : "");
    }
    free(ranked);
  }
  if (rows > MAX_ROWS) printf("  ... and %lld further rows\n", (long long)(rows - MAX_ROWS));
}

static void print_complex(const Tensor *tensor, int64_t i) {
  const void *data = tensor->data;
  bool narrow = tensor->dtype == DTYPE_C64;
  double real = narrow ? ((const float *)data)[2 * i] : ((const double *)data)[2 * i];
  double imaginary = narrow ? ((const float *)data)[2 * i + 1] : ((const double *)data)[2 * i + 1];
  printf("%s%.6g%+.6gi", i ? ", " : "", real, imaginary);
}

static void print_values(const Tensor *tensor, const Summary *s) {
  enum { MAX_VALUES = 8 };
  printf("  ");
  for (int64_t i = 0; i < s->count && i < MAX_VALUES; i++) {
    if (tensor->dtype == DTYPE_STRING) printf("%s\"%s\"", i ? ", " : "", ((const char *const *)tensor->data)[i]);
    else if (dtype_kind(tensor->dtype) == KIND_COMPLEX) print_complex(tensor, i);
    else if (dtype_is_float(tensor->dtype)) printf("%s%.6g", i ? ", " : "", tensor_get_f(tensor, i));
    else printf("%s%lld", i ? ", " : "", (long long)tensor_get_i(tensor, i));
  }
  printf("%s\n", s->count > MAX_VALUES ? ", ..." : "");
}

static void print_tensor(const char *name, const Tensor *tensor, const RunOptions *options) {
  Summary s = summarise(tensor);
  printf("%-24s %s[", name, dtype_name(tensor->dtype));
  for (int k = 0; k < tensor->rank; k++) printf("%s%lld", k ? ", " : "", (long long)tensor->dims[k]);
  printf("]");
  bool numbers = tensor->dtype != DTYPE_STRING;
  if (numbers && s.count > 8) printf("  from %.5g to %.5g, mean %.5g", s.least, s.most, s.mean);
  if (s.strange) printf("  (%lld NaN or infinite)", (long long)s.strange);
  printf("\n");
  if (numbers && options->top) print_top(tensor, options);
  else if (s.count) print_values(tensor, &s);
}

static void print_output(const HostValue *output, const RunOptions *options, Arena *arena) {
  if (output->kind == VALUE_TENSOR) {
    print_tensor(output->name, &output->tensor, options);
    return;
  }
  printf("%-24s %s\n", output->name, cli_kind_text(arena, output));
  for (int i = 0; i < output->count; i++) print_tensor(cli_element_name(arena, output, i), &output->items[i].tensor, options);
}

static void json_tensor(Json *json, const char *name, const Tensor *tensor, const RunOptions *options) {
  Summary s = summarise(tensor);
  json_object(json, NULL);
  json_string(json, "name", name);
  json_string(json, "dtype", dtype_name(tensor->dtype));
  json_array(json, "shape");
  for (int k = 0; k < tensor->rank; k++) json_int(json, NULL, tensor->dims[k]);
  json_end_array(json);
  if (tensor->dtype == DTYPE_STRING) {
    json_array(json, "values");
    for (int64_t i = 0; i < s.count; i++) json_string(json, NULL, ((const char *const *)tensor->data)[i]);
    json_end_array(json);
    json_end_object(json);
    return;
  }
  json_double(json, "min", s.least);
  json_double(json, "max", s.most);
  json_double(json, "mean", s.mean);
  json_int(json, "not_finite", s.strange);
  int64_t length = tensor->rank ? tensor->dims[tensor->rank - 1] : 1, rows = length ? s.count / length : 0;
  if (options->top) json_array(json, "top");
  for (int64_t row = 0; options->top && row < rows; row++) {
    Ranked *ranked = rank_row(tensor, row, length, options->softmax);
    json_array(json, NULL);
    for (int64_t i = 0; ranked && i < length && i < options->top; i++) {
      json_object(json, NULL);
      json_int(json, "index", ranked[i].index);
      json_double(json, "value", ranked[i].value);
      if (label_of(options, ranked[i].index)) json_string(json, "label", label_of(options, ranked[i].index));
      json_end_object(json);
    }
    json_end_array(json);
    free(ranked);
  }
  if (options->top) json_end_array(json);
  json_end_object(json);
}

static void json_output(Json *json, const HostValue *output, const RunOptions *options, Arena *arena) {
  if (output->kind == VALUE_TENSOR) {
    json_tensor(json, output->name, &output->tensor, options);
    return;
  }
  json_object(json, NULL);
  json_string(json, "name", output->name);
  json_string(json, "kind", output->kind == VALUE_SEQUENCE ? "sequence" : "nothing");
  json_array(json, "elements");
  for (int i = 0; i < output->count; i++)
    json_tensor(json, cli_element_name(arena, output, i), &output->items[i].tensor, options);
  json_end_array(json);
  json_end_object(json);
}

// ---- keeping results ---------------------------------------------------------------------------------------------------------

// Where the model says optional, so does the file.
static HostValue as_declared(const HostValue *value, const ingot_binding *binding) {
  HostValue *element = (HostValue *)(uintptr_t)value;
  bool wrap = ingot_binding_kind(binding) == INGOT_OPTIONAL && value->kind != VALUE_OPTIONAL;
  return wrap ? (HostValue){.kind = VALUE_OPTIONAL, .name = value->name, .count = 1, .items = element} : *value;
}

static int write_folder(const char *folder, const ingot_engine *engine, const InputSet *inputs, const HostValue *outputs,
                        int count) {
  Status status = directory_make(folder);
  if (status) return cli_fail((ingot_error *)status);
  for (int i = 0; i < inputs->count; i++) {
    HostValue value = as_declared(&inputs->values[i], ingot_engine_input(engine, i));
    if (value.kind == VALUE_TENSOR && value.tensor.dtype == DTYPE_COUNT) continue;  // its default
    int code = cli_write_value(arena_printf(inputs->arena, "%s/input_%d.pb", folder, i), &value);
    if (code) return code;
  }
  for (int i = 0; i < count; i++) {
    HostValue value = as_declared(&outputs[i], ingot_engine_output(engine, i));
    int code = cli_write_value(arena_printf(inputs->arena, "%s/output_%d.pb", folder, i), &value);
    if (code) return code;
  }
  return 0;
}

static bool ends_in(const char *path, const char *extension) { return !strcasecmp(path_extension(path), extension); }

// What a path cannot hold is said before the model runs.
static int check_path(const char *path, const ingot_engine *engine) {
  if (!path || ends_in(path, ".npz")) return 0;
  if (!ends_in(path, ".npy") && !ends_in(path, ".pb")) {
    if (!*path_extension(path) || path[strlen(path) - 1] == '/' || file_exists(path)) return 0;
    return cli_fail_text("%s: outputs are written as .npz, .npy or .pb, or to a folder: %s/", path, path);
  }
  int count = ingot_engine_output_count(engine);
  if (count != 1) return cli_fail_text("%s: the model has %d outputs; write them to an .npz file or a folder", path, count);
  const ingot_binding *binding = ingot_engine_output(engine, 0);
  if (ingot_binding_kind(binding) == INGOT_SEQUENCE && ends_in(path, ".npy"))
    return cli_fail_text("%s: '%s' is a sequence: write it to a .pb or .npz file or a folder", path,
                         ingot_binding_name(binding));
  return 0;
}

static int write_outputs(const char *path, const ingot_engine *engine, const InputSet *inputs, const HostValue *outputs,
                         int count) {
  if (ends_in(path, ".npz")) return cli_write_archive(path, outputs, count);
  if (ends_in(path, ".npy")) return cli_write_value(path, &outputs[0]);
  if (!ends_in(path, ".pb")) return write_folder(path, engine, inputs, outputs, count);
  HostValue value = as_declared(&outputs[0], ingot_engine_output(engine, 0));
  return cli_write_value(path, &value);
}

// ---- the run -----------------------------------------------------------------------------------------------------------------

static void report(const Common *common, const RunOptions *options, ingot_session *session, double milliseconds,
                   const HostValue *outputs, int count, Arena *arena) {
  if (!common->json) {
    for (int i = 0; i < count; i++) print_output(&outputs[i], options, arena);
    if (!common->quiet) printf("%.1f ms with preparation, on %s\n", milliseconds, ingot_session_device(session));
    return;
  }
  Text text = text_new(arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "model", common->model);
  json_string(&json, "device", ingot_session_device(session));
  json_double(&json, "first_run_ms", milliseconds);
  json_array(&json, "outputs");
  for (int i = 0; i < count; i++) json_output(&json, &outputs[i], options, arena);
  json_end_array(&json);
  json_end_object(&json);
  puts(text_get(&text));
}

static int run_once(const Common *common, const RunOptions *options, ingot_engine *engine, ingot_session *session,
                    InputSet *inputs) {
  int count = ingot_engine_output_count(engine);
  ingot_tensor *raw = arena_array(inputs->arena, ingot_tensor, count);
  HostValue *outputs = arena_array(inputs->arena, HostValue, count);
  double start = time_now();
  ingot_error *error = ingot_session_run(session, inputs->tensors, inputs->count, raw, count);
  double milliseconds = (time_now() - start) * 1e3;
  if (error) return cli_fail_run(error, inputs);
  for (int i = 0; i < count; i++) {
    int code = cli_take_output(session, engine, i, &raw[i], inputs->arena, &outputs[i]);
    if (code) return code;
  }
  report(common, options, session, milliseconds, outputs, count, inputs->arena);
  return options->output ? write_outputs(options->output, engine, inputs, outputs, count) : 0;
}

static int open_and_run(const Common *common, RunOptions *options) {
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  InputSet inputs = {0};
  ingot_error *error = cli_open_engine(common->model, &common->config, &engine);
  int code = error ? cli_fail(error) : check_path(options->output, engine);
  if (!code) code = cli_make_inputs(engine, common, options->data, (uint64_t)options->seed, &inputs);
  if (!code) code = read_labels(options, inputs.arena);
  if (!code && (error = ingot_session_create(engine, &common->config, &session))) code = cli_fail(error);
  if (!code) code = run_once(common, options, engine, session, &inputs);
  cli_free_inputs(&inputs);
  ingot_session_free(session);
  ingot_engine_free(engine);
  return code;
}

static int run(int count, char **arguments) {
  Common common;
  RunOptions run_options = {.seed = 1};
  int positional_count;
  bool stop;
  const Option options[] = {{"data", OPTION_STRING, &run_options.data},
                            {"output", OPTION_STRING, &run_options.output},
                            {"top", OPTION_INT, &run_options.top},
                            {"labels", OPTION_STRING, &run_options.labels_path},
                            {"softmax", OPTION_FLAG, &run_options.softmax},
                            {"seed", OPTION_INT, &run_options.seed},
                            {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_run, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  if (run_options.top < 0) return cli_fail_text("--top %d: how many classes?", run_options.top), 2;
  if ((run_options.softmax || run_options.labels_path) && !run_options.top) run_options.top = 5;
  return open_and_run(&common, &run_options);
}
