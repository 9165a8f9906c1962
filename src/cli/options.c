// Options: parsing by table, and the ones every command has.
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "cli/cli.h"
#include "passes/plugin.h"

static const char common_help[] =
    "Options of every command:\n"
    "  --device cpu|cuda[:N]   where to run; default: the first GPU, else the CPU\n"
    "  --fp16 --bf16 --tf32    precisions beyond the model's own\n"
    "  --threads N             CPU threads; default: all cores\n"
    "  --disable NAMES         leave passes or rules out: PASS, RULE or RULE@NODE, with commas between (`all`: every one);\n"
    "                          `ingot passes` lists them; NODE is one of the ONNX model\n"
    "  --pass FILE             a pass of your own, from a shared object that `./dev pass` compiled; repeat for several\n"
    "  --tune SECONDS          measure candidates for so long; default: 0, the cost model picks\n"
    "  --tuning FILE           database of measurements: what it knows is not measured again, what is measured is added at "
    "once\n"
    "  --workspace MIB         what one operator may use beside its tensors; default: 256\n"
    "  --untrusted             an engine of a stranger's: its kernels are ignored and compiled anew\n"
    "  --memory-limit MIB      host memory that opening, building and running may each hold\n"
    "  --time-limit SECONDS    how long each of these may take\n"
    "  --check-plans           every plan is printed, read back and compared before it runs\n"
    "  --no-graph              launch kernel by kernel, without a CUDA graph\n"
    "  --streams N             branches of a model that run side by side on a GPU, at most; 1: none do; default: 4\n"
    "  --shapes IN:1x3x8x8,..  shapes where the model leaves them open (of random inputs, of pictures, to tune for); sizes\n"
    "                          that the model calls by one name are said once\n"
    "  --input FILE            .npy, .npz, .pb, .jpg or .png, for one input after the other, or NAME=FILE; repeat as needed.\n"
    "                          Sequences come from .pb only; an input with a default and an optional may be left out\n"
    "  --mean M --scale S      of pictures: a value v of 0 to 255 becomes (v - M) * S; each is one number or three (1/128;\n"
    "                          123.7,116.3,103.5). Default: floats in [0, 1], integers as they are\n"
    "  --bgr                   the model wants the channels of pictures blue first\n"
    "  --json                  machine-readable output\n"
    "  --verbose, --quiet      more, or nothing but results\n";

static bool bar_is_shown;
static void clear_bar(void) {
  if (bar_is_shown) fprintf(stderr, "\r%60s\r", "");
  bar_is_shown = false;
}

static void on_log(void *context, ingot_severity severity, const char *message) {
  static const char *const names[] = {"internal error", "error", "warning", "info", "verbose"};
  clear_bar();
  fprintf(stderr, "ingot: %s: %s\n", names[severity], message);
}

// The first Ctrl-C asks the work to stop, which it does within moments; a second one ends the process as ever.
static ingot_cancellation *cancellation;
static atomic_bool interrupted;
static void on_interrupt(int signal) {
  atomic_store(&interrupted, true);
  ingot_cancellation_request(cancellation);
}

static void heed_interrupts(ingot_config *config) {
  struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)}, before;
  cancellation = config->cancellation = ingot_cancellation_new();
  if (!cancellation || sigaction(SIGINT, NULL, &before) || before.sa_handler == SIG_IGN) return;
  sigaction(SIGINT, &action, NULL);
}

static bool on_progress(void *context, const char *stage, double fraction, double seconds_left) {
  if (!isatty(2)) return true;
  int bar = (int)(fraction * 30);
  fprintf(stderr, "\r%-10s [%.*s%*s] %3.0f%%", stage, bar, "##############################", 30 - bar, "", fraction * 100);
  if (seconds_left >= 0) fprintf(stderr, "  %.0f s left ", seconds_left);
  bar_is_shown = true;
  if (fraction >= 1) clear_bar();
  return true;
}

