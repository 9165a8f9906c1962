// See select.h.
#include "lower/select.h"

#include <string.h>

#include "base/checked.h"
#include "lower/alike.h"
#include "lower/version.h"
#include "kernels/meaning.h"
#include "kernels/fused.h"

// Where backends differ in what is tried first.
typedef struct Preference {
  // Multiply-adds: below, own kernels come before libraries, from there behind; 0: the table's order. A count and no time: the two are predicted with unlike care, and
  // what it stands for, measured on an H200, is where a library's larger tiles fill the chip.
  double small_products;
  bool
      general_by_strides;  // general ways read any strides as they are: copies are worth it only where they open the way to another
} Preference;
static const Preference preferences[] = {
    [BACKEND_CUDA] = {5e8, true},
    [BACKEND_CPU] = {0, false},  // the reference copies what is strided on one thread, a plan's copies use all
};

static const Preference *preference_of(const Site *site) {
  return &preferences[site->device->kind == DEVICE_CPU ? BACKEND_CPU : BACKEND_CUDA];
}

Status selection_lower(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection) {
  selection->emission = arena_new_of(arena, Emission);
  selection->emission->arena = arena;
  return implementation_lower(selection->implementation, site, &selection->way, &options->machine, selection->emission);
}

static bool fits(const SelectOptions *options, size_t bytes) {
  return !options->workspace_limit || bytes <= options->workspace_limit;
}

// Tries one way; one that needs too much workspace, or that a library refuses, is passed over. *least: the smallest workspace that was too much.
static Status try_way(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection, size_t *least,
                      bool *done) {
  Status status = selection_lower(site, options, arena, selection);
  *done = !status && fits(options, selection->emission->workspace_bytes);
  if (status && status_code(status) != ERROR_UNSUPPORTED) return status;
  if (status)
    log_add(options->log, LOG_VERBOSE, "%s passed over: %s", selection_text(selection, arena), status_message(status));
  else if (!*done) *least = *least ? MIN(*least, selection->emission->workspace_bytes) : selection->emission->workspace_bytes;
  status_free(status);
  return OK;
}

static Status open_for(const Implementation *implementation, const SelectOptions *options) {
  return implementation->library && options->open_libraries ? options->open_libraries(options->context) : OK;
}

// The entry's way, lowered, where it is to be had here and is what was measured. *fits is false before.
static Status try_entry(const Site *site, const SelectOptions *options, TuningEntry *entry, Arena *arena, Selection *selection,
                        bool *fits) {
  const Implementation *implementation = implementation_named(entry->implementation, site);
  if (!implementation) return OK;
  TRY(open_for(implementation, options));
  if (!implementation->supports(site)) return OK;
  Way ways[WAYS_ASKED];
  int count = implementation_ways(implementation, site, &options->machine, ways, WAYS_ASKED), w = 0;
  while (w < count && strcmp(ways[w].name, entry->way)) w++;
  if (w == count) return OK;
  size_t least = 0;
  const char *version;
  *selection = (Selection){.implementation = implementation, .way = ways[w]};
  TRY(try_way(site, options, arena, selection, &least, fits));
  if (!*fits) return OK;
  TRY(way_version(site, implementation, selection->emission, &options->machine, options->compiler, arena, &version));
  *fits = !strcmp(version, entry->version);
  if (!*fits) entry->stale = true;
  return OK;
}

Status select_measured(const Site *site, const SelectOptions *options, Arena *arena, Selection *out,
                       const TuningEntry **entry) {
  *entry = NULL;
  if (!options->tuning || !options->tuning->count || !options->compiler) return OK;
  const TuningSite *known = tuning_site(options->tuning, site->device->name, site_key(site, arena));
  bool passed = false;
  for (uint32_t i = 0; known && i < known->count && !*entry; i++) {
    bool before = passed, fits = false;
    TuningVerdict verdict = tuning_verdict(options->tuning, known, known->entries[i], &passed);
    if (verdict == TUNING_PASS && passed == before) continue;  // whether it fits is of no account
    TRY(try_entry(site, options, known->entries[i], arena, out, &fits));
    if (!fits) passed = before;
    else if (verdict == TUNING_TAKE) *entry = known->entries[i];
  }
  return OK;
}

