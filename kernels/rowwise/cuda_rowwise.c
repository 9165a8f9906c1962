// The implementation of rowwise nodes: reductions, softmax, normalisations, arg-reductions and whatever is fused with them, as one
// generated kernel (rowwise_plan.h), or as one a pass where few long rows are split over blocks: each launch then leaves partial
// results in the workspace, which the next one combines in a fixed order.
// Traffic: inputs once (once a pass when a row does not fit in registers). Limit on the chip: memory bandwidth.
#include "kernels/program/generate.h"
#include "kernels/rowwise/rowwise_plan.h"

extern const OpDef op_rowwise;

static void launch(const RowPlan *p, Emission *out, const char *source, const char *entry) {
  unsigned grid[3] = {(unsigned)(ceil_div(p->all_groups.now, p->block_groups) * p->splits), 1, 1};
  Launch *kernel = emit_kernel(out, source, entry, grid, (unsigned[]){(unsigned)row_plan_threads(p), 1, 1});
  for (int t = 0; t < p->input_count; t++) emit_buffer(out, kernel, BUFFER_INPUT, t);
  for (int o = 0; o < p->output_count; o++) emit_buffer(out, kernel, BUFFER_OUTPUT, o);
  if (p->splits > 1) emit_workspace(out, kernel, 0);
  emit_arguments(out, kernel, p->arguments);
}

static bool supports(const Site *site) {
  for (int i = 0; i < site->node->input_count; i++)
    REQUIRE(site, !site->inputs[i].absent && dtype_kind(site->inputs[i].dtype) != KIND_STRING,
            "an operand is absent, or strings");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "generated"};
  return 1;
}

static RowPlan row_plan(const Site *site, Arena *arena) {
  RowPlan p = {.site = site,
               .program = node_program(site->node, "program"),
               .narrow = program_is_narrow(node_program(site->node, "program"), site->node->output_count, site->outputs),
               .arena = arena,
               .dims = site->dims,
               .arguments = arena_new_of(arena, KernelArguments),
               .input_count = site->node->input_count,
               .output_count = site->node->output_count};
  p.arguments->arena = arena;
  row_plan_analyse(&p);
  return p;
}

static bool is_nothing(const RowPlan *p) { return p->all_rows.now == 0 || (p->whole_row.now == 0 && p->passes == 0); }

// Rows that stay in registers are read once, others in every pass.
static double cost(const Site *site) {
  Arena *scratch = arena_scratch();
  RowPlan p = row_plan(site, scratch);
  int passes = p.passes + p.stores_elements, launches = 1;
  SiteWork work = work_of(site);
  if (!is_nothing(&p)) {
    row_plan_choose_shape(&p);
    if (p.splits > 1) launches = p.passes + 1;
    if (!p.cached && passes > 1) work.bytes *= passes;
  }
  arena_free(scratch);
  return cost_of_work(site->device, DTYPE_F32, &work, launches);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  RowPlan plan = row_plan(site, out->arena), *p = &plan;
  if (is_nothing(p)) return OK;
  row_plan_choose_shape(p);
  Text text = text_new(p->arena);
  text_add(&text, GENERATED_INCLUDES "#include \"kernels/rowwise/reduce.cuh\"\n");
  if (p->splits == 1) {
    row_text_kernel(p, &text, "rowwise", 0, p->passes, true);
    launch(p, out, text_get(&text), "rowwise");
    return OK;
  }
  for (int pass = 0; pass < p->passes; pass++)
    row_text_kernel(p, &text, arena_printf(p->arena, "rowwise_pass%d", pass), pass, pass + 1, false);
  row_text_kernel(p, &text, "rowwise_last", p->passes, p->passes, true);
  out->workspace_bytes = MAX(out->workspace_bytes, (size_t)row_text_workspace(p));
  for (int pass = 0; pass < p->passes; pass++) launch(p, out, text_get(&text), arena_printf(p->arena, "rowwise_pass%d", pass));
  launch(p, out, text_get(&text), "rowwise_last");
  return OK;
}

const Implementation cuda_rowwise = {
    .name = "rowwise",
    .backend = BACKEND_CUDA,
    .op = &op_rowwise,
    .writes_anywhere = true,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower,
};
