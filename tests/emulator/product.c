// Tensor cores: matrices loaded into fragments, products of a warp (mma.sync), and Hopper's products of a warpgroup (wgmma), which read shared
// memory through descriptors, asynchronously. Products are exact and summed in double, then rounded to fp32 once an instruction;
// the hardware cuts some low bits off on the way.
#include <stdlib.h>
#include <string.h>
#include "base/half.h"
#include "tests/emulator/emulator.h"

static float decode(char type, uint16_t bits) { return type == 'h' ? half_to_float(bits) : bf16_to_float(bits); }

static void all_lanes(const Meeting *m) {
  for (unsigned i = 0; i < m->count; i++)
    if (!m->threads[i])
      finding(FOUND_INSTRUCTION, m->line, "executes %s, which takes all %u threads, when some have ended", m->name, m->count);
}

// --- ldmatrix, stmatrix: up to four 8x8 matrices of 16-bit elements, a row's address from each lane.

typedef struct Matrices {
  unsigned *registers;
  int count;
  bool transposed, store;
  unsigned address;
} Matrices;

// The row and column of the two elements that a lane holds of a matrix.
static void element(bool transposed, unsigned lane, int half, int *row, int *column) {
  int a = (int)lane / 4, b = (int)lane % 4 * 2 + half;
  *row = transposed ? b : a;
  *column = transposed ? a : b;
}

static void run_matrices(Meeting *m) {
  all_lanes(m);
  const Matrices *first = m->arguments[0];
  uint16_t *rows[WARP];
  for (int i = 0; i < first->count * 8; i++) {
    const Matrices *lane = m->arguments[i];
    uint32_t offset;
    Block *block = shared_block(m->threads[i], lane->address, &offset);
    if (offset % 16) finding(FOUND_MISALIGNED, m->line, "gives %s a row at shared +%u, no multiple of 16", m->name, offset);
    Thread *self = emulator.thread;
    emulator.thread = m->threads[i];
    access_shared(m->threads[i], block, offset, 16, first->store ? ACCESS_WRITE : ACCESS_READ, m->line);
    emulator.thread = self;
    rows[i] = shared_pointer(block, offset);
  }
  for (unsigned lane = 0; lane < WARP; lane++)
    for (int k = 0; k < first->count; k++)
      for (int half = 0; half < 2; half++) {
        int row, column;
        element(first->transposed, lane, half, &row, &column);
        uint16_t *at = rows[k * 8 + row] + column, *held = (uint16_t *)&((Matrices *)m->arguments[lane])->registers[k] + half;
        if (first->store) *at = *held;
        else *held = *at;
      }
}

EMULATED_API void emulated_load_matrices(unsigned *out, int count, bool transposed, unsigned from) {
  Matrices load = {out, count, transposed, false, from};
  meet("ldmatrix", WARP, 0xffffffffu, &load, CALLER, run_matrices);
}
EMULATED_API void emulated_store_matrices(const unsigned *in, int count, bool transposed, unsigned to) {
  Matrices store = {(unsigned *)in, count, transposed, true, to};
  meet("stmatrix", WARP, 0xffffffffu, &store, CALLER, run_matrices);
}

// --- mma.sync: 16 x 8 outputs

typedef struct Mma {
  char type;
  int k;
  float *sums;
  const unsigned *a, *b;
} Mma;

// A fragment register holds 32 bits of one row: two 16-bit elements, or one of tf32 (whose 13 low bits do not count).
static void unpack(char type, unsigned word, double *out) {
  if (type == 't') {
    union {
      uint32_t bits;
      float value;
    } tf32 = {word & ~0x1fffu};
    out[0] = tf32.value;
  } else {
    out[0] = decode(type, (uint16_t)word);
    out[1] = decode(type, (uint16_t)(word >> 16));
  }
}

