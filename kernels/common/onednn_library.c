// Opening oneDNN. A process has one of it, as it has one of every shared library: so what was found is kept here and not in a session.
#include "kernels/common/onednn_library.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "base/recover.h"
#include "cuda/library.h"

enum { RUNTIME_SEQUENTIAL = 1, RUNTIME_OPENMP = 2, RUNTIME_THREADPOOL = 8 };

typedef struct Row {
  const char *name;
  size_t offset;
} Row;
#define ROW(name, result, parameters) {#name, offsetof(OnednnLibrary, name)},
static const Row common[] = {ONEDNN_TABLE(ROW)};
static const Row second[] = {ONEDNN_TABLE_2(ROW)};
static const Row third[] = {ONEDNN_TABLE_3(ROW)};
#undef ROW

static pthread_once_t once = PTHREAD_ONCE_INIT;
static OnednnLibrary found;  // generation 0: none

static Status fill(OnednnLibrary *table, void *library, const Row *rows, size_t count) {
  for (size_t i = 0; i < count; i++) {
    void *function = dlsym(library, rows[i].name);
    if (!function) FAIL(ERROR_UNSUPPORTED, "it has no %s", rows[i].name);
    memcpy((char *)table + rows[i].offset, &function, sizeof function);
  }
  return OK;
}

static Status fill_eltwise_and_sum(OnednnLibrary *table, void *library) {
  void *eltwise = dlsym(library, "dnnl_post_ops_append_eltwise"), *sum = dlsym(library, "dnnl_post_ops_append_sum");
  if (!eltwise || !sum) FAIL(ERROR_UNSUPPORTED, "it has no epilogues");
  if (table->generation == 2) *(void **)&table->append_eltwise_2 = eltwise, *(void **)&table->append_sum_2 = sum;
  else *(void **)&table->append_eltwise_3 = eltwise, *(void **)&table->append_sum_3 = sum;
  return OK;
}

// Threads that cannot be told how many to be would fight ours for the cores.
static Status find_threads(OnednnLibrary *table, void *library, unsigned runtime, const char **name) {
  if (runtime == RUNTIME_SEQUENTIAL || runtime == RUNTIME_THREADPOOL) {
    *name = runtime == RUNTIME_SEQUENTIAL ? "sequential" : "threads of the caller";
    return OK;
  }
  if (runtime != RUNTIME_OPENMP) FAIL(ERROR_UNSUPPORTED, "its threads (TBB or SYCL) cannot be bounded");
  *name = "OpenMP";
  *(void **)&table->set_threads = dlsym(library, "omp_set_num_threads");
  *(void **)&table->get_threads = dlsym(library, "omp_get_max_threads");
  if (!table->set_threads || !table->get_threads) FAIL(ERROR_UNSUPPORTED, "its OpenMP run-time was not found");
  return OK;
}

// The library keeps the last 1024 primitives, with code of some 50 KB each, when nobody has them any more. Plans keep what they use, so
// fewer do; where the host has set a number of its own, that stays.
static void bound_primitives(void *library) {
  enum { BY_DEFAULT = 1024, KEPT = 128 };
  OnednnResult (*get)(int *), (*set)(int);
  int capacity;
  *(void **)&get = dlsym(library, "dnnl_get_primitive_cache_capacity");
  *(void **)&set = dlsym(library, "dnnl_set_primitive_cache_capacity");
  if (get && set && get(&capacity) == ONEDNN_SUCCESS && capacity == BY_DEFAULT) set(KEPT);
}

static Status take(OnednnLibrary *table, void *library, const char *path) {
  const OnednnVersion *(*version_of)(void);
  const char *runtime;
  *(void **)&version_of = dlsym(library, "dnnl_version");
  if (!version_of) FAIL(ERROR_UNSUPPORTED, "%s is not oneDNN", path);
  const OnednnVersion *version = version_of();
  table->generation = version->major;
  bool known = version->major == 3 || (version->major == 2 && version->minor >= 5);
  if (!known) FAIL(ERROR_UNSUPPORTED, "%s is oneDNN %d.%d; 2.5 to 3.x is needed", path, version->major, version->minor);
  Status status = OK;
  TRY_GOTO(find_threads(table, library, version->cpu_runtime, &runtime));
  TRY_GOTO(fill(table, library, common, COUNT_OF(common)));
  if (table->generation == 2) TRY_GOTO(fill(table, library, second, COUNT_OF(second)));
  else TRY_GOTO(fill(table, library, third, COUNT_OF(third)));
  TRY_GOTO(fill_eltwise_and_sum(table, library));
  bound_primitives(library);
  *(void **)&table->get_layout_bytes = dlsym(library, "dnnl_memory_desc_get_blob");
  snprintf(table->text, sizeof table->text, "oneDNN %d.%d.%d (%s), %s", version->major, version->minor, version->patch, runtime,
           path);
done:
  return status_context(status, "%s, oneDNN %d.%d.%d", path, version->major, version->minor, version->patch);
}

static Status open_one(const char *name, Arena *arena) {
  const char *names[] = {name, NULL}, *path;
  void *library;
  OnednnLibrary table = {0};
  TRY(library_open("oneDNN", "INGOT_ONEDNN", names, arena, &library, &path));
  TRY(take(&table, library, path));
  found = table;
  return OK;
}

static Status look_in_all(void) {
  static const char *const names[] = {"libdnnl.so.3", "libdnnl.so.2"};
  Arena *arena = arena_scratch();
  for (size_t i = 0; i < COUNT_OF(names) && !found.generation; i++) {
    Status status = open_one(names[i], arena);
    if (status && !*found.text) snprintf(found.text, sizeof found.text, "no oneDNN: %s", status_message(status));
    status_free(status);
  }
  arena_free(arena);
  return OK;
}

// A guard of its own: nothing may unwind through pthread_once.
static void look(void) {
  Status status = RECOVER_GUARD(look_in_all());
  if (status) snprintf(found.text, sizeof found.text, "no oneDNN: %s", status_message(status));
  status_free(status);
}

const OnednnLibrary *onednn_library(void) {
  pthread_once(&once, look);
  return found.generation ? &found : NULL;
}

const char *onednn_library_text(void) {
  pthread_once(&once, look);
  return found.text;
}
