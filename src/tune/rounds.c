// See rounds.h.
#include "tune/rounds.h"

#include "base/checked.h"

enum { MOST_COPIES = 64, ALIGNMENT = 256 };

// ---- copies of constants -----------------------------------------------------------------------------------------------------

struct RoundConstant {
  void **address;   // the set's
  char *at, *from;  // what it was, and the allocation around it
  size_t bytes;
};

static size_t aligned(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static bool reads_input(const Emission *emission, int input) {
  for (uint32_t i = 0; i < emission->launch_count; i++)
    for (int a = 0; a < emission->launches[i].arg_count; a++) {
      const LaunchArg *arg = &emission->launches[i].args[a];
      if (arg->kind == ARG_BUFFER && arg->buffer.kind == BUFFER_INPUT && arg->buffer.index == input) return true;
    }
  return false;
}

static void add_constant(Rounds *rounds, void **address, void *from, size_t bytes) {
  rounds->constants[rounds->constant_count++] = (RoundConstant){address, *address, from, bytes};
  rounds->copy_bytes += aligned(bytes);
}

static void list_constants(Rounds *rounds, Arena *arena) {
  const Rig *r = rounds->rig;
  LaunchSet *set = rounds->set;
  const Emission *emission = set->emission;
  int inputs = site_input_count(r->site);
  rounds->constants = arena_array(arena, RoundConstant, (uint32_t)inputs + emission->packed_count);
  for (int i = 0; i < inputs; i++)
    if (r->site->inputs[i].constant && reads_input(emission, i))
      add_constant(rounds, &set->inputs[i], r->inputs[i], r->input_bytes[i]);
  for (uint32_t i = 0; i < emission->packed_count; i++)
    add_constant(rounds, &set->packed[i], set->packed[i], emission->packed[i]->bytes);
}

static Status fill_copies(const Rounds *rounds) {
  CudaContext *cuda = rounds->rig->cuda;
  char *to = rounds->copied;
  for (int k = 0; k < rounds->copies; k++)
    for (int i = 0; i < rounds->constant_count; i++) {
      TRY(cuda_copy(cuda, to, rounds->constants[i].from, rounds->constants[i].bytes, cuda->stream));
      to += aligned(rounds->constants[i].bytes);
    }
  return OK;
}

// Where memory is short for that, they stay in the cache; where they are larger than it, they do not anyway.
static Status make_copies(Rounds *rounds) {
  Rig *r = rounds->rig;
  size_t wanted = 2 * (size_t)r->cuda->info.l2_bytes, bytes = rounds->copy_bytes;
  if (!r->cold || !bytes || bytes >= wanted) return OK;
  int copies = (int)MIN((wanted + bytes - 1) / bytes, MOST_COPIES);
  Status status = rig_reserve(r, (size_t)copies * bytes, (void **)&rounds->copied);
  if (status && status_code(status) == ERROR_OUT_OF_MEMORY) {
    log_add(r->log, LOG_VERBOSE, "tuning measures with constants that are in the cache: %s", status_message(status));
    status_free(status);
    return OK;
  }
  TRY(status);
  rounds->copies = copies;
  return fill_copies(rounds);
}

// ---- recording ---------------------------------------------------------------------------------------------------------------

static void use_copy(const Rounds *rounds, int number) {
  char *at = rounds->copied + (size_t)number * rounds->copy_bytes;
  for (int i = 0; i < rounds->constant_count; i++) {
    const RoundConstant *constant = &rounds->constants[i];
    *constant->address = at + (constant->at - constant->from);
    at += aligned(constant->bytes);
  }
  launch_set_patch(rounds->set);
}

static void use_originals(const Rounds *rounds) {
  for (int i = 0; i < rounds->constant_count; i++) *rounds->constants[i].address = rounds->constants[i].at;
  launch_set_patch(rounds->set);
}

static Status enqueue(const Rounds *rounds, CudaStream stream) {
  const Machine machine = {.cuda = rounds->rig->cuda};
  for (int i = 0; i < rounds->runs; i++) {
    if (rounds->copies) use_copy(rounds, i % rounds->copies);
    TRY(launch_set_run(rounds->set, &machine, stream));
  }
  return OK;
}

static Status enqueue_round(const Rounds *rounds, CudaStream stream) {
  Status status = enqueue(rounds, stream);
  if (rounds->copies) use_originals(rounds);
  return status;
}

static Status end_capture(CudaContext *cuda, CudaGraph *graph) {
  CUDA_TRY(cuda, cuStreamEndCapture(cuda->stream, graph));
  return OK;
}

static Status capture(Rounds *rounds) {
  CudaContext *cuda = rounds->rig->cuda;
  CUDA_TRY(cuda, cuStreamBeginCapture(cuda->stream, CUDA_CAPTURE_THREAD_LOCAL));
  Status status = enqueue_round(rounds, cuda->stream), ended = end_capture(cuda, &rounds->graph);  // it has to end in any case
  if (!status) return ended;
  status_free(ended);
  return status;
}

static Status record(Rounds *rounds) {
  CudaContext *cuda = rounds->rig->cuda;
  TRY(capture(rounds));
  CUDA_TRY(cuda, cuGraphInstantiateWithFlags(&rounds->exec, rounds->graph, 0));
  CUDA_TRY(cuda, cuGraphUpload(rounds->exec, cuda->stream));
  return OK;
}

Status rounds_open(Rig *r, LaunchSet *set, int runs, Arena *arena, Rounds *out) {
  *out = (Rounds){.rig = r, .set = set};
  list_constants(out, arena);
  TRY(make_copies(out));
  out->runs = MAX(runs, out->copies);
  Status status = record(out);
  if (!status) return OK;
  rounds_close(out);
  log_add(r->log, LOG_VERBOSE, "tuning measures launch by launch: recording a CUDA graph: %s", status_message(status));
  status_free(status);
  return cuda_check_alive(r->cuda);
}

Status rounds_run(void *state, CudaStream stream) {
  const Rounds *rounds = state;
  CudaContext *cuda = rounds->rig->cuda;
  if (!rounds->exec) return enqueue_round(rounds, stream);
  CUDA_TRY(cuda, cuGraphLaunch(rounds->exec, stream));
  return OK;
}

void rounds_close(Rounds *rounds) {
  const CudaDriver *driver = rounds->rig->cuda->driver;
  if (rounds->exec) driver->cuGraphExecDestroy(rounds->exec);
  if (rounds->graph) driver->cuGraphDestroy(rounds->graph);
  rounds->exec = NULL;
  rounds->graph = NULL;
}
