// See cpu_anchor.h.
#include "kernels/common/cpu_anchor.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/packings.h"

static bool computable(DType dtype) { return dtype_is_float(dtype) && dtype != DTYPE_F64; }

bool cpu_anchor_supports(const Site *site) {
  const Node *node = site->node;
  REQUIRE(site, onednn_library(), "oneDNN is not here");
  for (int i = 0; i < site_input_count(site); i++) {
    const TensorDesc *desc = &site->inputs[i];
    if (desc->absent) continue;
    REQUIRE(site, i >= node->input_count || computable(desc->dtype), "oneDNN computes with floats of 32 bits and fewer");
    REQUIRE(site, i >= node->input_count || desc_count(desc) > 0, "an operand is empty");
    REQUIRE(site, dtype_kind(desc->dtype) != KIND_COMPLEX && dtype_kind(desc->dtype) != KIND_STRING,
            "the epilogue reads strings or complex numbers");
  }
  REQUIRE(site, desc_count(&site->outputs[0]) > 0, "the result is empty");
  REQUIRE(site, site->epilogue || computable(site->outputs[0].dtype), "oneDNN gives floats of 32 bits and fewer");
  return true;
}

Status cpu_anchor_new(const Site *site, Arena *arena, ThreadPool *pool, CpuAnchor **out) {
  CpuAnchor *anchor = *out = arena_new_of(arena, CpuAnchor);
  anchor->arena = arena;
  anchor->pool = pool;
  anchor->site = *site;
  anchor->residual = -1;
  for (int i = 0; i < MIN(site->node->input_count, 2); i++) anchor->inputs[i] = site->inputs[i];
  anchor->y = anchor->result = site->outputs[0];
  return onednn_new(arena, pool, &anchor->one);
}

static size_t reserve(CpuAnchor *anchor, size_t bytes) {
  size_t at = anchor->workspace_bytes;
  anchor->workspace_bytes += align_up(bytes, 256);
  return at;
}

static bool lies_so(const TensorDesc *desc, const int64_t *strides) {
  for (int i = 0; i < desc->rank; i++)
    if (desc->dims[i] != 1 && desc->strides[i] != strides[i]) return false;
  return true;
}

static TensorDesc staged_desc(const TensorDesc *desc, const int64_t *strides) {
  TensorDesc staged = *desc;
  staged.dtype = DTYPE_F32;
  staged.offset = 0;
  memcpy(staged.strides, strides, sizeof(int64_t) * (size_t)desc->rank);
  return staged;
}

void cpu_anchor_stage(CpuAnchor *anchor, int input, const int64_t *strides) {
  TensorDesc *desc = &anchor->inputs[input];
  TensorDesc staged = staged_desc(desc, strides);
  if (desc->dtype != DTYPE_F32 || !lies_so(desc, strides)) {
    anchor->operands[input].copy =
        cpu_strips_copy(anchor->arena, anchor->pool, desc, &staged, &anchor->operands[input].scratch);
    anchor->operands[input].at = reserve(anchor, desc_bytes(&staged));
  }
  *desc = staged;  // the strides of axes of size 1 too: oneDNN compares them
}

void cpu_anchor_stage_result(CpuAnchor *anchor, const int64_t *strides) {
  TensorDesc staged = staged_desc(&anchor->y, strides);
  anchor->y_staged = anchor->y.dtype != DTYPE_F32 || !lies_so(&anchor->y, strides);
  if (anchor->y_staged) anchor->y_at = reserve(anchor, desc_bytes(&staged));
  anchor->y = anchor->result = staged;
}

void cpu_anchor_source(CpuAnchor *anchor, int channel_axis) {
  const Site *site = &anchor->site;
  anchor->source = (EpilogueSource){.program = site->epilogue,
                                    .operands = site->inputs + site->node->input_count,
                                    .first_input = site->node->input_count,
                                    .y = &anchor->y,
                                    .channel_axis = channel_axis,
                                    .bias_rank = 1};
}

