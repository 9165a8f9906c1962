// See together.h. All changes or none, whichever is faster; then each in turn is turned round, and stays so where that is faster twice. The last comparison is with none again.
#include "tune/together.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define NOISE 0.004  // by what a trial has to be faster

typedef struct Choice {
  const Together *together;
  int count;
  bool *taken, *trial, *none;
  TogetherFound *found;
} Choice;

static Status compare(Choice *c, const bool *current, const bool *trial, double *ratio) {
  c->found->compared++;
  return c->together->compare(c->together->context, current, trial, ratio);
}

static Status is_faster(Choice *c, bool *faster) {
  double ratio;
  *faster = true;
  for (int i = 0; i < 2 && *faster; i++) {
    TRY(compare(c, c->taken, c->trial, &ratio));
    *faster = ratio < 1 - NOISE;
  }
  return OK;
}

static Status turn_each(Choice *c) {
  for (int i = 0; i < c->count && !c->together->is_over(c->together->context); i++) {
    bool faster;
    memcpy(c->trial, c->taken, (size_t)c->count * sizeof *c->trial);
    c->trial[i] = !c->trial[i];
    TRY(is_faster(c, &faster));
    if (faster) c->taken[i] = c->trial[i];
  }
  return OK;
}

static bool any(const bool *taken, int count) {
  bool found = false;
  for (int i = 0; i < count; i++) found = found || taken[i];
  return found;
}

static void take(Choice *c, bool all) {
  for (int i = 0; i < c->count; i++) c->taken[i] = all;
}

static Status choose(Choice *c) {
  double ratio;
  take(c, true);
  TRY(compare(c, c->none, c->taken, &ratio));
  if (ratio >= 1) take(c, false);
  TRY(turn_each(c));
  c->found->ratio = 1;
  if (!any(c->taken, c->count)) return OK;
  TRY(compare(c, c->none, c->taken, &ratio));
  if (ratio >= 1) take(c, false);
  else c->found->ratio = ratio;
  return OK;
}

Status choose_together(const Together *together, int count, bool *taken, TogetherFound *found) {
  *found = (TogetherFound){.ratio = 1};
  bool *room = calloc(2 * (size_t)count + 1, sizeof *room);
  if (!room) return status_out_of_memory();
  Choice choice = {together, count, taken, room, room + count, found};
  Status status = count ? choose(&choice) : OK;
  free(room);
  for (int i = 0; i < count; i++) found->left_out += !taken[i];
  return status;
}