static int set_device(Common *common, const char *value) {
  if (!strcmp(value, "cpu")) common->config.device = INGOT_DEVICE_CPU;
  else if (!strncmp(value, "cuda", 4) && (!value[4] || value[4] == ':')) {
    common->config.device = INGOT_DEVICE_CUDA;
    char *end = NULL;
    if (value[4]) common->config.device_index = (int)strtol(value + 5, &end, 10);
    if (end && (end == value + 5 || *end)) return cli_fail_text("--device takes cpu, cuda or cuda:N, not '%s'", value), 2;
  } else {
    fprintf(stderr, "ingot: --device takes cpu, cuda or cuda:N, not '%s'\n", value);
    return 2;
  }
  return 0;
}

// The second would take the place of the first in silence.
static int set_text(const Option *option, const char *value) {
  const char **target = option->target;
  if (*target) {
    fprintf(stderr, "ingot: --%s is given twice, '%s' and '%s'\n", option->name, *target, value);
    return 2;
  }
  *target = value;
  return 0;
}

static int set_option(const Option *option, const char *value) {
  char *end = NULL;
  switch (option->kind) {
    case OPTION_FLAG: *(bool *)option->target = true; return 0;
    case OPTION_STRING: return set_text(option, value);
    case OPTION_INT: {
      long number = strtol(value, &end, 10);
      *(int *)option->target = (int)number;
      if (end != value && !*end && number >= INT_MIN && number <= INT_MAX) return 0;
      break;
    }
    case OPTION_DOUBLE:
      *(double *)option->target = strtod(value, &end);
      if (end != value && !*end) return 0;
  }
  fprintf(stderr, "ingot: --%s takes a number, not '%s'\n", option->name, value);
  return 2;
}

static int bad_numbers(const char *name, const char *value) {
  fprintf(stderr, "ingot: --%s takes one number or three, like 127 or 0.485,0.456,0.406 or 1/128, not '%s'\n", name, value);
  return 2;
}

static const Option *find_option(const Option *options, const char *name) {
  for (; options && options->name; options++)
    if (!strcmp(options->name, name)) return options;
  return NULL;
}

