// Kernels compile for every target without a GPU, come back from memory and disk, survive a damaged cache and other processes.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/budget.h"
#include "tests/nvrtc_test.h"

static const int targets[] = {75, 80, 86, 89, 90, 100, 120};
static const char kernel[] =
    "#include \"kernels/common/types.cuh\"\n"
    "extern \"C\" __global__ void widen(const f16 *in, float *out, i64 count) {\n"
    "  i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;\n"
    "  if (i < count) out[i] = to_float(in[i]) + to_float(from_float_saturate<f8e4m3fn>(to_float(in[i])));\n"
    "}\n";

static const char *cache_template(char *folder) {
  need_nvrtc();
  strcpy(folder, "/tmp/ingot-kernels-XXXXXX");
  cr_assert_not_null(mkdtemp(folder));
  return folder;
}

static void remove_folder(const char *folder) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  cr_assert_eq(system(command), 0);
}

static Compiler *compiler_in(const char *folder) {
  return compiler_new(&(CompilerOptions){.headers = device_sources, .folder = folder});
}

static void compile_ok(Compiler *compiler, const char *source, int sm, Cubin *out) {
  KernelSource request = {"widen", source, sm};
  Status status = compiler_compile(compiler, &request, out);
  cr_assert_null(status, "%s", status_message(status));
}

Test(cuda_compiler, compiles_for_every_target_in_one_batch, .timeout = 120) {
  char folder[64];
  cache_template(folder);
  Compiler *compiler = compiler_in(folder);
  KernelSource sources[COUNT_OF(targets) + 1];
  Cubin cubins[COUNT_OF(sources)];
  for (size_t i = 0; i < COUNT_OF(targets); i++) sources[i] = (KernelSource){"widen", kernel, targets[i]};
  sources[COUNT_OF(targets)] = sources[0];
  Status status = compiler_compile_all(compiler, sources, COUNT_OF(sources), 2, cubins);
  cr_assert_null(status, "%s", status_message(status));
  for (size_t i = 0; i < COUNT_OF(sources); i++) cr_assert(memcmp(cubins[i].data, "\177ELF", 4) == 0);
  cr_assert_eq(cubins[0].data, cubins[COUNT_OF(targets)].data);
  cr_assert_eq(compiler_stats(compiler).compiled, (int)COUNT_OF(targets));
  compiler_free(compiler);
  remove_folder(folder);
}

Test(cuda_compiler, finds_kernels_again_and_makes_damaged_ones_anew, .timeout = 120) {
  char folder[64];
  cache_template(folder);
  Cubin first, second;
  Compiler *compiler = compiler_in(folder);
  compile_ok(compiler, kernel, 90, &first);
  compile_ok(compiler, kernel, 90, &second);
  cr_assert_eq(first.data, second.data);
  cr_assert_eq(compiler_stats(compiler).memory_hits, 1);

  Compiler *next = compiler_in(folder);
  compile_ok(next, kernel, 90, &second);
  cr_assert_eq(compiler_stats(next).disk_hits, 1);
  cr_assert_eq(compiler_stats(next).compiled, 0);
  cr_assert(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
  compiler_free(next);

  char command[256];
  snprintf(command, sizeof command, "for f in %s/*.cubin; do printf X | dd of=$f bs=1 seek=500 conv=notrunc status=none; done",
           folder);
  cr_assert_eq(system(command), 0);
  next = compiler_in(folder);
  compile_ok(next, kernel, 90, &second);
  cr_assert_eq(compiler_stats(next).distrusted, 1);
  cr_assert_eq(compiler_stats(next).compiled, 1);
  cr_assert(memcmp(first.data, second.data, first.size) == 0);
  compiler_free(next);

  next = compiler_in(folder);
  compile_ok(next, kernel, 90, &second);
  cr_assert_eq(compiler_stats(next).disk_hits, 1, "the damaged file was not replaced");
  compiler_free(next);
  compiler_free(compiler);
  remove_folder(folder);
}

// Kernels that nobody holds stay only as far as there is room; those that are held, whatever the room.
Test(cuda_compiler, kernels_that_nobody_holds_make_room, .timeout = 120) {
  enum { COUNT = 6 };
  char folder[64], texts[COUNT][64];
  cache_template(folder);
  KernelSource sources[COUNT];
  Cubin cubins[COUNT], again[COUNT];
  for (int i = 0; i < COUNT; i++) {
    snprintf(texts[i], sizeof texts[i], "extern \"C\" __global__ void set(int *x) { *x = %d; }", i);
    sources[i] = (KernelSource){"set", texts[i], 90};
  }
  Compiler *roomy = compiler_in(folder);
  cr_assert_null(compiler_compile_all(roomy, sources, COUNT, 1, cubins));
  size_t each = cubins[0].size;
  cr_expect_eq(compiler_stats(roomy).held_bytes, COUNT * each);
  cr_expect_eq(compiler_stats(roomy).idle_bytes, 0);
  compiler_release(roomy, cubins, COUNT);
  cr_expect_eq(compiler_stats(roomy).held_bytes, 0);
  cr_expect_eq(compiler_stats(roomy).idle_bytes, COUNT * each);
  cr_assert_null(compiler_compile_all(roomy, sources, COUNT, 1, again));
  cr_expect_eq(compiler_stats(roomy).compiled, COUNT);
  cr_expect_eq(compiler_stats(roomy).disk_hits, 0);
  cr_expect_eq(compiler_stats(roomy).idle_bytes, 0);
  compiler_free(roomy);

  Compiler *narrow = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = folder, .idle_bytes = 2 * each + 1});
  cr_assert_null(compiler_compile_all(narrow, sources, COUNT, 1, cubins));
  cr_assert_null(compiler_compile(narrow, &sources[0], &again[0]));  // once more
  cr_expect_eq(again[0].data, cubins[0].data);
  compiler_release(narrow, cubins, COUNT);
  cr_expect_eq(compiler_stats(narrow).held_bytes, each);
  cr_expect_eq(compiler_stats(narrow).idle_bytes, 2 * each);
  cr_expect_eq(memcmp(again[0].data, "\177ELF", 4), 0);
  compiler_release(narrow, again, 1);
  cr_expect_eq(compiler_stats(narrow).idle_bytes, 2 * each, "the one used last stays, the one before goes");
  int read = compiler_stats(narrow).disk_hits;
  compile_ok(narrow, texts[0], 90, &again[0]);
  cr_expect_eq(compiler_stats(narrow).disk_hits, read);
  compile_ok(narrow, texts[1], 90, &again[1]);
  cr_expect_eq(compiler_stats(narrow).disk_hits, read + 1);
  cr_assert_null(compiler_compile_all(narrow, sources, COUNT, 1, NULL));  // nothing is held of it
  cr_expect_leq(compiler_stats(narrow).idle_bytes, 2 * each + 1);
  compiler_free(narrow);
  remove_folder(folder);
}

