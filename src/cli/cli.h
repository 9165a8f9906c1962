// The command line: one file per subcommand, one table of them in main.c, one table of options for each.
#pragma once
#include <stdio.h>

#include "base/json.h"
#include "cli/picture.h"
#include "ingot/ingot.h"
#include "ir/tensor.h"

typedef struct Command {
  const char *name, *summary;
  const char *usage;  // the whole help text behind the synopsis
  int (*run)(int count, char **arguments);
} Command;
extern const Command command_build, command_run, command_bench, command_inspect, command_verify;

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

// Opens an .onnx (building it) or an engine file, by content.
bool cli_is_engine(const char *path);
ingot_error *cli_open_engine(const char *path, const ingot_config *config, ingot_engine **out);
Wanted cli_wanted(const ingot_binding *binding);

// Inputs for a session: from files given by the user ("name=file" or in order), from a folder of input_K.pb, else random.
// After a failure there is nothing to free; freeing twice is fine.
struct InputSet {
  Arena *arena;
  ingot_tensor *tensors;
  int count;
  const char
      *guessed;  // "x:1x1x?": shapes whose open sizes were taken as 1, to be said by --shapes; "" where nothing was guessed
};
int cli_make_inputs(const ingot_engine *engine, const Common *common, const char *folder, uint64_t seed, InputSet *out);
void cli_free_inputs(InputSet *set);
// Files by extension: .npy, .npz (the array called like `wanted`, the only one, or "file.npz:name"), .pb; pictures where `picture` is
// given. wanted may be NULL.
int cli_read_tensor(const char *path, const Wanted *wanted, const PictureOptions *picture, Arena *arena, Tensor *out);
int cli_write_tensor(const char *path, const char *name, const Tensor *tensor);                       // .npy, .pb
int cli_write_archive(const char *path, const char *const *names, const Tensor *tensors, int count);  // .npz
ingot_tensor cli_wrap(const Tensor *tensor, int64_t *shape);  // shape: MAX_RANK words that outlive the result
int cli_unwrap(const ingot_tensor *tensor, Tensor *out);

void cli_json_passes(Json *json, const ingot_engine *engine);   // "passes": [...]
void cli_json_steps(Json *json, const ingot_profile *profile);  // "steps": [...]
// "memory  weights 1.0 MiB, ..." behind a title of this width.
void cli_print_memory(const ingot_session *session, int width);
const char *cli_bytes(double bytes, char out[24]);  // "12.3 MiB"
double cli_median(double *values, int count);       // sorts
double cli_percentile(const double *sorted, int count, double fraction);
