// The configuration keeps its word: structs of other sizes, values without sense, and options that could have no effect.
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/api_test.h"

#define MODEL "examples/digits/digits.onnx"

static ingot_config config;
static ingot_model *model;
static ingot_engine *engine;

static void set_up(void) {
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 1;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
}
static void tear_down(void) {
  ingot_engine_free(engine);
  ingot_model_free(model);
}
TestSuite(api_config, .init = set_up, .fini = tear_down);

// Every function that takes a configuration refuses it.
static void expect_refused(const ingot_config *bad, const char *says) {
  ingot_model *no_model = NULL;
  ingot_engine *no_engine = NULL;
  ingot_session *none = NULL;
  expect_error(ingot_model_open(MODEL, bad, &no_model), INGOT_INVALID_ARGUMENT, says);
  expect_error(ingot_model_open_memory("none", 4, NULL, bad, &no_model), INGOT_INVALID_ARGUMENT, says);
  expect_error(ingot_engine_build(model, bad, &no_engine), INGOT_INVALID_ARGUMENT, says);
  expect_error(ingot_engine_load(MODEL, bad, &no_engine), INGOT_INVALID_ARGUMENT, says);
  expect_error(ingot_engine_load_memory("none", 4, bad, &no_engine), INGOT_INVALID_ARGUMENT, says);
  expect_error(ingot_session_create(engine, bad, &none), INGOT_INVALID_ARGUMENT, says);
  cr_expect(!no_model && !no_engine && !none);
}

// Building is fine with it, or it does not come to that; a finished engine cannot give it.
static void expect_too_late(const ingot_config *bad, const char *says) {
  ingot_engine *no_engine = NULL;
  ingot_session *none = NULL;
  void *bytes;
  size_t size;
  char path[] = "/tmp/ingot-config-XXXXXX";
  close(mkstemp(path));
  expect_ok(ingot_engine_save(engine, path));
  expect_ok(ingot_engine_save_memory(engine, &bytes, &size));
  expect_error(ingot_engine_load(path, bad, &no_engine), INGOT_INVALID_ARGUMENT, says);
  expect_error(ingot_engine_load_memory(bytes, size, bad, &no_engine), INGOT_INVALID_ARGUMENT, says);
  expect_error(ingot_session_create(engine, bad, &none), INGOT_INVALID_ARGUMENT, says);
  unlink(path);
  free(bytes);
}

// ---- growth ------------------------------------------------------------------------------------------------------------------

// A struct at the end of a page that the next page, unreadable, follows.
static void *at_the_edge(size_t size, char **pages) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  cr_assert(*pages != MAP_FAILED && mprotect(*pages + page, page, PROT_NONE) == 0);
  return *pages + page - size;
}

Test(api_config, an_older_callers_struct_is_never_passed) {
  const size_t sizes[] = {offsetof(ingot_config, tuning_seconds), offsetof(ingot_config, log),
                          offsetof(ingot_config, memory_limit)};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char *pages;
    ingot_config *old = at_the_edge(sizes[i], &pages);
    ingot_engine *built;
    ingot_session *session;
    expect_ok(ingot_config_init_sized(old, sizes[i]));
    cr_expect_eq(old->size, sizes[i]);
    old->device = INGOT_DEVICE_CPU;
    expect_ok(ingot_engine_build(model, old, &built));
    expect_ok(ingot_session_create(built, old, &session));
    ingot_session_free(session);
    ingot_engine_free(built);
    munmap(pages, 2 * (size_t)sysconf(_SC_PAGESIZE));
  }
}

Test(api_config, sizes_that_no_version_had_are_refused) {
  struct {
    ingot_config known;
    char more[64];
  } newer;
  memset(&newer, 0xa5, sizeof newer);
  expect_error(ingot_config_init_sized(&newer.known, sizeof newer), INGOT_INVALID_ARGUMENT, "compiled for a newer one");
  cr_expect_eq(newer.known.size, 0);
  newer.known = config;
  newer.known.size = sizeof newer;
  expect_refused(&newer.known, "compiled for a newer one");
  const size_t wrong[] = {0, 8, sizeof config - 1, sizeof config - 4};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ingot_config bad = config;
    bad.size = wrong[i];
    expect_refused(&bad, "which no version had");
    char guarded[sizeof config];
    memset(guarded, 0x5a, sizeof guarded);
    ingot_error_free(ingot_config_init_sized((ingot_config *)(void *)guarded, wrong[i]));
    for (size_t k = wrong[i]; k < sizeof guarded; k++) cr_assert_eq(guarded[k], 0x5a, "written past %zu bytes", wrong[i]);
  }
}

