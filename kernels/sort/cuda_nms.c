// nms_reserved: a block for each class chooses its boxes, then one for each puts them in their places (nms.cuh). Sizes that are open are arguments.
// Traffic: the scores once, and the boxes of those that are good enough once for each that is chosen. Limit on the chip: the chain of choices, each a pass and two barriers.
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/sort/sort.h"

enum { THREADS = 256 };  // as in nms.cuh

static bool supports(const Site *site) {
  const TensorDesc *boxes = &site->inputs[0], *scores = &site->inputs[1];
  REQUIRE(site, desc_is_row_major(boxes) && desc_is_row_major(scores), "boxes or scores are not row-major");
  REQUIRE(site, scores->dims[2] < INT32_MAX / 4 && scores->dims[0] * scores->dims[1] < INT32_MAX / 4,
          "there are more scores than its indices count");
  return true;
}

static double cost(const Site *site) { return cost_of_site(site, 2); }

static bool has_operand(const Site *site, int index) {
  return index < site->node->input_count && !site->inputs[index].absent && desc_count(&site->inputs[index]) > 0;
}

static char *operand_text(Arena *arena, const Site *site, int index, const char *type) {
  if (!has_operand(site, index)) return arena_printf(arena, "(%s)0", type);
  return arena_printf(arena, "(%s)Element_%s::get(*x%d)", type, dtype_name(site->inputs[index].dtype), index);
}

static int room_of(const Site *site) { return (int)MIN(MAX(node_int(site->node, "room", 0), 0), INT32_MAX); }

typedef struct Nms {
  const Site *site;
  KernelArguments arguments;
  const char *batches, *classes, *boxes, *room;  // expressions; room: of a class
} Nms;

static Nms read_nms(const Site *site, Arena *arena) {
  Nms nms = {.site = site, .arguments = {.arena = arena, .table = site->dims}};
  const TensorDesc *scores = &site->inputs[1];
  nms.batches = extent_text(&nms.arguments, desc_extent(scores, 0), false);
  nms.classes = extent_text(&nms.arguments, desc_extent(scores, 1), false);
  nms.boxes = extent_text(&nms.arguments, desc_extent(scores, 2), false);
  nms.room = arena_printf(arena, "min(%s, %d)", nms.boxes, room_of(site));
  return nms;
}

static void add_kernel(Text *text, const Nms *nms, const char *entry, const char *more, const char *body) {
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", THREADS, entry);
  site_parameters(text, nms->site);
  text_add(text, "%s", more);
  if (nms->arguments.count) kernel_arguments_parameters(text, &nms->arguments);
  text_add(text, ") {\n  begin_kernel();\n");
  if (nms->arguments.count) kernel_arguments_gather(text, &nms->arguments);
  text_add(text, "%s}\n", body);
}

static const char *source_of(const Nms *nms) {
  const Site *site = nms->site;
  Arena *arena = nms->arguments.arena;
  Text text = text_new(arena), choose = text_new(arena), rows = text_new(arena);
  text_add(&choose, "  const i64 number = blockIdx.x, boxes = %s, room = %s, classes = %s;\n", nms->boxes, nms->room,
           nms->classes);
  text_add(&choose, "  const i64 most = min(max(%s, (i64)0), room);\n", operand_text(arena, site, 2, "i64"));
  text_add(&choose,
           "  const u32 found = nms_choose<Element_%s, Element_%s, %s, %s>(\n      x0 + number / classes * boxes * 4, x1 + "
           "number * boxes, (u32)boxes, (u32)most,\n",
           dtype_name(site->inputs[0].dtype), dtype_name(site->inputs[1].dtype),
           node_int(site->node, "center_point_box", 0) ? "true" : "false", has_operand(site, 4) ? "true" : "false");
  text_add(&choose, "      %s, %s, lists + number * boxes, chosen + number * room);\n", operand_text(arena, site, 3, "double"),
           operand_text(arena, site, 4, "double"));
  text_add(&choose, "  if (threadIdx.x == 0) counts[number] = found;\n");
  text_add(&rows, "  nms_rows(counts, chosen, %s, %s, %s, y0, y1);\n", nms->batches, nms->classes, nms->room);
  if (nms->arguments.count) kernel_arguments_struct(&text, &nms->arguments);
  text_add(&text, "#include \"kernels/sort/nms.cuh\"\n");
  add_kernel(&text, nms, "nms_choose_boxes", ", u32 *lists, u32 *chosen, u32 *counts", text_get(&choose));
  add_kernel(&text, nms, "nms_place_rows", ", u32 *chosen, u32 *counts", text_get(&rows));
  return text_get(&text);
}

// Where there is no class, a block says that nothing was found.
static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *scores = &site->inputs[1];
  int64_t classes = scores->dims[0] * scores->dims[1], boxes = scores->dims[2], room = MIN(room_of(site), boxes);
  Nms nms = read_nms(site, out->arena);
  size_t lists = align_up((size_t)(classes * boxes) * sizeof(uint32_t), 16),
         chosen = align_up((size_t)(classes * room) * sizeof(uint32_t), 16);
  out->workspace_bytes = MAX(out->workspace_bytes, lists + chosen + MAX((size_t)classes, 1) * sizeof(uint32_t));
  const char *source = source_of(&nms);
  unsigned grid[3] = {(unsigned)MAX(classes, 1), 1, 1}, block[3] = {THREADS, 1, 1};
  if (classes) {
    Launch *launch = emit_kernel(out, source, "nms_choose_boxes", grid, block);
    site_arguments(out, launch, site);
    emit_workspace(out, launch, 0);
    emit_workspace(out, launch, lists);
    emit_workspace(out, launch, lists + chosen);
    emit_arguments(out, launch, &nms.arguments);
  }
  Launch *launch = emit_kernel(out, source, "nms_place_rows", grid, block);
  site_arguments(out, launch, site);
  emit_workspace(out, launch, lists);
  emit_workspace(out, launch, lists + chosen);
  emit_arguments(out, launch, &nms.arguments);
  return OK;
}

const Implementation cuda_nms = {
    .name = "nms",
    .backend = BACKEND_CUDA,
    .op = &op_nms_reserved,
    .general = true,
    .supports = supports,
    .ways = one_way,
    .cost = cost,
    .lower = lower,
};