static void run_mma(Meeting *m) {
  all_lanes(m);
  const Mma *first = m->arguments[0];
  int per_word = first->type == 't' ? 1 : 2, parts = first->k / (4 * per_word);  // words along k: 4 lanes, then the next part
  double a[16][16], b[8][16];
  for (unsigned lane = 0; lane < WARP; lane++) {
    const Mma *mma = m->arguments[lane];
    int g = (int)lane / 4, t = (int)lane % 4;
    for (int part = 0; part < parts; part++) {
      int k = (part * 4 + t) * per_word;
      unpack(first->type, mma->a[part * 2], &a[g][k]);
      unpack(first->type, mma->a[part * 2 + 1], &a[g + 8][k]);
      unpack(first->type, mma->b[part], &b[g][k]);
    }
  }
  for (unsigned lane = 0; lane < WARP; lane++) {
    float *sums = ((const Mma *)m->arguments[lane])->sums;
    for (int c = 0; c < 4; c++) {
      int row = (int)lane / 4 + c / 2 * 8, column = (int)lane % 4 * 2 + c % 2;
      double sum = sums[c];
      for (int k = 0; k < first->k; k++) sum += a[row][k] * b[column][k];
      sums[c] = (float)sum;
    }
  }
}

EMULATED_API void emulated_mma(char type, int k, float *sums, const unsigned *a, const unsigned *b) {
  Mma mma = {type, k, sums, a, b};
  meet("mma.sync", WARP, 0xffffffffu, &mma, CALLER, run_mma);
}

// --- wgmma: 64 x N outputs of a warpgroup, 16 deep.

typedef struct Descriptor {
  uint32_t start, leading, stride;
  int width;  // of a line in bytes: 128, 64, 32 with as wide a swizzle; 16: none
  bool rows_fast;
} Descriptor;

typedef struct Product {
  struct Product *next;
  uint32_t number;
  char type;
  int n, commit;
  uintptr_t line;
  Descriptor a, b;
  bool from_registers;  // not a, but `fragments`
  unsigned fragments[WARP * 4][4];
  float *sums[WARP * 4];
  unsigned warps;  // that have waited for it
  Epoch epochs[4];
} Product;

typedef struct Wgmma {
  Product product;
  float *sums;
  const unsigned *fragments;
  unsigned long long a, b;
} Wgmma;

static Descriptor descriptor(unsigned long long bits, bool rows_fast, uintptr_t pc) {
  static const int widths[] = {16, 128, 64, 32};
  if (bits & 0x3fffc000c000c000ull & ~((unsigned long long)7 << 49))
    finding(FOUND_INSTRUCTION, pc, "gives wgmma the descriptor %016llx, which has bits set that must be 0", bits);
  if (bits >> 49 & 7)
    finding(FOUND_INSTRUCTION, pc, "gives wgmma a descriptor with base offset %llu, which is not emulated", bits >> 49 & 7);
  Descriptor d = {(uint32_t)(bits & 0x3fff) << 4, (uint32_t)(bits >> 16 & 0x3fff) << 4, (uint32_t)(bits >> 32 & 0x3fff) << 4,
                  widths[bits >> 62], rows_fast};
  if (d.width == 16 && rows_fast)
    finding(FOUND_INSTRUCTION, pc, "gives wgmma rows-fast operands without swizzle, which is not emulated");
  return d;
}

// Where the 16 bytes lie that begin at element (row, k): eight along whichever is fastest.
static uint32_t chunk_at(const Descriptor *d, int row, int k) {
  uint32_t at = d->start;
  if (d->width == 16) return at + (uint32_t)(row / 8) * d->stride + (uint32_t)(k / 8) * d->leading + (uint32_t)(row % 8) * 16;
  int line = d->width / 2;  // elements
  if (d->rows_fast)
    at += (uint32_t)(row / line) * d->leading + (uint32_t)(k / 8) * d->stride + (uint32_t)(k % 8 * d->width + row % line * 2);
  else at += (uint32_t)(row / 8) * d->stride + (uint32_t)(row % 8 * d->width + k * 2);
  return at ^ ((at >> 7 & (uint32_t)(d->width / 16 - 1)) << 4);
}