static Status from_database(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection, bool *done) {
  const TuningEntry *entry;
  TRY(select_measured(site, options, arena, selection, &entry));
  *done = entry != NULL;
  return OK;
}

static Status select_forced(const Site *site, const SelectOptions *options, Arena *arena, Selection *selection, bool *done) {
  Way ways[WAYS_ASKED];
  size_t least = 0;
  TRY(open_for(options->forced, options));
  if (!options->forced->supports(site)) return OK;
  int count = implementation_ways(options->forced, site, &options->machine, ways, WAYS_ASKED);
  if (options->forced_way >= count) return OK;
  *selection = (Selection){.implementation = options->forced, .way = ways[options->forced_way]};
  TRY(try_way(site, options, arena, selection, &least, done));
  if (*done && options->forced_taken) *options->forced_taken = true;
  return OK;
}

// What a library takes is known only once it is open.
static bool copies_may_help(const Site *site) {
  if (!preference_of(site)->general_by_strides) return true;
  Arena *scratch = arena_scratch();
  TensorDesc *inputs = arena_array(scratch, TensorDesc, site_input_count(site));
  Site copied = *site;
  copied.inputs = inputs;
  for (int i = 0; i < site_input_count(site); i++) {
    inputs[i] = site->inputs[i];
    dims_strides(inputs[i].rank, inputs[i].dims, inputs[i].strides);
    inputs[i].offset = 0;
  }
  bool help = false;
  for (int i = 0; implementations[i] && !help; i++) {
    const Implementation *implementation = implementations[i];
    help = implementation_serves(implementation, site) && !implementation->general &&
           (implementation->library || implementation->supports(&copied));
  }
  arena_free(scratch);
  return help;
}

// Tries the ways of one implementation that supports the site: mostly the first does, and the others need not be told apart.
static Status try_implementation(const Site *site, const SelectOptions *options, const Implementation *implementation,
                                 Arena *arena, Selection *selection, bool *done) {
  Way ways[WAYS_ASKED];
  size_t least = 0;
  if (options->other_rung && implementation_ways(implementation, site, &options->machine, ways, 2) == 2 && ways[1].at_rung) {
    *selection = (Selection){.implementation = implementation, .way = ways[1]};
    TRY(try_way(site, options, arena, selection, &least, done));
  }
  for (int first = 0; first < 2 && !*done; first++) {
    int count = implementation_ways(implementation, site, &options->machine, ways, first ? WAYS_ASKED : 1);
    for (int w = first; w < count && !*done; w++) {
      *selection = (Selection){.implementation = implementation, .way = ways[w]};
      TRY(try_way(site, options, arena, selection, &least, done));
    }
  }
  if (!*done && least)
    log_add(options->log, LOG_WARNING,
            "'%s' (%s) is not computed by %s, which wants %zu bytes of workspace, more than the limit of %zu",
            site_step(site)->outputs[0]->name, site->node->op->name, implementation->name, least, options->workspace_limit);
  return OK;
}

typedef enum Kinds { LIBRARIES = 1, OWN = 2, YIELDING = 4, ALL = LIBRARIES | OWN | YIELDING } Kinds;

static Kinds kind_of(const Implementation *implementation, const Site *site) {
  if (!implementation->library) return OWN;
  return implementation->yields && implementation->yields(site) ? YIELDING : LIBRARIES;
}

// Kinds in the order in which they are asked.
typedef struct Order {
  Kinds kinds[3];
  const char *text;
} Order;
static const Order by_table = {{ALL}, "the order of the table of implementations"},
                   open_first = {{OWN, LIBRARIES | YIELDING},
                                 "own kernels before libraries, which prepare for each size anew, since sizes are open"},
                   small_first = {{OWN, LIBRARIES | YIELDING},
                                  "own kernels before libraries, since it has fewer than 5e8 multiply-adds"},
                   large_first = {
                       {LIBRARIES, OWN, YIELDING},
                       "libraries before own kernels, since it has 5e8 multiply-adds or more; but those last that are "
                       "known to be slower for such a site"};

