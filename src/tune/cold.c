// See cold.h.
#include "tune/cold.h"

#include "base/checked.h"
#include "base/map.h"

typedef struct Touched {
  IntMap *met;  // constants
  size_t constants, handed_on;
} Touched;

static void touch_constant(Touched *touched, const TensorDesc *desc) {
  uint64_t key = (uintptr_t)desc->constant;
  if (int_map_get(touched->met, key)) return;
  int_map_set(touched->met, key, touched);
  touched->constants += desc_bytes(desc);
}

static void touch(Touched *touched, const Site *site) {
  size_t handed_on = 0;
  for (int i = 0; i < site_input_count(site); i++) {
    const TensorDesc *desc = &site->inputs[i];
    if (desc->absent) continue;
    if (desc->constant) touch_constant(touched, desc);
    else handed_on += desc_bytes(desc);
  }
  for (int i = 0; i < site->node->output_count; i++) handed_on += desc_bytes(&site->outputs[i]);
  touched->handed_on = MAX(touched->handed_on, handed_on);
}

bool constants_are_cold(const PlanStep *steps, int count, const DeviceInfo *device) {
  Arena *scratch = arena_scratch();
  Touched touched = {.met = int_map_new(scratch)};
  for (int s = 0; s < count; s++) touch(&touched, &steps[s].site);
  arena_free(scratch);
  return touched.constants + touched.handed_on > (size_t)device->l2_bytes;
}
