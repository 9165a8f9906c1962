// See cost.h.
#include "kernels/cost.h"

#include <math.h>

#include "base/checked.h"
#include "kernels/control/region.h"

// As measured on an H200: of its fastest clock, what lasts under load; of the memory that products see, what kernels reach that read once and write.
#define CLOCK_SHARE (1740 / 1980.0)
#define MOVING_SHARE (3.0 / 3.4)

// ---- work --------------------------------------------------------------------------------------------------------------------

static double elements_of(const Value *value) {
  double count = 1;
  for (int i = 0; i < value->rank; i++) count *= dim_is_static(value->dims[i]) ? (double)value->dims[i] : 1;
  return count;
}

static double widest(const Node *node) {
  double most = 1;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i]) most = fmax(most, elements_of(node->inputs[i]));
  for (int i = 0; i < node->output_count; i++) most = fmax(most, elements_of(node->outputs[i]));
  return most;
}

// Without bytes: what is inside of a region stays there. results: elements of output 0.
static void add_arithmetic(const Node *node, double results, SiteWork *work) {
  int64_t terms = node->op->terms ? node->op->terms(node) : 0;
  double each = results * (double)MAX(terms, 1);
  if (node->op == &op_region) FOR_NODES(inner, region_body(node)) add_arithmetic(inner, elements_of(inner->outputs[0]), work);
  else if (node->op->has_program) work->arithmetic += widest(node) * node_program(node, "program")->count;
  else if (node->op->channels) work->products += each;
  else work->arithmetic += each;
}

// An operand that broadcasts is read once.
static double bytes_of(const TensorDesc *desc) {
  double bytes = desc->absent ? 0 : (double)dtype_size(desc->dtype);
  for (int i = 0; i < desc->rank && !desc->absent; i++) bytes *= desc->strides[i] || !desc->dims[i] ? (double)desc->dims[i] : 1;
  return bytes;
}

SiteWork work_of(const Site *site) {
  SiteWork work = {0};
  double written = 0;
  add_arithmetic(site->node, (double)desc_count(&site->outputs[0]), &work);
  for (int i = 0; i < site->node->output_count; i++) written += bytes_of(&site->outputs[i]);
  for (int i = 0; i < site_input_count(site); i++) {
    double read = bytes_of(&site->inputs[i]);
    work.bytes +=
        i == 0 && site->node->op->index_operand ? fmin(read, written) : read;  // what indices do not name stays unread
  }
  work.bytes += written;
  if (site->epilogue) work.arithmetic += (double)desc_count(&site->outputs[0]) * site->epilogue->count;
  return work;
}

// ---- rates -------------------------------------------------------------------------------------------------------------------

static double multiprocessors(const DeviceInfo *device) { return MAX(device->multiprocessors, 1); }
double cost_clocks(const DeviceInfo *device) { return device->rates.clock * CLOCK_SHARE; }
double cost_bytes_rate(const DeviceInfo *device) { return device->rates.reached * 1e3 * MOVING_SHARE; }

double cost_arithmetic_rate(const DeviceInfo *device, DType dtype) {
  return multiprocessors(device) * cost_clocks(device) * (dtype == DTYPE_F64 ? device->rates.f64 : device->rates.f32);
}

// Where tensor cores take them; a CPU has instructions for bytes alone.
static bool has_fast_products(const Site *site) {
  DType dtype = site->inputs[0].dtype;
  if (site->device->kind == DEVICE_CPU) return dtype_size(dtype) == 1;
  return dtype_size(dtype) <= 2 || (dtype == DTYPE_F32 && site->tf32 && site->device->sm >= 80);
}

static DType main_dtype(const Site *site) {
  bool none = !site->node->input_count || site->inputs[0].absent;
  return none ? site->outputs[0].dtype : site->inputs[0].dtype;
}

double cost_product_rate(const Site *site) {
  DType dtype = main_dtype(site);
  if (!has_fast_products(site)) return cost_arithmetic_rate(site->device, dtype);
  return multiprocessors(site->device) * cost_clocks(site->device) * site->device->rates.tensor * 2 / (double)dtype_size(dtype);
}

// ---- times -------------------------------------------------------------------------------------------------------------------

