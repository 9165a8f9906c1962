// See attempt.h.
#include "tests/random/attempt.h"

#include <stdio.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "passes/passes.h"

// What the passes say of themselves; those that are not here keep every bit, but for roundings that fusion drops in half precision.
static const struct {
  const char *pass;
  Exactness exactness;
  bool if_finite;
} inexact[] = {
    {"fold_scale", REASSOCIATED},      // a scale taken into weights
    {"relu_behind_pool", ZERO_SIGNS},  // the largest of -0 and 0 is either
    {"pad_into_conv", EXACT, true},    // what a convolution pads is not multiplied by an infinite weight
};

void way_print(Text *text, const Way *way) {
  text_add(text, "passes %s", *way->passes ? way->passes : "all");
  if (way->cuda) text_add(text, " cuda");
  if (way->tf32) text_add(text, " tf32");
  if (way->precision < DTYPE_COUNT) text_add(text, " precision %s", dtype_name(way->precision));
}

Status way_parse(const char *text, Way *out) {
  char line[640], *rest = NULL;
  *out = (Way){.precision = DTYPE_COUNT};
  snprintf(line, sizeof line, "%s", text);
  for (char *word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
    bool is_passes = !strcmp(word, "passes"), is_precision = !strcmp(word, "precision");
    const char *value = is_passes || is_precision ? strtok_r(NULL, " \n", &rest) : "";
    if (!value) FAIL(ERROR_INVALID_ARGUMENT, "'%s' wants a value", word);
    if (is_passes) snprintf(out->passes, sizeof out->passes, "%s", strcmp(value, "all") ? value : "");
    else if (!strcmp(word, "cuda")) out->cuda = true;
    else if (!strcmp(word, "tf32")) out->tf32 = true;
    else if (!is_precision || !dtype_parse(value, &out->precision)) FAIL(ERROR_INVALID_ARGUMENT, "no way '%s'", text);
  }
  return OK;
}

static bool met_before(int at) {
  for (int i = 0; i < at; i++)
    if (pass_pipeline[i] == pass_pipeline[at]) return true;
  return false;
}

const char *pass_at(int index) {
  for (int i = 0; pass_pipeline[i]; i++)
    if (!met_before(i) && index-- == 0) return pass_pipeline[i]->name;
  return NULL;
}

int pass_count(void) {
  int count = 0;
  while (pass_at(count)) count++;
  return count;
}

void way_list_pipeline(Way *way) {
  size_t used = 0;
  for (int i = 0; pass_pipeline[i] && used < sizeof way->passes; i++)
    used += (size_t)snprintf(way->passes + used, sizeof way->passes - used, "%s%s", i ? "," : "", pass_pipeline[i]->name);
}

bool way_drop_pass(Way *way, int index) {
  char *from = way->passes;
  for (; index > 0; index--, from++)
    if (!(from = strchr(from, ','))) return false;
  char *end = strchr(from, ',');
  if (!end && from == way->passes) return false;
  if (end) memmove(from, end + 1, strlen(end + 1) + 1);
  else from[-1] = 0;
  return true;
}

typedef struct Notes {
  bool changed;
  Allowance allowance;
} Notes;

static void note_change(void *context, const char *pass, const Graph *graph) {
  Notes *notes = context;
  Allowance *allowance = &notes->allowance;
  notes->changed = true;
  for (size_t i = 0; i < COUNT_OF(inexact); i++) {
    if (strcmp(inexact[i].pass, pass)) continue;
    allowance->exactness = MAX(allowance->exactness, inexact[i].exactness);
    allowance->if_finite |= inexact[i].if_finite;
  }
}

static Status rewrite(Graph *graph, const Way *way, Notes *notes) {
  *notes = (Notes){.allowance = {.exactness = EXACT, .precision = way->precision}};
  PassOptions options = {.device = way->cuda ? DEVICE_CUDA : DEVICE_CPU,
                         .sm = 90,
                         .precision = way->precision,
                         .tf32 = way->tf32,
                         .verify = true,
                         .observe = note_change,
                         .observe_context = notes};
  return *way->passes ? passes_run_named(graph, way->passes, &options) : passes_run(graph, &options, NULL, 0, NULL);
}

Status attempt_way(const Judge *judge, const Way *way, Verdict *verdict, bool *changed) {
  Graph *graph = graph_copy(judge->arena, judge->graph);
  Notes notes;
  TRY(rewrite(graph, way, &notes));
  *changed = notes.changed;
  *verdict = (Verdict){0};
  return judge_compare(judge, graph, notes.allowance, verdict);
}

Status attempt_text(Arena *arena, const Graph *graph, const Way *way, const char **out) {
  Graph *changed = graph_copy(arena, graph);
  Notes notes;
  TRY(rewrite(changed, way, &notes));
  Text text = text_new(arena);
  graph_print(&text, changed, NULL);
  *out = text_get(&text);
  return OK;
}
