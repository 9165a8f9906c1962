// The implementation of elementwise nodes: one generated kernel.
#include "kernels/program/generate.h"

extern const OpDef op_elementwise;

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

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const Node *node = site->node;
  GeneratedKernel kernel;
  TRY(generate_elementwise(node_program(node, "program"), node->input_count, site->inputs, node->output_count, site->outputs,
                           site->dims, out->arena, &kernel));
  if (kernel.grid[0] == 0) return OK;
  Launch *launch = emit_kernel(out, kernel.source, kernel.entry, kernel.grid, kernel.block);
  for (int i = 0; i < node->input_count; i++) emit_buffer(out, launch, BUFFER_INPUT, i);
  for (int i = 0; i < node->output_count; i++) emit_buffer(out, launch, BUFFER_OUTPUT, i);
  emit_arguments(out, launch, &kernel.arguments);
  return OK;
}

const Implementation cuda_elementwise = {
    .name = "elementwise",
    .backend = BACKEND_CUDA,
    .op = &op_elementwise,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