double cost_of_work(const DeviceInfo *device, DType dtype, const SiteWork *work, int launches) {
  double moving = work->bytes / cost_bytes_rate(device);
  double computing = (work->products + work->arithmetic) / cost_arithmetic_rate(device, dtype);
  return launches * device->rates.launch + fmax(moving, computing);
}

double cost_of_site(const Site *site, int launches) {
  SiteWork work = work_of(site);
  return cost_of_work(site->device, main_dtype(site), &work, launches);
}

double cost_of_moving(const DeviceInfo *device, double bytes) { return device->rates.launch + bytes / cost_bytes_rate(device); }

double cost_of_products(const Site *site, double share) {
  SiteWork work = work_of(site);
  double computing = work.products / (cost_product_rate(site) * share);
  computing += work.arithmetic / cost_arithmetic_rate(site->device, DTYPE_F32);
  return site->device->rates.launch + fmax(work.bytes / cost_bytes_rate(site->device), computing);
}

double cost_of_library(const Site *site, double share, bool fused) {
  double cost = cost_of_products(site, share);
  if (site->epilogue && !fused) cost += cost_of_moving(site->device, 3 * (double)desc_bytes(&site->outputs[0]));
  return cost;
}

CostFloor cost_floor(const Site *site) {
  SiteWork work = work_of(site);
  return (CostFloor){work.bytes / (site->device->rates.memory * 1e3), work.products / cost_product_rate(site) * CLOCK_SHARE};
}

double cost_at_least(const Site *site) {
  CostFloor floor = cost_floor(site);
  return fmax(floor.moving, floor.products);
}

// ---- tiles -------------------------------------------------------------------------------------------------------------------

int64_t split_depth(int64_t k, int bk, int splits) { return ceil_div(ceil_div(k, bk), splits) * bk; }

static int resident_blocks(const DeviceInfo *device, const TileCost *tile) {
  int by_shared = device->shared_per_multiprocessor / MAX(tile->shared_bytes + 1024, 1);
  int by_registers = 65536 / (tile->registers * tile->threads);
  return MAX(1, MIN(MIN(by_shared, by_registers), (int)device->rates.threads / tile->threads));
}

// A multiprocessor takes its share of the blocks in turns. Blocks that run together hide each other's latency: with few warps resident
// the arithmetic units wait, and where too few steps are under way it waits for operands. Memory is a bound of its own, and a split pays for
// writing and reading its partial sums. The overheads and rates of the tensor cores' tiles are fitted to 333 measurements of 14 products and
// convolutions on an H200, where the tile this picks is within 3% of the best one on average, those of the others to 1,500; what
// matters is the order, so other chips share the overheads.
double cost_of_tiles(const DeviceInfo *device, const TileCost *tile, const TiledProduct *p, int splits) {
  const double clocks_per_us = cost_clocks(device), memory_bytes_per_us = device->rates.reached * 1e3;
  const TileOverhead *overhead = tile->overhead;
  const double m = (double)p->m, n = (double)p->n, k = (double)p->k, batch = (double)p->batch,
               size = (double)dtype_size(p->dtype);
  double filled = p->filled > 0 ? p->filled : 1;
  double blocks = ceil(m / tile->bm) * ceil(n / tile->bn) * batch * splits;
  double steps = filled * (double)split_depth(p->k, tile->bk, splits) / tile->bk;
  double share = ceil(blocks / MAX(device->multiprocessors, 1));
  double together = fmin(share, resident_blocks(device, tile));
  double warps = together * tile->threads / 32;
  double step_math = (double)tile->bm * tile->bn * tile->bk / (tile->rate * fmin(1, warps / overhead->full_warps));
  double step_bytes = (double)(tile->bm + tile->bn) * tile->bk * size / (device->rates.l2_bytes * overhead->l2_share);
  double step = fmax(fmax(step_math, step_bytes) * together + overhead->step, overhead->latency / tile->ahead);
  double turn = overhead->start + overhead->store * tile->bm * tile->bn * together / 1024 + steps * step;
  double compute = share / together * turn / clocks_per_us;
  double elements = p->elements > 0 ? p->elements : batch * (m * k + k * n + m * n);
  double traffic = elements * size / memory_bytes_per_us;
  double cost = fmax(compute, traffic);
  if (splits > 1) cost += overhead->split_us + splits * batch * m * n * 4 / memory_bytes_per_us;
  return cost + p->before;
}