typedef void VisitChunk(uint32_t offset, void *context);
static void visit(const Descriptor *d, int row, int rows, VisitChunk *visitor, void *context) {
  if (d->rows_fast) {
    for (int k = 0; k < 16; k++)
      for (int r = row; r < row + rows; r += 8) visitor(chunk_at(d, r, k), context);
  } else {
    for (int r = row; r < row + rows; r++)
      for (int k = 0; k < 16; k += 8) visitor(chunk_at(d, r, k), context);
  }
}

static void fetch(const Block *block, char type, const Descriptor *d, int row, int rows, double (*out)[16]) {
  for (int r = 0; r < rows; r++)
    for (int k = 0; k < 16; k++) {
      const uint16_t *chunk =
          shared_pointer(block, chunk_at(d, d->rows_fast ? (row + r) / 8 * 8 : row + r, d->rows_fast ? k : k / 8 * 8));
      out[r][k] = decode(type, chunk[d->rows_fast ? (row + r) % 8 : k % 8]);
    }
}

typedef struct Reading {
  Thread *thread;
  Product *product;
  uintptr_t pc;
} Reading;
static void begin_chunk(uint32_t offset, void *context) {
  Reading *reading = context;
  emulator.ticks++;
  proxy_read_begin(reading->thread, reading->thread->block, offset, 16, reading->product->number, reading->pc);
}
static void end_chunk(uint32_t offset, void *context) {
  Reading *reading = context;
  proxy_read_end(reading->thread->block, offset, 16, reading->product->number, reading->product->epochs, 4);
}

static void run_wgmma(Meeting *m) {
  all_lanes(m);
  static uint32_t numbers;
  const Wgmma *first = m->arguments[0];
  Thread *t = m->threads[0];
  Product *product = malloc(sizeof *product);
  if (!product) abort();
  *product = first->product;
  Product **end = &t->block->products[t->warp / 4];
  while (*end) end = &(*end)->next;
  *end = product;
  product->number = ++numbers;
  product->commit = t->product_commits;
  for (unsigned i = 0; i < m->count; i++) {
    const Wgmma *other = m->arguments[i];
    product->sums[i] = other->sums;
    if (product->from_registers) memcpy(product->fragments[i], other->fragments, sizeof product->fragments[i]);
    if (other->a != first->a || other->b != first->b)
      finding(FOUND_INSTRUCTION, m->line, "executes wgmma with other descriptors than thread (%u,%u,%u) of its warpgroup",
              t->index.x, t->index.y, t->index.z);
    if (!m->threads[i]->product_fence && emulator.checks != CHECKS_OFF)
      finding(FOUND_HAZARD, m->line, "executes wgmma without wgmma.fence since its registers could last change");
  }
  // Each warp reads its own rows of A; of B, which all read, one warp is judged.
  for (int warp = 0; warp < 4 && !product->from_registers; warp++) {
    Reading reading = {m->threads[warp * WARP], product, m->line};
    visit(&product->a, warp * 16, 16, begin_chunk, &reading);
  }
  Reading reading = {m->threads[emulator_random(4) * WARP], product, m->line};
  visit(&product->b, 0, product->n, begin_chunk, &reading);
}

EMULATED_API void emulated_wgmma(char type, int n, bool rows_fast_a, bool rows_fast_b, float *sums, unsigned long long a,
                                 unsigned long long b) {
  Wgmma wgmma = {.sums = sums, .a = a, .b = b};
  wgmma.product = (Product){
      .type = type, .n = n, .line = CALLER, .a = descriptor(a, rows_fast_a, CALLER), .b = descriptor(b, rows_fast_b, CALLER)};
  meet("wgmma", WARP * 4, 0xffffffffu, &wgmma, CALLER, run_wgmma);
}

