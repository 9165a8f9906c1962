// The implementation of attention on tensor cores (attention.cuh): f16 and bf16, heads of up to 256, any score that is a scalar program over operands which broadcast.
#include <stdio.h>

#include "kernels/attention/mma_attention.h"
#include "kernels/common/tiled_kernel.h"
#include "kernels/control/region.h"

int mma_attention_padded(int64_t size) {
  int to = 16;
  while (to < size) to *= 2;
  return to;
}

static int shared_bytes(const MmaAttention *m, const int *config) {
  int d = mma_attention_padded(m->d), dv = mma_attention_padded(m->dv), rows = config[WARPS] * config[FRAGMENTS] * 16;
  int tiles = (rows * d + 2 * config[KEYS] * (d + dv)) * 2, corners = config[WARPS] * 16 * (dv + 8) * 4;
  return MAX(tiles, corners);
}

// Of a thread: sums, scores, queries, and the rest.
static int registers(const MmaAttention *m, const int *config) {
  int steps = mma_attention_padded(m->d) / 16, kept = config[FRAGMENTS] * steps <= 8 ? steps : 1;
  return config[FRAGMENTS] * (mma_attention_padded(m->dv) / 2 + config[KEYS] / 2 + kept * 4) + 56;
}

// In clocks: multiply-adds at the rate that shared memory feeds mma.sync with, when eight warps share a multiprocessor or more, and what a block takes to start.
static double cost(const Site *site, const MmaAttention *m, const int *config) {
  const double start = 3000, rate = config[FRAGMENTS] > 1 ? 1500 : 1000, full_warps = 8;
  double rows = config[WARPS] * config[FRAGMENTS] * 16, tiles = (double)ceil_div(m->n, config[KEYS]);
  double work = rows * tiles * config[KEYS] * (mma_attention_padded(m->d) + mma_attention_padded(m->dv));
  double blocks = (double)ceil_div(m->m, (int64_t)rows) * (double)m->batch, each = blocks / site->device->multiprocessors;
  double alone = full_warps / config[WARPS];
  return work / rate * MAX(each < 1 ? 1 : each, alone) + start * (each < 1 ? 1 : each) * config[WARPS] / full_warps + start;
}

static const int configs[][3] = {{4, 2, 64}, {4, 2, 128}, {8, 1, 64}, {4, 1, 64}, {4, 1, 128}, {2, 2, 64},
                                 {2, 1, 64}, {8, 2, 64},  {4, 1, 32}, {2, 1, 32}, {4, 2, 32}};

// What a compiler adds to shared memory counts as well: less than all of it.
static bool fits(const Site *site, const MmaAttention *m, const int *config) {
  return shared_bytes(m, config) < site->device->shared_per_block && registers(m, config) <= 255;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  Arena *scratch = arena_scratch();
  MmaAttention m;
  WayList list = {.items = out, .limit = limit};
  bool described = mma_attention_read(site, scratch, &m);
  for (size_t i = 0; i < COUNT_OF(configs) && described; i++) {
    const int *c = configs[i];
    if (!fits(site, &m, c)) continue;
    Way way = {.config = {c[WARPS], c[FRAGMENTS], c[KEYS]}};
    snprintf(way.name, sizeof way.name, "%dx%d w%d", c[WARPS] * c[FRAGMENTS] * 16, c[KEYS], c[WARPS]);
    way_offer(&list, cost(site, &m, c), &way);
  }
  arena_free(scratch);
  return list.count;
}

// A region that no way has room for is taken apart.
static bool supports(const Site *site) {
  Arena *scratch = arena_scratch();
  MmaAttention m;
  bool supported = false, described = mma_attention_read(site, scratch, &m);
  for (size_t i = 0; i < COUNT_OF(configs) && described && !supported; i++) supported = fits(site, &m, configs[i]);
  arena_free(scratch);
  return supported;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  MmaAttention m;
  if (!mma_attention_read(site, out->arena, &m)) FAIL(ERROR_UNSUPPORTED, "mma_attention does not take this region");
  const int *config = way->config;
  Text text = text_new(out->arena);
  TRY(mma_attention_text(&text, site, &m, config));
  unsigned grid[3] = {(unsigned)(ceil_div(m.m, config[WARPS] * config[FRAGMENTS] * 16) * m.batch), 1, 1};
  unsigned block[3] = {(unsigned)config[WARPS] * 32, 1, 1};
  Launch *launch = emit_kernel(out, text_get(&text), "mma_attention_kernel", grid, block);
  launch->label = "mma_attention";
  launch->shared_bytes = (unsigned)shared_bytes(&m, config);
  emit_buffer(out, launch, BUFFER_INPUT, m.q.input);
  emit_buffer(out, launch, BUFFER_INPUT, m.k.input);
  emit_buffer(out, launch, BUFFER_INPUT, m.v.input);
  for (int i = 0; i < m.a.score->input_count; i++)
    if (m.a.inputs[i].value) emit_buffer(out, launch, BUFFER_INPUT, m.score_inputs[i]);
  emit_buffer(out, launch, BUFFER_OUTPUT, 0);
  for (int i = node_operand_count(m.a.product); i < m.a.product->input_count; i++)
    emit_buffer(out, launch, BUFFER_INPUT, mma_attention_input(region_body(site->node), m.a.product->inputs[i]));
  return OK;
}

const Implementation cuda_mma_attention = {
    .name = "mma_attention",
    .backend = BACKEND_CUDA,
    .op = &op_region,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
