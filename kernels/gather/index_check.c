// Where nothing is moved, since what indices point to has no elements, no thread comes by to look at them: these do nothing else.
#include "kernels/common/points.h"
#include "kernels/gather/index_check.h"

Status emit_index_check(Emission *out, const Site *site, int operand, int first, int axes) {
  const TensorDesc *indices = &site->inputs[operand];
  if (desc_count(indices) == 0) return OK;
  Points points = points_begin(site, out->arena, "check_indices", REPORT_PARAMETERS, indices, 1);
  text_add(&points.before, "#include \"kernels/common/index.cuh\"\n");
  text_add(&points.body, "  const i64 sizes[] = {");
  for (int i = 0; i < axes; i++) {
    Extent size = desc_extent(&site->inputs[0], first + i);
    text_add(&points.body, "%s%s", i ? ", " : "", points_size(&points, size, true));
  }
  const char *which = axes > 1 ? arena_printf(out->arena, "i%d", indices->rank - 1) : "0";
  text_add(&points.body, "};\n  i64 at;\n  find_index(x%d[%s], sizes[%s], report, step, &at);\n", operand,
           points_offset(&points, indices, NULL), which);
  emit_report(out, points_end(&points, out));
  return OK;
}