static const Order *order_of(const Site *site) {
  double small = preference_of(site)->small_products;
  if (!small) return &by_table;
  if (site_is_open(site)) return &open_first;
  return work_of(site).products < small ? &small_first : &large_first;
}

int select_order(const Site *site, const Implementation **out, int limit, const char **text) {
  const Order *order = order_of(site);
  int count = 0;
  for (int turn = 0; turn < 3 && order->kinds[turn]; turn++)
    for (int i = 0; implementations[i] && count < limit; i++)
      if (implementation_serves(implementations[i], site) && (order->kinds[turn] & kind_of(implementations[i], site)))
        out[count++] = implementations[i];
  *text = order->text;
  return count;
}

static Status select_freely(const Site *site, const SelectOptions *options, bool last, Arena *arena, Selection *selection,
                            bool *done) {
  const Implementation *order[MOST_IMPLEMENTATIONS];
  const char *text;
  TRY(from_database(site, options, arena, selection, done));
  if (*done) return OK;
  last = last || !copies_may_help(site);
  int count = select_order(site, order, MOST_IMPLEMENTATIONS, &text);
  for (int i = 0; i < count && !*done; i++) {
    const Implementation *implementation = order[i];
    if (implementation->general ? !last : options->general_only) continue;
    TRY(open_for(implementation, options));
    if (implementation->supports(site)) TRY(try_implementation(site, options, implementation, arena, selection, done));
  }
  return OK;
}

Status select_implementation(const Site *site, const SelectOptions *options, bool last, Arena *arena, Selection *out) {
  const Selection *known = options->alike ? alike_find(options->alike, site, last) : NULL;
  if (known) {
    *out = *known;
    return OK;
  }
  Selection selection = {0};
  bool done = false;
  if (options->forced && implementation_serves(options->forced, site))
    TRY(select_forced(site, options, arena, &selection, &done));
  else TRY(select_freely(site, options, last, arena, &selection, &done));
  *out = done ? selection : (Selection){0};
  if (done && options->alike) alike_keep(options->alike, site, last, out);
  return OK;
}

int select_all(const Site *site, const SelectOptions *options, Selection *out, int limit) {
  int count = 0;
  for (int i = 0; implementations[i] && count < limit; i++) {
    const Implementation *implementation = implementations[i];
    if (!implementation_serves(implementation, site) || !implementation->supports(site)) continue;
    if (implementation->general && count) continue;
    Way ways[WAYS_ASKED];
    int found = implementation_ways(implementation, site, &options->machine, ways, WAYS_ASKED);
    for (int w = 0; w < found && count < limit; w++)
      out[count++] = (Selection){.implementation = implementation, .way = ways[w]};
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
  dims_strides(desc->rank, desc->dims, desc->strides);
}

bool select_supports(const Node *node, const DeviceInfo *device, bool tf32) {
  Arena *scratch = arena_scratch();
  Site site = {.device = device, .tf32 = tf32};
  int *numbers;
  fused_site(node, scratch, &site, &numbers);
  int count = site_input_count(&site);
  TensorDesc *inputs = arena_array(scratch, TensorDesc, count), *outputs = arena_array(scratch, TensorDesc, node->output_count);
  for (int i = 0; i < count; i++) describe(numbers[i] < 0 ? NULL : node->inputs[numbers[i]], &inputs[i]);
  for (int i = 0; i < node->output_count; i++) describe(node->outputs[i], &outputs[i]);
  site.inputs = inputs;
  site.outputs = outputs;
  bool supported = false;
  for (int i = 0; implementations[i] && !supported; i++)
    supported = implementation_serves(implementations[i], &site) && implementations[i]->supports(&site);
  arena_free(scratch);
  return supported;
}

// A way that was read from a plan's text may have none yet.
double selection_cost(const Selection *selection, const Site *site) {
  double cost = selection->way.cost;
  return cost > 0 ? cost : implementation_cost(selection->implementation, site, &selection->way);
}

char *selection_text(const Selection *selection, Arena *arena) {
  const char *name = selection->implementation->name, *way = selection->way.name;
  return *way ? arena_printf(arena, "%s %s", name, way) : arena_string(arena, name);
}