// ---- values ------------------------------------------------------------------------------------------------------------------

#define EXPECT_REFUSED(says, ...) \
  do {                            \
    ingot_config bad = config;    \
    __VA_ARGS__;                  \
    expect_refused(&bad, says);   \
  } while (0)

Test(api_config, values_without_sense_are_refused_everywhere) {
  EXPECT_REFUSED("device 3", bad.device = (ingot_device)3);
  EXPECT_REFUSED("device -1", bad.device = (ingot_device)-1);
  EXPECT_REFUSED("ordinal", bad.device_index = -1);
  EXPECT_REFUSED("ordinal", bad.device_index = INT_MAX, bad.device = INGOT_DEVICE_CUDA);
  EXPECT_REFUSED("about a GPU", bad.device_index = 1);
  EXPECT_REFUSED("about a GPU", bad.cuda_stream = &bad);
  EXPECT_REFUSED("about a GPU", bad.cuda_context = &bad);
  EXPECT_REFUSED("about a GPU", bad.no_cuda_graph = true);
  EXPECT_REFUSED("about a GPU", bad.streams = 2);
  EXPECT_REFUSED("-1 threads", bad.threads = -1);
  EXPECT_REFUSED("threads are not", bad.threads = 100000);
  EXPECT_REFUSED("5 streams are not", bad.streams = 5, bad.device = INGOT_DEVICE_CUDA);
  EXPECT_REFUSED("-1 streams", bad.streams = -1);
  EXPECT_REFUSED("unknown bits 0x8", bad.precision = 8 | INGOT_FP16);
  EXPECT_REFUSED("both", bad.precision = INGOT_BF16 | INGOT_FP16);
  EXPECT_REFUSED("-1 seconds", bad.tuning_seconds = -1);
  EXPECT_REFUSED("nan seconds", bad.tuning_seconds = fabs((double)NAN));
  EXPECT_REFUSED("inf seconds", bad.tuning_seconds = (double)INFINITY);
  EXPECT_REFUSED("log_most 5", bad.log_most = (ingot_severity)5);
  EXPECT_REFUSED("no pass or rule 'fuse_everything'; there are, with their rules: ", bad.disabled_passes = "fuse_everything");
  EXPECT_REFUSED("fuse_epilogue", bad.disabled_passes = "fold_scale,fuse_everything");
  EXPECT_REFUSED("the list ',fold_scale' is empty where", bad.disabled_passes = ",fold_scale");
}

Test(api_config, a_gpu_that_is_not_there_is_not_replaced_by_the_cpu) {
  ingot_config bad = config;
  ingot_engine *none = NULL;
  ingot_session *session = NULL;
  bad.device = INGOT_DEVICE_AUTO;
  bad.device_index = 77;
  cr_expect_neq((size_t)ingot_engine_build(model, &bad, &none), 0);
  cr_expect_neq((size_t)ingot_session_create(engine, &bad, &session), 0);
  cr_expect(!none && !session);
}

// ---- options that could have no effect ---------------------------------------------------------------------------------------

Test(api_config, what_an_engine_was_not_built_with_is_refused) {
  ingot_config bad = config;
  bad.precision = INGOT_FP16;
  expect_too_late(&bad, "built without fp16");
  bad.precision = INGOT_TF32;
  expect_too_late(&bad, "built without tf32");
  bad = config;
  bad.disabled_passes = "fold_scale";
  expect_too_late(&bad, "built with pass 'fold_scale'");
  bad.disabled_passes = "all";
  expect_too_late(&bad, "built with pass 'all'");
  bad = config;
  bad.tuning_seconds = 1;
  expect_too_late(&bad, "built without tuning");
  bad.tuning_seconds = 0;
  bad.tuning_file = "/tmp/none.tuning";
  expect_too_late(&bad, "built without tuning");
}

Test(api_config, tuning_needs_a_gpu) {
  ingot_config bad = config;
  ingot_engine *none = NULL;
  bad.tuning_seconds = 1;
  expect_error(ingot_engine_build(model, &bad, &none), INGOT_INVALID_ARGUMENT, "built for the CPU");
  bad.tuning_seconds = 0;
  bad.tuning_file = "/tmp/none.tuning";
  expect_error(ingot_engine_build(model, &bad, &none), INGOT_INVALID_ARGUMENT, "built for the CPU");
}

