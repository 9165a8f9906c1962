// The command line: one file per subcommand, one table of them in main.c, one table of options for each.
#pragma once
#include <stdio.h>

#include "base/json.h"
#include "cli/picture.h"
#include "ingot/ingot.h"
#include "onnx/tensor.h"

typedef struct Command {
  const char *name, *summary;
  const char *usage;  // the whole help text behind the synopsis
  int (*run)(int count, char **arguments);
} Command;
extern const Command command_build, command_run, command_bench, command_inspect, command_passes, command_report, command_tune,
    command_verify;

// Options every command has.
typedef struct Common {
  ingot_config config;
  bool json, quiet, verbose;
  const char *model;       // the first positional argument
  const char *shapes;      // "input:1x3x224x224,ids:1x128"
  PictureOptions picture;  // --mean, --scale, --bgr
  const char *inputs[64];  // --input
  int input_count;
} Common;

// One row of an option table: "--name VALUE" or "--name".
typedef enum OptionKind { OPTION_FLAG, OPTION_STRING, OPTION_INT, OPTION_DOUBLE } OptionKind;
typedef struct Option {
  const char *name;  // without the dashes
  OptionKind kind;
  void *target;  // bool, const char *, int or double
} Option;

// Parses; positional arguments other than the model go to `positional` (at most `limit`). Returns 0, or the exit code after it printed
// what is wrong (2) or the help (asked for: 0 through *stop).
int cli_parse(const Command *command, int count, char **arguments, Common *common, const Option *options,
              const char **positional, int limit, int *positional_count, bool *stop);
// Prints "ingot: message" and returns 1, or 130 where Ctrl-C ended the call; frees the error.
int cli_fail(ingot_error *error);
typedef struct InputSet InputSet;
int cli_fail_run(ingot_error *error, const InputSet *inputs);  // names the sizes that were guessed, if any were
int cli_fail_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The argument MODEL: a file, or what comes through a pipe, which is read once and kept until the program ends. An engine is told by
// how it begins; cli_open_engine opens a model too, and builds it.
int cli_keep_piped(const char *path, const ingot_config *config);  // cli_parse does so
bool cli_is_engine(const char *path);
ingot_error *cli_open_model(const char *path, const ingot_config *config, ingot_model **out);
ingot_error *cli_load_engine(const char *path, const ingot_config *config, ingot_engine **out);
ingot_error *cli_open_engine(const char *path, const ingot_config *config, ingot_engine **out);
Wanted cli_wanted(const ingot_binding *binding);

// Inputs for a session: from files given by the user ("name=file" or in order), from a folder of input_K.pb, else random.
// After a failure there is nothing to free; freeing twice is fine.
struct InputSet {
  Arena *arena;
  HostValue *values;      // a tensor of type DTYPE_COUNT: left out, so that its default holds
  ingot_tensor *tensors;  // the same, for the public interface
  int count;
  const char
      *guessed;  // "x:1x1x?": shapes whose open sizes were taken as 1, to be said by --shapes; "" where nothing was guessed
};
int cli_make_inputs(const ingot_engine *engine, const Common *common, const char *folder, uint64_t seed, InputSet *out);
void cli_free_inputs(InputSet *set);
// Files by extension, what comes through a pipe by how it begins: .npy, .npz (the array called like `wanted`, the only one, or
// "file.npz:name"), .pb; pictures where `picture` is given. Sequences are read from .pb only.
MUST_CHECK Status cli_read_value(const char *path, const Wanted *wanted, const PictureOptions *picture, Arena *arena,
                                 HostValue *out);
int cli_write_value(const char *path, const HostValue *value);                // .npy of a tensor, .pb
int cli_write_archive(const char *path, const HostValue *values, int count);  // .npz; elements as name[0], name[1] ...
ingot_tensor cli_wrap(Arena *arena, HostValue *value);                        // what it points into is the value's
MUST_CHECK Status cli_unwrap(const ingot_tensor *tensor, Tensor *out);
// Output number `index` of the last run. Its name is the binding's.
int cli_take_output(ingot_session *session, const ingot_engine *engine, int index, const ingot_tensor *described, Arena *arena,
                    HostValue *out);
const char *cli_kind_text(Arena *arena, const HostValue *value);                  // "f32[2, 3]", "a sequence of 2", "nothing"
const char *cli_element_name(Arena *arena, const HostValue *value, int element);  // "y[3]"

void cli_json_passes(Json *json, const ingot_engine *engine);  // "passes": [...]
// What a profile leaves out, to be put behind its last line; "" where it is whole.
const char *cli_profile_rest(const ingot_session *session);
void cli_json_steps(Json *json, const ingot_profile *profile);  // "steps": [...]
// "memory  weights 1.0 MiB, ..." behind a title of this width.
void cli_print_memory(const ingot_session *session, int width);
const char *cli_bytes(double bytes, char out[24]);  // "12.3 MiB"
double cli_median(double *values, int count);       // sorts
double cli_percentile(const double *sorted, int count, double fraction);