int cli_parse(const Command *command, int count, char **arguments, Common *common, const Option *options,
              const char **positional, int limit, int *positional_count, bool *stop) {
  *common = (Common){0};
  *positional_count = 0;
  *stop = false;
  ingot_config_init(&common->config);
  const char *device = NULL;
  bool fp16 = false, bf16 = false, tf32 = false;
  int workspace = 0;
  double memory_limit = 0;
  const char *input = NULL, *pass = NULL, *mean = NULL, *scale = NULL;
  const Option shared[] = {{"device", OPTION_STRING, &device},
                           {"fp16", OPTION_FLAG, &fp16},
                           {"bf16", OPTION_FLAG, &bf16},
                           {"tf32", OPTION_FLAG, &tf32},
                           {"threads", OPTION_INT, &common->config.threads},
                           {"disable", OPTION_STRING, &common->config.disabled_passes},
                           {"pass", OPTION_STRING, &pass},
                           {"tune", OPTION_DOUBLE, &common->config.tuning_seconds},
                           {"tuning", OPTION_STRING, &common->config.tuning_file},
                           {"workspace", OPTION_INT, &workspace},
                           {"untrusted", OPTION_FLAG, &common->config.untrusted_engine},
                           {"memory-limit", OPTION_DOUBLE, &memory_limit},
                           {"time-limit", OPTION_DOUBLE, &common->config.time_limit},
                           {"check-plans", OPTION_FLAG, &common->config.check_plans},
                           {"no-graph", OPTION_FLAG, &common->config.no_cuda_graph},
                           {"streams", OPTION_INT, &common->config.streams},
                           {"shapes", OPTION_STRING, &common->shapes},
                           {"input", OPTION_STRING, &input},
                           {"mean", OPTION_STRING, &mean},
                           {"scale", OPTION_STRING, &scale},
                           {"bgr", OPTION_FLAG, &common->picture.bgr},
                           {"json", OPTION_FLAG, &common->json},
                           {"verbose", OPTION_FLAG, &common->verbose},
                           {"quiet", OPTION_FLAG, &common->quiet},
                           {NULL, OPTION_FLAG, NULL}};
  for (int i = 0; i < count; i++) {
    const char *argument = arguments[i];
    if (!strcmp(argument, "--help") || !strcmp(argument, "-h")) {
      printf("usage: ingot %s MODEL %s\n%s", command->name, command->usage, common_help);
      *stop = true;
      return 0;
    }
    if (argument[0] != '-' || !argument[1]) {
      if (!common->model) common->model = strcmp(argument, "-") ? argument : "/dev/stdin";
      else if (*positional_count < limit) positional[(*positional_count)++] = argument;
      else {
        fprintf(stderr, "ingot %s: what is '%s' for? Files beside the model come with an option, like --input%s\n",
                command->name, argument, find_option(options, "output") ? " or --output" : "");
        return 2;
      }
      continue;
    }
    char name[64];
    snprintf(name, sizeof name, "%s", argument + (argument[1] == '-' ? 2 : 1));
    char *equals = strchr(name, '=');
    if (equals) *equals = 0;
    if (!strcmp(name, "o")) snprintf(name, sizeof name, "output");
    const Option *option = find_option(options, name);
    if (!option) option = find_option(shared, name);
    if (!option) {
      fprintf(stderr, "ingot %s: there is no option '%s' (see ingot %s --help)\n", command->name, argument, command->name);
      return 2;
    }
    const char *value = NULL;
    if (option->kind == OPTION_FLAG && equals) {
      fprintf(stderr, "ingot %s: --%s takes no value\n", command->name, option->name);
      return 2;
    }
    if (option->kind != OPTION_FLAG) {
      if (equals) value = argument + (equals - name) + (argument[1] == '-' ? 3 : 2);
      else if (i + 1 < count) value = arguments[++i];
      else {
        fprintf(stderr, "ingot %s: %s wants a value\n", command->name, argument);
        return 2;
      }
    }
    int code = set_option(option, value);
    if (code) return code;
    if (input) {
      if (common->input_count == 64) return cli_fail_text("more than 64 inputs");
      common->inputs[common->input_count++] = input;
      input = NULL;
    }
    if (pass) {
      ingot_error *error = api_error(RECOVER_GUARD(plugin_load(pass)));
      if (error) return cli_fail(error);
      pass = NULL;
    }
  }
  if (!common->model) {
    fprintf(stderr, "usage: ingot %s MODEL %s\n%s", command->name, command->usage, common_help);
    return 2;
  }
  if (device) {
    int code = set_device(common, device);
    if (code) return code;
  }
  if (mean && !picture_parse_numbers(mean, common->picture.mean)) return bad_numbers("mean", mean);
  common->picture.normalised = mean || scale;
  for (int c = 0; c < 3; c++) common->picture.scale[c] = 1;
  if (scale && !picture_parse_numbers(scale, common->picture.scale)) return bad_numbers("scale", scale);
  common->config.precision = (fp16 ? INGOT_FP16 : 0) | (bf16 ? INGOT_BF16 : 0) | (tf32 ? INGOT_TF32 : 0);
  if (common->config.tuning_seconds > 0) common->config.tuning_shapes = common->shapes;
  if (workspace < 0) return cli_fail_text("--workspace %d: how many MiB?", workspace), 2;
  common->config.workspace_limit = (size_t)workspace << 20;
  if (!(memory_limit >= 0 && memory_limit < 1e12)) {
    fprintf(stderr, "ingot: --memory-limit takes a number of MiB, not %g\n", memory_limit);
    return 2;
  }
  common->config.memory_limit = (size_t)(memory_limit * (1 << 20));
  heed_interrupts(&common->config);
  common->config.log = on_log;
  common->config.log_most = common->verbose                 ? INGOT_VERBOSE
                            : common->quiet || common->json ? INGOT_ERROR_MESSAGE
                                                            : INGOT_WARNING;
  if (!common->quiet && !common->json) common->config.progress = on_progress;
  return cli_keep_piped(common->model, &common->config);
}

