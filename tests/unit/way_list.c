// Which kernels open sizes choose among: the best at the rungs around them, and of those the better one for the sizes at hand.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "kernels/extent.h"
#include "kernels/implementation.h"
#include "kernels/tile/mma_config.h"
#include "kernels/tile/way_list.h"

static Extent open_of(int64_t size) { return (Extent){.now = size, .open = true}; }

Test(way_list, rungs_are_powers_of_two_and_what_lies_between) {
  static const int64_t sizes[][3] = {{1, 16, 16},     {16, 16, 16},    {17, 16, 24},     {24, 24, 24},      {25, 24, 32},
                                     {756, 512, 768}, {768, 768, 768}, {769, 768, 1024}, {5000, 4096, 6144}};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    cr_expect_eq(extent_at(open_of(sizes[i][0]), RUNG_NOW), sizes[i][0]);
    cr_expect_eq(extent_at(open_of(sizes[i][0]), RUNG_BELOW), sizes[i][1], "below %lld", (long long)sizes[i][0]);
    cr_expect_eq(extent_at(open_of(sizes[i][0]), RUNG_ABOVE), sizes[i][2], "above %lld", (long long)sizes[i][0]);
    cr_expect_eq(extent_at(extent_static(sizes[i][0]), RUNG_ABOVE), sizes[i][0]);
  }
}

// Ways 0 to 3: what each costs at each rung; below 0: it is not offered there.
typedef struct Costs {
  double at[3][4];
} Costs;

static int offer(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit) {
  const Costs *costs = context;
  WayList list = {.items = out, .limit = limit, .only = only};
  for (int i = 0; i < 4; i++)
    if (costs->at[rung][i] >= 0) way_offer(&list, &(Way){.config = {i}, .cost = costs->at[rung][i]});
  return list.count;
}

static void expect_order(const Costs *costs, bool open, int limit, const char *expected) {
  Way ways[8];
  char found[16] = "";
  int count = ways_of_sizes(NULL, open, offer, costs, ways, limit);
  for (int i = 0; i < count; i++) {
    size_t used = strlen(found);
    found[used] = (char)('0' + ways[i].config[0]);
    if (ways[i].at_rung) found[used + 1] = '*';
  }
  cr_expect_str_eq(found, expected, "%s instead of %s", found, expected);
}

Test(way_list, the_better_of_two_comes_first_and_all_others_behind) {
  const Costs costs = {{[RUNG_NOW] = {4, 3, 2, 1}, [RUNG_BELOW] = {1, 2, 3, 4}, [RUNG_ABOVE] = {3, 1, 2, 4}}};
  expect_order(&costs, true, 1, "1*");
  expect_order(&costs, true, 2, "1*0*");
  expect_order(&costs, true, 3, "1*0*3");
  expect_order(&costs, true, 8, "1*0*32");
  expect_order(&costs, false, 8, "3210");
}

Test(way_list, one_kernel_at_both_rungs_and_one_that_is_offered_at_its_rung_alone) {
  const Costs same = {{[RUNG_NOW] = {4, 3, 2, 1}, [RUNG_BELOW] = {1, 2, 3, 4}, [RUNG_ABOVE] = {1, 2, 3, 4}}};
  expect_order(&same, true, 8, "0*321");
  const Costs alone = {{[RUNG_NOW] = {-1, 3, 2, 1}, [RUNG_BELOW] = {2.5, 3, 4, 5}, [RUNG_ABOVE] = {3, 1, 2, 4}}};
  expect_order(&alone, true, 8, "0*1*32");
}

// ---- Products as a transformer has them, of 8 to 16,000 rows, on an H200.

typedef struct Product {
  int64_t n, k;
} Product;

static int product_ways(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit) {
  const TiledProduct *product = context;
  TiledProduct at = *product;
  at.m = extent_at(open_of(product->m), rung);
  return mma_ways(site, &at, 1, only, out, limit);
}

static int add_way(Way *kept, int count, const Way *way) {
  for (int i = 0; i < count; i++)
    if (way_is(&kept[i], way)) return count;
  kept[count] = *way;
  return count + 1;
}

enum { ROWS = 150, MOST_KERNELS = 16 };
static const Product products[] = {{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}};

typedef struct Layer {
  double chosen, free;
} Layer;

static Layer layer_of(const Site *site, int64_t rows, Way kept[][ROWS], int *kernels) {
  Layer layer = {0, 0};
  for (size_t i = 0; i < COUNT_OF(products); i++) {
    TiledProduct product = {.m = rows, .n = products[i].n, .k = products[i].k, .batch = 1, .dtype = DTYPE_F16};
    Way chosen, free;
    cr_assert_eq(ways_of_sizes(site, true, product_ways, &product, &chosen, 1), 1);
    cr_assert_eq(product_ways(site, RUNG_NOW, NULL, &product, &free, 1), 1);
    layer.chosen += chosen.cost, layer.free += free.cost;
    kernels[i] = add_way(kept[i], kernels[i], &chosen);
  }
  return layer;
}

Test(way_list, few_kernels_are_nearly_as_good_as_all) {
  static Way kept[COUNT_OF(products)][ROWS];
  int kernels[COUNT_OF(products)] = {0};
  double logarithms = 0;
  DeviceInfo device;
  cr_assert_null(chip_find("h200", &device));
  const Site site = {.device = &device};
  for (int r = 0; r < ROWS; r++) {
    int64_t rows = (int64_t)(8 * pow(2000, (r + 0.5) / ROWS));
    Layer layer = layer_of(&site, rows, kept, kernels);
    cr_expect_leq(layer.chosen, layer.free * 1.15, "%lld rows cost %g, and %g if chosen freely", (long long)rows, layer.chosen,
                  layer.free);
    logarithms += log(layer.chosen / layer.free) / ROWS;
  }
  cr_expect_leq(exp(logarithms), 1.03, "%g times what free choice costs", exp(logarithms));
  for (size_t i = 0; i < COUNT_OF(products); i++) cr_expect_leq(kernels[i], MOST_KERNELS, "%d kernels", kernels[i]);
}

// What a library lists: one of them twice, and some that differ in what their names do not say.
static int library_ways(const Site *site, const Machine *machine, Way *out, int limit) {
  const Way listed[] = {{.config = {1}, .name = "a", .cost = 1}, {.config = {2}, .name = "a", .cost = 1},
                        {.config = {1}, .name = "a", .cost = 1}, {.config = {3}, .name = "b", .cost = 1},
                        {.config = {4}, .name = "a", .cost = 1}, {.config = {3}, .name = "b", .cost = 1}};
  int count = MIN(limit, (int)COUNT_OF(listed));
  memcpy(out, listed, (size_t)count * sizeof *out);
  return count;
}

Test(way_list, ways_of_a_library_are_told_apart) {
  const Implementation library = {.library = LIBRARY_CUDNN, .ways = library_ways};
  static const char *const names[] = {"a", "a (2)", "b", "a (3)"};
  Way ways[8];
  cr_assert_eq(implementation_ways(&library, NULL, &(Machine){0}, ways, 8), 4);
  for (int i = 0; i < 4; i++) cr_expect_str_eq(ways[i].name, names[i]);
  cr_expect_eq(ways[3].config[0], 4);
  cr_expect_eq(implementation_ways(&library, NULL, &(Machine){0}, ways, 1), 1);
}
