// What is chosen of changes together: never slower than none or all, whatever each does alone or beside the others, and in spite of noise.
#include "tune/together.h"

#include <criterion/criterion.h>
#include <math.h>

#include "base/checked.h"

enum { MOST = 8 };

// Seconds of a run: a base, what each change adds, and what two beside each other add.
typedef struct Model {
  const char *name;
  int count;
  double alone[MOST], beside[MOST];  // beside: change i and i + 1 both taken
  double noise;
  int limit;          // comparisons after which time is over
  const char *taken;  // as expected; NULL: whatever is no slower
} Model;

static const Model models[] = {
    {"each is faster", 3, {-0.1, -0.05, -0.02}, {0}, 0, 99, "111"},
    {"each is slower", 3, {0.1, 0.05, 0.02}, {0}, 0, 99, "000"},
    {"one is slower", 3, {-0.1, 0.05, -0.02}, {0}, 0, 99, "101"},
    {"one is faster, all are not", 3, {0.1, -0.05, 0.02}, {0}, 0, 99, "010"},
    {"one is slower than the others are faster", 4, {-0.1, -0.05, 0.4, -0.02}, {0}, 0, 99, "1101"},
    {"two that do not go together", 3, {-0.1, -0.06, -0.02}, {0.2}, 0, 99, NULL},
    {"two that go together alone", 2, {0.05, 0.05}, {-0.3}, 0, 99, "11"},
    {"less than can be seen", 2, {0.001, -0.1}, {0}, 0, 99, "11"},
    {"no time but for the first and the last", 3, {-0.1, 0.05, -0.02}, {0}, 0, 1, "111"},
    {"no time, and all are slower", 3, {-0.1, 0.5, -0.02}, {0}, 0, 1, "000"},
    {"noise", 4, {-0.1, 0.1, -0.1, 0.1}, {0}, 0.003, 99, "1010"},
};

typedef struct Run {
  const Model *model;
  int compared;
  unsigned random;
} Run;

static double seconds_of(const Model *model, const bool *taken) {
  double seconds = 1;
  for (int i = 0; i < model->count; i++) {
    if (taken[i]) seconds += model->alone[i];
    if (taken[i] && i + 1 < model->count && taken[i + 1]) seconds += model->beside[i];
  }
  return seconds;
}

static Status compare(void *context, const bool *current, const bool *trial, double *ratio) {
  Run *run = context;
  run->compared++;
  run->random = run->random * 1664525u + 1013904223u;
  double noise = ((double)(run->random >> 8) / (1 << 23) - 1) * run->model->noise;
  *ratio = seconds_of(run->model, trial) / seconds_of(run->model, current) + noise;
  return OK;
}

static bool is_over(void *context) {
  const Run *run = context;
  return run->compared >= run->model->limit;
}

Test(together, is_never_slower) {
  for (size_t m = 0; m < COUNT_OF(models); m++) {
    const Model *model = &models[m];
    Run run = {.model = model, .random = 7};
    bool taken[MOST] = {false}, none[MOST] = {false};
    TogetherFound found;
    cr_assert_null(choose_together(&(Together){compare, is_over, &run}, model->count, taken, &found));
    cr_expect_leq(seconds_of(model, taken), seconds_of(model, none), "%s", model->name);
    cr_expect_leq(found.ratio, 1, "%s", model->name);
    cr_expect_eq(found.compared, run.compared);
    int left_out = 0;
    for (int i = 0; i < model->count; i++) {
      left_out += !taken[i];
      if (model->taken) cr_expect_eq(taken[i], model->taken[i] == '1', "%s: change %d", model->name, i);
    }
    cr_expect_eq(found.left_out, left_out);
  }
}

Test(together, nothing_to_choose) {
  Run run = {.model = &models[0]};
  TogetherFound found;
  cr_assert_null(choose_together(&(Together){compare, is_over, &run}, 0, NULL, &found));
  cr_expect_eq(run.compared, 0);
  cr_expect_eq(found.ratio, 1);
}

static Status fails(void *context, const bool *current, const bool *trial, double *ratio) {
  FAIL(ERROR_UNSUPPORTED, "no measurement");
}

Test(together, failures_are_told) {
  Run run = {.model = &models[0]};
  bool taken[MOST];
  TogetherFound found;
  Status status = choose_together(&(Together){fails, is_over, &run}, 3, taken, &found);
  cr_assert_eq(status_code(status), ERROR_UNSUPPORTED);
  status_free(status);
}
