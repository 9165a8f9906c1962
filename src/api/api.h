// What stands behind the public objects. A public error is an internal Status under another name.
#pragma once
#include <stdatomic.h>

#include "engine/engine.h"
#include "ingot/ingot.h"
#include "runtime/runner.h"

struct ingot_model {
  Arena *arena;
  Graph *graph;
};

struct ingot_engine {
  atomic_int references;
  Engine *engine;
  WeightStore *weights;
  const struct TuningDatabase *tuning;  // what engine->tuning says, parsed once
  Text names;                           // dim names, for getters
  const char **dim_names;               // [output][index][axis], flattened
  ingot_binding *inputs, *outputs;
};

struct ingot_session {
  ingot_engine *engine;
  Device *device;
  Runner *runner;
  Log log;
  char device_name[192];
  RunTensor *inputs, *outputs;  // scratch of a run; outputs stay until the next
  int64_t (*output_shapes)[MAX_RANK];
  void **handed_out;  // outputs[i].data as the last run set it; coming back, it asks for the session's memory again
  Arena *strings[2];  // those lent by this run and by the one before
  int strings_turn;
  ingot_memory memory;
};

Log api_log(const ingot_config *config);
// Fills in what the caller's (maybe older, shorter) struct does not have.
ingot_config api_config(const ingot_config *config);
ingot_error *api_error(Status status);
MUST_CHECK Status api_engine_wrap(Engine *engine, ingot_engine **out);  // takes the engine over
MUST_CHECK Status api_open_device(const ingot_config *config, const Log *log, bool tf32, WeightStore *weights,
                                  const struct TuningDatabase *tuning, Device **out);
DLDataType api_dtype(DType dtype);
bool api_dtype_from(DLDataType type, DType *out);

// strings.c
MUST_CHECK Status api_check_strings(const Tensor *tensor, const char *name);
void api_turn_strings(ingot_session *session);  // at the start of a run
// Copies strings into the session's memory; to may be from.
void api_lend_strings(ingot_session *session, const char *const *from, const char **to, int64_t count);
