// See mma_config.h.
#include "kernels/common/mma_config.h"

#include <stdio.h>

static const MmaConfig configs[] = {
    {128, 256, 128, 64, 64, 3}, {256, 128, 128, 64, 64, 3}, {128, 256, 64, 64, 64, 4}, {256, 128, 64, 64, 64, 4},
    {128, 128, 64, 64, 64, 4},  {128, 128, 128, 64, 64, 3}, {128, 64, 64, 64, 32, 4},  {128, 64, 128, 64, 32, 3},
    {64, 128, 64, 32, 64, 4},   {64, 128, 128, 32, 64, 3},  {64, 64, 64, 32, 32, 5},   {64, 64, 128, 32, 32, 4},
    {64, 32, 128, 32, 16, 4},   {32, 64, 128, 16, 32, 4},   {32, 128, 128, 32, 32, 4}, {16, 64, 128, 16, 16, 5},
    {16, 128, 128, 16, 32, 4},  {128, 32, 128, 32, 32, 4},  {32, 32, 128, 16, 16, 4},
};

bool mma_dtype_supported(const Site *site, DType dtype) {
  if (dtype == DTYPE_F16) return site->device->sm >= 75;
  if (dtype == DTYPE_BF16) return site->device->sm >= 80;
  return dtype == DTYPE_F32 && site->tf32 && site->device->sm >= 80;
}

const char *mma_instruction(DType dtype) { return dtype == DTYPE_F16 ? "MmaF16" : dtype == DTYPE_BF16 ? "MmaBf16" : "MmaTf32"; }

void mma_emit_tile(Text *text, const Candidate *c) {
  const int *config = c->config;
  text_add(text, "  static constexpr int BM = %d, BN = %d, BK = %d, WM = %d, WN = %d, STAGES = %d;\n", config[MMA_BM],
           config[MMA_BN], config[MMA_BK], config[MMA_WM], config[MMA_WN], config[MMA_STAGES]);
}

int mma_threads(const Candidate *c) {
  return c->config[MMA_BM] / c->config[MMA_WM] * (c->config[MMA_BN] / c->config[MMA_WN]) * 32;
}

// The stages, or what the epilogue needs to turn fragments into rows.
static int shared_bytes(int bm, int bn, int bk_bytes, int wn, int stages, int threads) {
  return MAX(stages * (bm + bn) * bk_bytes, threads / 32 * 16 * (wn + 8) * 4);
}
int mma_shared_bytes(const Candidate *c, int size) {
  return shared_bytes(c->config[MMA_BM], c->config[MMA_BN], c->config[MMA_BK] * size, c->config[MMA_WN], c->config[MMA_STAGES],
                      mma_threads(c));
}

// Multiply-adds per clock and multiprocessor with 16-bit operands: what the chip does, and what its shared memory can feed (a warp reads
// wm + wn lines of 32 bytes for wm * wn * 16 products, at 128 bytes per clock).
static double mma_rate(int sm, const MmaConfig *c) {
  double chip = sm >= 100 ? 1024 : sm == 90 ? 1030 : sm == 80 ? 1000 : 512;
  double feed = 64.0 * c->wm * c->wn / (c->wm + c->wn);
  return 1 / (1 / chip + 0.38 / feed);
}

int mma_candidates(const Site *site, const TiledProduct *p, Candidate *out, int limit) {
  CandidateList list = {.items = out, .limit = limit};
  int size = (int)dtype_size(p->dtype);
  for (size_t i = 0; i < COUNT_OF(configs); i++) {
    const MmaConfig *c = &configs[i];
    int threads = c->bm / c->wm * (c->bn / c->wn) * 32, stages = site->device->sm < 80 ? 2 : c->stages;
    while (stages > 2 && shared_bytes(c->bm, c->bn, c->bk_bytes, c->wn, stages, threads) > site->device->shared_per_block)
      stages--;
    int shared = shared_bytes(c->bm, c->bn, c->bk_bytes, c->wn, stages, threads);
    if (shared > site->device->shared_per_block) continue;
    if (size == 4 && c->wm * c->wn > 2048) continue;  // spills: word-wise fragments need more addresses
    int registers = c->wm * c->wn / 32 + c->wm + c->wn + 48;
    TileCost cost = {
        c->bm, c->bn, c->bk_bytes / size, threads, shared, MIN(registers, 255), mma_rate(site->device->sm, c) * 2 / size};
    int splits[10], count = split_choices(site->device, &cost, p, splits, 10);
    for (int s = 0; s < count; s++) {
      Candidate candidate = {.config = {c->bm, c->bn, c->bk_bytes / size, c->wm, c->wn, stages, splits[s]}};
      snprintf(candidate.name, sizeof candidate.name, "%dx%dx%d w%dx%d s%d splitk%d", c->bm, c->bn, c->bk_bytes / size, c->wm,
               c->wn, stages, splits[s]);
      candidate_offer(&list, tile_microseconds(site->device, &cost, p, splits[s]), &candidate);
    }
  }
  return list.count;
}
