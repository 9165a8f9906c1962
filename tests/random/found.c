// See found.h.
#include "tests/random/found.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/recover.h"
#include "ir/graph_text.h"
#include "kernels/ops.h"
#include "ir/verify.h"

void found_print(Text *text, const char *what, const Graph *graph, uint64_t values, const RewriteWay *way) {
  text_add(text, "// %s\n// way: ", what);
  way_print(text, way);
  text_add(text, "\n// values: %llu\n", (unsigned long long)values);
  graph_print(text, graph, NULL);
}

static const char *line_after(const char *text, const char *mark) {
  const char *at = strstr(text, mark);
  return at ? at + strlen(mark) : NULL;
}

Status found_read(Arena *arena, const char *path, Graph **graph, uint64_t *values, RewriteWay *way) {
  Bytes bytes;
  TRY(file_read(path, 0, arena, &bytes));
  const char *text = (const char *)bytes.data;
  const char *way_line = line_after(text, "// way: "), *values_line = line_after(text, "// values: ");
  if (!way_line || !values_line) FAIL(ERROR_INVALID_ARGUMENT, "'%s' lacks its way or its values", path);
  TRY(way_parse(arena_string_n(arena, way_line, strcspn(way_line, "\n")), way));
  *values = strtoull(values_line, NULL, 10);
  TRY(status_context(graph_parse(arena, core_ops, text, bytes.size, NULL, 0, graph), "%s", path));
  FOR_NODES(node, *graph) TRY(node_infer(node));
  return graph_verify(*graph);
}

static Status try_file(Arena *arena, const char *folder, const char *name, Trial *trial) {
  Graph *graph;
  uint64_t values;
  RewriteWay way;
  TRY(found_read(arena, arena_printf(arena, "%s/%s", folder, name), &graph, &values, &way));
  trial_run(&(Subject){.graph = graph, .values = values, .ways = &way, .way_count = 1}, trial);
  return OK;
}

static bool is_listed(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; (at = strstr(at, name)); at += length)
    if ((at == list || at[-1] == '\n') && (at[length] == '\n' || !at[length])) return true;
  return false;
}

static Status run_folder(Arena *arena, const char *folder, int *surprises) {
  struct dirent **entries;
  Bytes bytes;
  TRY(file_read(arena_printf(arena, "%s/skipped.txt", folder), 0, arena, &bytes));
  const char *skipped = (const char *)bytes.data;
  int count = scandir(folder, &entries, NULL, alphasort), tried = 0, known = 0;
  if (count < 0) FAIL(ERROR_IO, "cannot read the folder '%s'", folder);
  for (int i = 0; i < count; i++) {
    const char *name = entries[i]->d_name;
    const char *end = strrchr(name, '.');
    if (!end || strcmp(end, ".graph")) continue;
    Trial trial = {0};
    Status status = try_file(arena, folder, name, &trial);
    bool listed = is_listed(skipped, name), holds = !status && trial.outcome == HELD;
    tried++;
    known += listed;
    if (holds != listed) continue;
    ++*surprises;
    if (holds) printf("%s: holds now: take it off skipped.txt\n", name);
    else
      printf("%s: %s: %s\n", name, status ? "cannot be read" : outcome_name(trial.outcome),
             status ? status_message(status) : trial.message);
    status_free(status);
  }
  for (int i = 0; i < count; i++) free(entries[i]);
  free(entries);
  printf("%d graphs that failed once, %d of them known to fail still\n", tried, known);
  return OK;
}

int found_run(const char *folder) {
  int surprises = 0;
  Arena *arena = arena_new();
  Status status = run_folder(arena, folder, &surprises);
  if (status) printf("%s\n", status_message(status));
  surprises += status != OK;
  status_free(status);
  arena_free(arena);
  return surprises;
}