// Shells know 130 as the end by Ctrl-C.
static int failure_code(const ingot_error *error) {
  return ingot_error_code(error) == INGOT_CANCELLED && atomic_load(&interrupted) ? 130 : 1;
}

int cli_fail(ingot_error *error) {
  int code = failure_code(error);
  clear_bar();
  fprintf(stderr, "ingot: %s\n", ingot_error_message(error));
  ingot_error_free(error);
  return code;
}

int cli_fail_run(ingot_error *error, const InputSet *inputs) {
  if (!*inputs->guessed || ingot_error_code(error) == INGOT_LIMIT || ingot_error_code(error) == INGOT_CANCELLED ||
      ingot_error_code(error) == INGOT_NOT_FOUND)
    return cli_fail(error);
  clear_bar();
  fprintf(stderr, "ingot: %s (sizes that the model leaves open were taken as 1: say which, like --shapes %s)\n",
          ingot_error_message(error), inputs->guessed);
  int code = failure_code(error);
  ingot_error_free(error);
  return code;
}

int cli_fail_text(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("ingot: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  return 1;
}

const char *cli_bytes(double bytes, char out[24]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) bytes /= 1024, unit++;
  snprintf(out, 24, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
  return out;
}

void cli_print_memory(const ingot_session *session, int width) {
  char weights[24], arena[24], unpacked[24];
  printf("%-*s weights %s, arena %s (%s without reuse)\n", width - 1, "memory",
         cli_bytes((double)ingot_session_memory(session, INGOT_MEMORY_WEIGHTS), weights),
         cli_bytes((double)ingot_session_memory(session, INGOT_MEMORY_ARENA), arena),
         cli_bytes((double)ingot_session_memory(session, INGOT_MEMORY_UNPACKED), unpacked));
}

const char *cli_profile_rest(const ingot_session *session) {
  return session->stats.data_dependent ? "; what follows depends on data and is timed only as a whole" : "";
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}
double cli_median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, ascending);
  return count ? values[count / 2] : 0;
}
double cli_percentile(const double *sorted, int count, double fraction) {
  int at = (int)(fraction * count);
  return count ? sorted[at < count ? at : count - 1] : 0;
}

void cli_json_passes(Json *json, const ingot_engine *engine) {
  json_array(json, "passes");
  for (int i = 0; i < ingot_engine_pass_count(engine); i++) {
    const ingot_pass *pass = ingot_engine_pass(engine, i);
    json_object(json, NULL);
    json_string(json, "name", ingot_pass_name(pass));
    json_int(json, "changes", ingot_pass_changes(pass));
    json_int(json, "nodes_before", ingot_pass_nodes_before(pass));
    json_int(json, "nodes_after", ingot_pass_nodes_after(pass));
    json_double(json, "ms", ingot_pass_seconds(pass) * 1e3);
    json_end_object(json);
  }
  json_end_array(json);
}

void cli_json_steps(Json *json, const ingot_profile *profile) {
  json_array(json, "steps");
  for (int i = 0; i < ingot_profile_step_count(profile); i++) {
    json_object(json, NULL);
    json_string(json, "name", ingot_profile_name(profile, i));
    json_string(json, "op", ingot_profile_op(profile, i));
    json_string(json, "tactic", ingot_profile_tactic(profile, i));
    json_string(json, "origins", ingot_profile_origins(profile, i));
    json_double(json, "ms", ingot_profile_milliseconds(profile, i));
    json_double(json, "predicted_ms", ingot_profile_predicted(profile, i));
    json_int(json, "stream", ingot_profile_stream(profile, i));
    json_end_object(json);
  }
  json_end_array(json);
}
