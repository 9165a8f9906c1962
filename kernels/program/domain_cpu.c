// Elementwise and rowwise nodes on the CPU: the strips engine, groups of rows shared among threads.
#include <string.h>
#include "kernels/program/cpu_strips.h"
#include "kernels/program/domain.h"

static bool computable(DType dtype) { return dtype_kind(dtype) != KIND_COMPLEX && dtype_kind(dtype) != KIND_STRING; }

bool domain_cpu_supports(const Site *site) {
  for (int i = 0; i < site->node->input_count; i++)
    REQUIRE(site, site->inputs[i].absent || computable(site->inputs[i].dtype), "strings and complex numbers are in no program");
  return true;
}

static Status site_domain(const Site *site, int *rank, int64_t *domain, bool *reduced) {
  const Node *node = site->node;
  const Program *program = node_program(node, "program");
  const Attribute *given = node_attribute(node, "dims");
  *rank = given ? given->count : site->outputs[0].rank;
  for (int i = 0; i < *rank; i++) domain[i] = 1;
  // Outputs and inputs together show every axis; only what neither shows comes from the attribute.
  for (int i = 0; i < node->output_count + node->input_count; i++) {
    const TensorDesc *desc = i < node->output_count ? &site->outputs[i] : &site->inputs[i - node->output_count];
    for (int k = 0; k < desc->rank && !desc->absent; k++)
      if (desc->dims[k] != 1) domain[k + *rank - desc->rank] = desc->dims[k];
  }
  for (int i = 0; given && i < *rank; i++)
    if (!dim_get_constant(node->graph->dims, given->dims[i], &domain[i]) && domain[i] == 1 && program_has_reduction(program))
      FAIL(ERROR_INTERNAL, "size %d of the domain is still symbolic", i);
  memset(reduced, 0, sizeof(bool) * MAX_RANK);
  int count;
  const int64_t *axes = node_ints(node, "axes", &count);
  for (int i = 0; i < count; i++) reduced[axes[i]] = true;
  return OK;
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **out,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  int rank;
  int64_t domain[MAX_RANK];
  bool reduced[MAX_RANK];
  TRY(site_domain(site, &rank, domain, reduced));
  Strips *strips = strips_new(arena, node_program(site->node, "program"), false, rank, domain, reduced, site->inputs,
                              site->node->input_count, site->outputs);
  *out = cpu_strips_new(arena, pool, strips, workspace_bytes);
  return OK;
}

static Status run(void *strips, const HostCall *call) {
  cpu_strips_run(strips, call->pool, call->inputs, call->outputs, call->workspace);
  return OK;
}

const HostRoutine domain_cpu_routine = {"strips", open_state, run};