static Status describe_fused(CpuAnchor *anchor, const OnednnEpilogue *epilogue, const OnednnOperation *operation, bool *fast) {
  OnednnLink links[ONEDNN_LINKS];
  OnednnOperation biased = *operation;
  biased.bias = epilogue->bias >= 0 ? onednn_epilogue_bias(&anchor->source) : (OnednnTensor){0};
  anchor->one->tail = onednn_epilogue_tail(epilogue, &anchor->source);
  return onednn_describe(anchor->one, &biased, links, onednn_epilogue_links(epilogue, &anchor->source, links), fast);
}

Status cpu_anchor_describe(CpuAnchor *anchor, const OnednnOperation *operation, bool *fast) {
  const Program *program = anchor->source.program;
  anchor->fused = !anchor->y_staged && (!program || program->input_count - 1 <= ONEDNN_OPERANDS);
  anchor->epilogue = (OnednnEpilogue){.bias = -1};
  if (!anchor->fused) return describe_fused(anchor, &anchor->epilogue, operation, fast);
  onednn_epilogue_match(&anchor->source, anchor->arena, &anchor->epilogue);
  TRY(describe_fused(anchor, &anchor->epilogue, operation, fast));
  if (*fast || !program) return OK;
  onednn_epilogue_leave(&anchor->source, &anchor->epilogue);
  return describe_fused(anchor, &anchor->epilogue, operation, fast);
}

Status cpu_anchor_try_residual(CpuAnchor *anchor, const char *prefix) {
  OnednnEpilogue changed = anchor->epilogue;
  OnednnOperation operation = anchor->one->operation;
  int operand = anchor->fused ? onednn_epilogue_add_in_place(&changed, &anchor->source) : -1;
  bool fast;
  if (operand < 0) return OK;
  TRY(describe_fused(anchor, &changed, &operation, &fast));
  if (!anchor->one->part_count || strncmp(onednn_implementation(anchor->one), prefix, strlen(prefix)) != 0)
    return describe_fused(anchor, &anchor->epilogue, &operation, &fast);
  anchor->epilogue = changed;
  anchor->residual = operand;
  const TensorDesc *y = &anchor->y;  // the operand lies so too
  cpu_copy_plan(&anchor->residual_copy, sizeof(float), y->rank, y->dims, y->strides, y->strides);
  return OK;
}

// The pass reads what the library wrote and writes the output, in place unless the result is staged.
static void make_pass(CpuAnchor *anchor, size_t *scratch) {
  const Program *program = anchor->site.epilogue;
  const TensorDesc *out = &anchor->site.outputs[0];
  anchor->pass_inputs = arena_array(anchor->arena, void *, program ? program->input_count : 1);
  if (!program) {
    anchor->pass = cpu_strips_copy(anchor->arena, anchor->pool, &anchor->result, out, scratch);
    return;
  }
  TensorDesc *inputs = arena_array(anchor->arena, TensorDesc, program->input_count);
  inputs[0] = anchor->result;
  for (int i = 1; i < program->input_count; i++) inputs[i] = anchor->site.inputs[anchor->site.node->input_count + i - 1];
  anchor->pass = cpu_strips_elementwise(anchor->arena, anchor->pool, program, inputs, out, scratch);
}

typedef struct Packing {
  CpuAnchor *anchor;
  const OnednnTensor *from;
} Packing;

static Status fill_packed(void *context, void *out) {
  const Packing *packing = context;
  CpuAnchor *anchor = packing->anchor;
  const Tensor *constant = anchor->site.inputs[1].constant;
  Arena *scratch = arena_scratch();
  Tensor floats = *constant;
  Status status = OK;
  if (constant->dtype != DTYPE_F32) {
    TRY_GOTO(tensor_new(scratch, DTYPE_F32, constant->rank, constant->dims, &floats));
    for (int64_t i = 0; i < tensor_count(constant); i++) ((float *)floats.data)[i] = (float)tensor_get_f(constant, i);
  }
  TRY_GOTO(onednn_pack(anchor->one, packing->from, floats.data, out));
done:
  arena_free(scratch);
  return status;
}

