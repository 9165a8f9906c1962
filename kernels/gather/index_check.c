// Where nothing is moved, since what indices point to has no elements, no thread comes by to look at them: these do nothing else.
#include "kernels/common/points.h"
#include "kernels/gather/index_check.h"

Status emit_index_check(Emission *out, const Site *site, int operand, const int64_t *sizes, int size_count) {
  const TensorDesc *indices = &site->inputs[operand];
  if (desc_count(indices) == 0) return OK;
  Text text = text_new(out->arena);
  text_add(&text, "#include \"kernels/common/index.cuh\"\n");
  points_open(&text, site, "check_indices", REPORT_PARAMETERS, indices, 1);
  text_add(&text, "  const i64 sizes[] = {%lldll", (long long)sizes[0]);
  for (int i = 1; i < size_count; i++) text_add(&text, ", %lldll", (long long)sizes[i]);
  const char *which = size_count > 1 ? arena_printf(out->arena, "i%d", indices->rank - 1) : "0";
  text_add(&text, "};\n  i64 at;\n  find_index(x%d[%s], sizes[%s], report, step, &at);\n}\n", operand,
           desc_offset(out->arena, indices, NULL), which);
  emit_report(out, points_launch(out, site, text_get(&text), "check_indices", indices, 1));
  return OK;
}