// The same configuration serves for building, saving, loading and running.
Test(api_config, what_it_was_built_with_may_be_said_again) {
  ingot_config same = config;
  ingot_engine *built, *loaded;
  ingot_session *session;
  void *bytes;
  size_t size;
  same.precision = INGOT_FP16 | INGOT_TF32;
  same.disabled_passes = "fold_scale,fuse_epilogue";
  same.untrusted_engine = true;
  expect_ok(ingot_engine_build(model, &same, &built));
  expect_ok(ingot_engine_save_memory(built, &bytes, &size));
  expect_ok(ingot_engine_load_memory(bytes, size, &same, &loaded));
  free(bytes);
  expect_ok(ingot_session_create(loaded, &same, &session));
  ingot_session_free(session);
  same.disabled_passes = "fuse_epilogue";
  same.precision = 0;
  expect_ok(ingot_session_create(loaded, &same, &session));
  ingot_session_free(session);
  same.disabled_passes = "layout";
  expect_error(ingot_session_create(loaded, &same, &session), INGOT_INVALID_ARGUMENT, "built with pass 'layout'");
  ingot_engine_free(loaded);
  ingot_engine_free(built);
}

Test(api_config, a_workspace_limit_holds_on_the_cpu) {
  ingot_config small = config;
  ingot_session *session;
  ingot_tensor out, in = {(uint8_t[64]){0}, {INGOT_CPU, 0}, 4, {INGOT_UINT, 8, 1}, (int64_t[]){1, 1, 8, 8}, NULL, 0};
  ingot_profile *profile;
  small.workspace_limit = 1;
  expect_ok(ingot_session_create(engine, &small, &session));
  expect_ok(ingot_session_run(session, &in, 1, &out, 1));
  expect_ok(ingot_session_profile(session, &in, 1, &profile));
  ingot_profile_free(profile);
  ingot_session_free(session);
}

Test(api_config, a_limit_of_size_holds_for_engines_too) {
  ingot_config small = config;
  ingot_engine *none = NULL;
  void *bytes;
  size_t size;
  small.model_limit = 1000;
  expect_ok(ingot_engine_save_memory(engine, &bytes, &size));
  expect_error(ingot_engine_load_memory(bytes, size, &small, &none), INGOT_LIMIT, "limit of 1000");
  free(bytes);
}

Test(api_config, a_limit_of_size_counts_external_data) {
  char folder[] = "/tmp/ingot-limit-XXXXXX", path[64], command[256];
  cr_assert(mkdtemp(folder));
  snprintf(command, sizeof command, "cp tests/hostile/files/ext_overlap/model.onnx %s && truncate -s 4M %s/big.bin", folder,
           folder);
  cr_assert_eq(system(command), 0);
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  ingot_config small = config;
  ingot_model *opened = NULL;
  small.model_limit = 100;
  expect_error(ingot_model_open(path, &small, &opened), INGOT_LIMIT, "limit of 100");
  small.model_limit = 4 << 20;  // without room for the model's own file
  expect_error(ingot_model_open(path, &small, &opened), INGOT_LIMIT, "'big.bin' has 4194304 bytes");
  small.model_limit = (4 << 20) + 10000;
  expect_ok(ingot_model_open(path, &small, &opened));
  ingot_model_free(opened);
  snprintf(command, sizeof command, "rm -r %s", folder);
  cr_assert_eq(system(command), 0);
}

Test(api_config, unknown_cpu_level) {
  ingot_session *none = NULL;
  cr_assert_eq(setenv("INGOT_CPU_LEVEL", "AVX2", 1), 0);
  expect_error(ingot_session_create(engine, &config, &none), INGOT_INVALID_ARGUMENT,
               "$INGOT_CPU_LEVEL is 'AVX2', which is none of generic, avx2, avx512 and vnni");
  for (const char *const *level = (const char *const[]){"generic", "avx2", "avx512", "vnni", "", NULL}; *level; level++) {
    cr_assert_eq(setenv("INGOT_CPU_LEVEL", *level, 1), 0);
    expect_ok(ingot_session_create(engine, &config, &none));
    ingot_session_free(none);
  }
}