static Status pack(CpuAnchor *anchor, const OnednnTensor *from) {
  Packing packing = {anchor, from};
  Hash128 form = hash128_combine(onednn_weights_form(anchor->one), hash128_bytes(from, sizeof *from));
  return packing_take(&anchor->site, anchor->site.inputs[1].constant, form, onednn_weights_bytes(anchor->one), fill_packed,
                      &packing, anchor->arena, &anchor->operands[1].packed);
}

static bool packs_as_it_reads(const Onednn *one) { return strncmp(onednn_implementation(one), "gemm", 4) == 0; }

// Products that bring their operands into another form in every run read constant weights where they lie: no copy is worth it.
static Status read_in_place(CpuAnchor *anchor, const OnednnTensor *weights) {
  Onednn *one = anchor->one;
  const Tensor *constant = anchor->site.inputs[1].constant;
  if (constant->dtype != DTYPE_F32 || !packs_as_it_reads(one)) return OK;
  OnednnOperation packed = one->operation, plain = packed;
  OnednnLink links[ONEDNN_LINKS];
  bool fast;
  memcpy(links, one->links, sizeof links);
  plain.weights = *weights;
  TRY(onednn_describe(one, &plain, links, one->link_count, &fast));
  if (!fast || !packs_as_it_reads(one)) return onednn_describe(one, &packed, links, one->link_count, NULL);
  anchor->operands[1].packed = constant->data;
  return OK;
}

Status cpu_anchor_finish(CpuAnchor *anchor, const OnednnTensor *weights, size_t *workspace_bytes) {
  Onednn *one = anchor->one;
  if (weights) TRY(read_in_place(anchor, weights));
  TRY(onednn_make(one));
  if (weights && !anchor->operands[1].packed) TRY(pack(anchor, weights));
  if (anchor->operands[1].packed) onednn_set(one, ONEDNN_WEIGHTS, anchor->operands[1].packed);
  size_t pass = 0;
  if (anchor->y_staged || !anchor->fused) make_pass(anchor, &pass);
  // The copies, the library and the pass use scratch memory one after the other.
  size_t scratch = MAX(MAX(one->scratch_bytes, pass), MAX(anchor->operands[0].scratch, anchor->operands[1].scratch));
  anchor->scratch_at = reserve(anchor, scratch);
  *workspace_bytes = anchor->workspace_bytes;
  return OK;
}

Status cpu_anchor_run(void *state, const HostCall *call) {
  CpuAnchor *anchor = state;
  Onednn *one = anchor->one;
  char *workspace = call->workspace;
  void *scratch = workspace + anchor->scratch_at;
  int operand_count = MIN(anchor->site.node->input_count, 2);
  for (int i = 0; i < operand_count; i++) {
    if (anchor->operands[i].packed) continue;
    void *data = call->inputs[i];
    if (anchor->operands[i].copy) {
      data = workspace + anchor->operands[i].at;
      cpu_strips_run(anchor->operands[i].copy, call->pool, &call->inputs[i], &data, scratch);
    }
    onednn_set(one, i == 0 ? ONEDNN_X : ONEDNN_WEIGHTS, data);
  }
  void *y = anchor->y_staged ? workspace + anchor->y_at : call->outputs[0];
  onednn_set(one, ONEDNN_Y, y);
  onednn_set(one, ONEDNN_SCRATCH, scratch);
  onednn_epilogue_bind(one, &anchor->epilogue, &anchor->source, call->inputs);
  if (anchor->residual >= 0)
    cpu_copy_run(&anchor->residual_copy, call->pool, y, call->inputs[anchor->source.first_input + anchor->residual]);
  TRY(onednn_run(one));
  if (!anchor->pass) return OK;
  const Program *program = anchor->site.epilogue;
  anchor->pass_inputs[0] = y;
  for (int i = 1; program && i < program->input_count; i++)
    anchor->pass_inputs[i] = call->inputs[anchor->site.node->input_count + i - 1];
  cpu_strips_run(anchor->pass, call->pool, anchor->pass_inputs, call->outputs, scratch);
  return OK;
}