EMULATED_API void emulated_wgmma_registers(char type, int n, bool rows_fast_b, float *sums, const unsigned *a,
                                           unsigned long long b) {
  Wgmma wgmma = {.sums = sums, .fragments = a, .b = b};
  wgmma.product =
      (Product){.type = type, .n = n, .line = CALLER, .from_registers = true, .b = descriptor(b, rows_fast_b, CALLER)};
  meet("wgmma", WARP * 4, 0xffffffffu, &wgmma, CALLER, run_wgmma);
}

EMULATED_API void emulated_wgmma_fence(void) { emulator.thread->product_fence = true; }
EMULATED_API void emulated_wgmma_commit(void) { emulator.thread->product_commits++; }

// Rows of a from a warp's fragments: register i of a lane holds a pair along k of row lane / 4, with i % 2 of the one eight below, with i / 2 eight k on.
static void unpack_fragments(const Product *p, unsigned warp, double (*out)[16]) {
  for (int lane = 0; lane < WARP; lane++)
    for (int i = 0; i < 8; i++) {
      unsigned pair = p->fragments[warp * WARP + (unsigned)lane][i / 2];
      out[lane / 4 + i / 2 % 2 * 8][lane % 4 * 2 + i / 4 * 8 + i % 2] = decode(p->type, (uint16_t)(pair >> i % 2 * 16));
    }
}

// The warp's part of a product, done as late as its program allows.
static void perform(Product *p, Thread *const *warp_threads, unsigned warp) {
  const Block *block = warp_threads[0]->block;
  static double a[16][16], b[256][16];
  if (p->from_registers) unpack_fragments(p, warp, a);
  else fetch(block, p->type, &p->a, (int)warp * 16, 16, a);
  fetch(block, p->type, &p->b, 0, p->n, b);
  for (unsigned lane = 0; lane < WARP; lane++) {
    float *sums = p->sums[warp * WARP + lane];
    for (int i = 0; i < p->n / 2; i++) {
      int row = (int)lane / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + (int)lane % 4 * 2 + i % 2;
      double sum = sums[i];
      for (int k = 0; k < 16; k++) sum += a[row][k] * b[column][k];
      sums[i] = (float)sum;
    }
  }
}

static void run_wait(Meeting *m) {
  all_lanes(m);
  Thread *t = m->threads[0];
  unsigned warp = t->warp % 4;
  int groups = *(const int *)m->arguments[0];
  for (unsigned i = 0; i < WARP; i++) m->threads[i]->product_fence = false;
  Product **at = &t->block->products[t->warp / 4];
  while (*at) {
    Product *p = *at;
    if (p->commit >= t->product_commits - groups) break;
    if (!(p->warps >> warp & 1)) {
      perform(p, m->threads, warp);
      p->warps |= 1u << warp;
      p->epochs[warp] = t->epoch;
    }
    if (p->warps != 15) {
      at = &p->next;
      continue;
    }
    Reading reading = {t, p, 0};
    if (!p->from_registers) visit(&p->a, 0, 64, end_chunk, &reading);
    visit(&p->b, 0, p->n, end_chunk, &reading);
    *at = p->next;
    free(p);
  }
}

EMULATED_API void emulated_wgmma_wait(int groups) { meet("wgmma.wait_group", WARP, 0xffffffffu, &groups, CALLER, run_wait); }

void products_exit(Thread *t) {
  for (Product *p = t->block->products[t->warp / 4]; p; p = p->next)
    if (!(p->warps >> (t->warp % 4) & 1) && emulator.checks != CHECKS_OFF)
      finding(FOUND_HAZARD, p->line,
              "ends while the product of its warpgroup that it starts here is under way: nobody has waited for its sums");
}

void products_forget(Block *block) {
  for (int i = 0; i < BLOCK_THREADS / WARP / 4; i++)
    while (block->products[i]) {
      Product *p = block->products[i];
      block->products[i] = p->next;
      free(p);
    }
}

EMULATED_API void emulated_fence_proxy(void) {
  emulator.ticks++;
  clock_fence_proxy(emulator.thread);
}
