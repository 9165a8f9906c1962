// See explain.h.
#include "lower/explain.h"

#include <string.h>

// The chosen way may have been read from a plan's text: it is known by its name.
static bool is_chosen(const PlanStep *step, const Implementation *implementation, const Way *way) {
  return step->selection.implementation == implementation && !strcmp(step->selection.way.name, way->name);
}

static Status try_way(const Site *site, const SelectOptions *options, Arena *arena, const Implementation *implementation,
                      ExplainedWay *out) {
  Selection selection = {.implementation = implementation, .way = out->way};
  Status status = selection_lower(site, options, arena, &selection);
  size_t workspace = status ? 0 : selection.emission->workspace_bytes;
  if (status && status_code(status) != ERROR_UNSUPPORTED) return status;
  if (status) out->failure = arena_string(arena, status_message(status));
  else if (options->workspace_limit && workspace > options->workspace_limit)
    out->failure =
        arena_printf(arena, "it wants %zu bytes of workspace, more than the limit of %zu", workspace, options->workspace_limit);
  status_free(status);
  return OK;
}

static Status explain_ways(const PlanStep *step, const SelectOptions *options, Arena *arena, ExplainedImplementation *out) {
  Way ways[WAYS_ASKED];
  out->way_count = implementation_ways(out->implementation, &step->site, &options->machine, ways, WAYS_ASKED);
  out->ways = arena_array(arena, ExplainedWay, (size_t)out->way_count + 1);
  for (int i = 0; i < out->way_count; i++) {
    out->ways[i] = (ExplainedWay){.way = ways[i], .chosen = is_chosen(step, out->implementation, &ways[i])};
    if (!out->ways[i].chosen) TRY(try_way(&step->site, options, arena, out->implementation, &out->ways[i]));
  }
  return OK;
}

Status explain_step(const PlanStep *step, const SelectOptions *options, Arena *arena, Explanation *out) {
  const Implementation *order[MOST_IMPLEMENTATIONS];
  Site site = step->site;
  out->count = select_order(&step->site, order, MOST_IMPLEMENTATIONS, &out->order);
  out->implementations = arena_array(arena, ExplainedImplementation, (size_t)out->count + 1);
  for (int i = 0; i < out->count; i++) {
    ExplainedImplementation *each = &out->implementations[i];
    *each = (ExplainedImplementation){.implementation = order[i]};
    const char *refusal = NULL;
    site.refusal = &refusal;
    if (options->general_only && !order[i]->general) each->refusal = "only general implementations are asked";
    else if (!order[i]->supports(&site)) each->refusal = refusal;
    else TRY(explain_ways(step, options, arena, each));
  }
  return OK;
}
