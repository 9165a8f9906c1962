// See select.h.
#include "tune/select.h"

#include <string.h>

#include "kernels/conv/conv.h"
#include "kernels/matmul/matmul.h"

enum { MAX_CANDIDATES = 24 };

static Emission *emission_new(Arena *arena) {
  Emission *emission = arena_new_of(arena, Emission);
  emission->arena = arena;
  return emission;
}

Status selection_emit(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection) {
  selection->emission = emission_new(arena);
  return selection->tactic->emit(site, &selection->candidate, options->cuda, selection->emission);
}

// Tries one candidate; one that needs too much workspace, or that a library refuses, is passed over.
static Status try_candidate(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection, bool *done) {
  Status status = selection_emit(site, options, arena, selection);
  *done = !status && selection->emission->workspace_bytes <= options->workspace_limit;
  if (status && status_code(status) != ERROR_UNSUPPORTED) return status;
  if (status)
    log_add(options->log, LOG_VERBOSE, "%s %s passed over: %s", selection->tactic->name, selection->candidate.name,
            status_message(status));
  status_free(status);
  return OK;
}

static Status from_database(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection, bool *done) {
  *done = false;
  if (!options->tuning || !options->tuning->count) return OK;
  const TuningEntry *entry = tuning_get(options->tuning, site->device->sm, site_key(site, arena));
  if (!entry) return OK;
  for (int i = 0; cuda_tactics[i]; i++) {
    const Tactic *tactic = cuda_tactics[i];
    if (tactic->op != site->node->op || strcmp(tactic->name, entry->tactic)) continue;
    if (tactic->library && options->open_libraries) TRY(options->open_libraries(options->context));
    if (!tactic->supports(site)) continue;
    Candidate candidates[MAX_CANDIDATES];
    int count = tactic->candidates(site, options->cuda, candidates, MAX_CANDIDATES);
    for (int c = 0; c < count; c++) {
      if (strcmp(candidates[c].name, entry->candidate)) continue;
      selection->tactic = tactic;
      selection->candidate = candidates[c];
      selection->measured = true;
      return try_candidate(site, options, arena, selection, done);
    }
  }
  return OK;
}

static Status select_forced(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection, bool *done) {
  Candidate candidates[MAX_CANDIDATES];
  *done = false;
  if (options->forced->library && options->open_libraries) TRY(options->open_libraries(options->context));
  if (!options->forced->supports(site)) return OK;
  int count = options->forced->candidates(site, options->cuda, candidates, MAX_CANDIDATES);
  if (options->forced_candidate >= count) return OK;
  *selection = (Selection){.tactic = options->forced, .candidate = candidates[options->forced_candidate]};
  return try_candidate(site, options, arena, selection, done);
}

static void make_row_major(TensorDesc *desc) {
  int64_t stride = 1;
  for (int i = desc->rank - 1; i >= 0; i--) {
    desc->strides[i] = stride;
    stride *= desc->dims[i];
  }
}

// Copying operands is worth it only where it opens the way to something faster than the general tactic. What a library takes is known
// only once it is open.
static bool copies_may_help(const Site *site) {
  Arena *scratch = arena_scratch();
  TensorDesc *inputs = arena_array(scratch, TensorDesc, site->node->input_count);
  Site copied = *site;
  copied.inputs = inputs;
  for (int i = 0; i < site->node->input_count; i++) {
    inputs[i] = site->inputs[i];
    make_row_major(&inputs[i]);
    inputs[i].offset = 0;
  }
  bool help = false;
  for (int i = 0; cuda_tactics[i] && !help; i++) {
    const Tactic *tactic = cuda_tactics[i];
    help = tactic->op == site->node->op && !tactic->general && (tactic->library || tactic->supports(&copied));
  }
  arena_free(scratch);
  return help;
}

// Multiplications and additions, where operators say how many.
static double site_work(const Site *site) {
  const Node *node = site->node;
  return node->op->terms ? 2.0 * (double)desc_count(&site->outputs[0]) * (double)node->op->terms(node) : 0;
}

static const double SMALL_WORK = 1e9;  // where the libraries' larger tiles begin to pay

// Tries the tactics in order: those of libraries, or Ingot's own.
static Status select_among(const Site *site, const SelectOptions *options, bool last, bool library, Arena *arena,
                           Selection *selection, bool *done) {
  for (int i = 0; cuda_tactics[i] && !*done; i++) {
    const Tactic *tactic = cuda_tactics[i];
    if (tactic->op != site->node->op || tactic->library != library || (tactic->general && !last)) continue;
    if (library && options->open_libraries) TRY(options->open_libraries(options->context));
    if (!tactic->supports(site)) continue;
    Candidate candidates[MAX_CANDIDATES];
    int count = tactic->candidates(site, options->cuda, candidates, MAX_CANDIDATES);
    for (int c = 0; c < count && !*done; c++) {
      *selection = (Selection){.tactic = tactic, .candidate = candidates[c]};
      TRY(try_candidate(site, options, arena, selection, done));
    }
  }
  return OK;
}

Status select_tactic(const Site *site, const SelectOptions *options, bool last, Arena *arena, Selection **out) {
  *out = NULL;
  Selection *selection = arena_new_of(arena, Selection);
  bool done;
  if (options->forced) {
    TRY(select_forced(site, options, arena, selection, &done));
    if (done) *out = selection;
    return OK;
  }
  TRY(from_database(site, options, arena, selection, &done));
  last = last || !copies_may_help(site);
  bool own_first = site_work(site) < SMALL_WORK;
  for (int round = 0; round < 2 && !done; round++)
    TRY(select_among(site, options, last, own_first == (round == 1), arena, selection, &done));
  if (done) *out = selection;
  return OK;
}

int select_all(const Site *site, const SelectOptions *options, Selection *out, int limit) {
  int count = 0;
  for (int i = 0; cuda_tactics[i] && count < limit; i++) {
    const Tactic *tactic = cuda_tactics[i];
    if (tactic->op != site->node->op || !tactic->supports(site)) continue;
    if (tactic->general && count) continue;
    Candidate candidates[MAX_CANDIDATES];
    int found = tactic->candidates(site, options->cuda, candidates, MAX_CANDIDATES);
    for (int c = 0; c < found && count < limit; c++) out[count++] = (Selection){.tactic = tactic, .candidate = candidates[c]};
  }
  return count;
}

static void describe(const Value *value, TensorDesc *desc) {
  *desc = (TensorDesc){.absent = !value};
  if (!value) return;
  desc->dtype = value->dtype;
  desc->rank = value->rank;
  desc->constant = value->constant;
  value_get_dims(value, desc->dims);
  make_row_major(desc);
}

bool select_supports(const Node *node, const DeviceInfo *device, bool tf32) {
  Arena *scratch = arena_scratch();
  TensorDesc *inputs = arena_array(scratch, TensorDesc, node->input_count),
             *outputs = arena_array(scratch, TensorDesc, node->output_count);
  for (int i = 0; i < node->input_count; i++) describe(node->inputs[i], &inputs[i]);
  for (int i = 0; i < node->output_count; i++) describe(node->outputs[i], &outputs[i]);
  Site site = {.node = node, .inputs = inputs, .outputs = outputs, .device = device, .tf32 = tf32};
  bool supported = false;
  for (int i = 0; cuda_tactics[i] && !supported; i++)
    supported = cuda_tactics[i]->op == node->op && cuda_tactics[i]->supports(&site);
  arena_free(scratch);
  return supported;
}