Test(cuda_compiler, two_processes_share_a_folder, .timeout = 120) {
  char folder[64];
  cache_template(folder);
  pid_t children[2];
  for (int i = 0; i < 2; i++) {
    children[i] = fork();
    if (children[i] == 0) {
      Compiler *compiler = compiler_in(folder);
      KernelSource sources[] = {{"a", kernel, 80}, {"b", kernel, 90}};
      Status status = compiler_compile_all(compiler, sources, 2, 1, NULL);
      _exit(status ? 1 : 0);
    }
  }
  for (int i = 0; i < 2; i++) {
    int result;
    waitpid(children[i], &result, 0);
    cr_assert_eq(result, 0);
  }
  Compiler *compiler = compiler_in(folder);
  Cubin cubin;
  compile_ok(compiler, kernel, 80, &cubin);
  compile_ok(compiler, kernel, 90, &cubin);
  cr_assert_eq(compiler_stats(compiler).disk_hits, 2);
  compiler_free(compiler);
  remove_folder(folder);
}

Test(cuda_compiler, a_kernel_that_does_not_compile_gives_the_log_under_its_name) {
  char folder[64];
  cache_template(folder);
  Compiler *compiler = compiler_in(folder);
  KernelSource sources[] = {{"fine", kernel, 80}, {"conv_17", "extern \"C\" __global__ void f() { undeclared = 1; }", 80}};
  Status status = compiler_compile_all(compiler, sources, 2, 1, NULL);
  cr_assert_not_null(status);
  cr_assert(strstr(status_message(status), "conv_17") && strstr(status_message(status), "undeclared"), "%s",
            status_message(status));
  status_free(status);
  compiler_free(compiler);
  remove_folder(folder);
}

static bool stop_at_once(void *context, const char *stage, double fraction, double seconds_left) { return false; }

Test(cuda_compiler, a_batch_can_be_cancelled) {
  char folder[64];
  cache_template(folder);
  Compiler *compiler = compiler_in(folder);
  KernelSource sources[] = {{"a", kernel, 80}, {"b", kernel, 90}};
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.progress = stop_at_once});
  budget_stage("compiling", 0, -1);
  Status status = compiler_compile_all(compiler, sources, 2, 1, NULL);
  budget_leave(&budget);
  cr_assert_eq(status_code(status), ERROR_CANCELLED);
  status_free(status);
  compiler_free(compiler);
  remove_folder(folder);
}

Test(cuda_compiler, keys_follow_the_text_the_includes_and_the_target) {
  DeviceSource headers[] = {{"kernels/a.cuh", "#include \"kernels/b.cuh\"\n"}, {"kernels/b.cuh", "int b;"}, {NULL, NULL}};
  DeviceSource changed[] = {{"kernels/a.cuh", "#include \"kernels/b.cuh\"\n"}, {"kernels/b.cuh", "long b;"}, {NULL, NULL}};
  Compiler *one = compiler_new(&(CompilerOptions){.headers = headers, .folder = ""});
  Compiler *two = compiler_new(&(CompilerOptions){.headers = changed, .folder = ""});
  const char *source = "#include \"kernels/a.cuh\"\n", *plain = "int main;";
  cr_assert_eq(compiler_key(one, source, 80).low, compiler_key(one, source, 80).low);
  cr_assert_neq(compiler_key(one, source, 80).low, compiler_key(two, source, 80).low);
  cr_assert_neq(compiler_key(one, source, 80).low, compiler_key(one, source, 90).low);
  cr_assert_eq(compiler_key(one, plain, 80).low, compiler_key(two, plain, 80).low);
  compiler_free(one);
  compiler_free(two);
}

Test(cuda_compiler, preloaded_kernels_need_no_compiler) {
  Compiler *compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  KernelSource request = {"x", "not even a kernel", 90};
  Cubin cubin;
  cr_assert_null(compiler_preload(compiler, compiler_key(compiler, request.source, 90), "bytes", 5));
  cr_assert_null(compiler_compile(compiler, &request, &cubin));
  cr_assert(cubin.size == 5 && memcmp(cubin.data, "bytes", 5) == 0);
  compiler_free(compiler);
}
