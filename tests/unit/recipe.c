// Recipes of packed constants: what they make, and when two are the same.
#include "kernels/recipe.h"

#include <criterion/criterion.h>
#include <string.h>

static const float numbers[] = {1, 2, 3, 4, 5, 6};
static const Tensor tensor = {.dtype = DTYPE_F32, .rank = 2, .dims = {2, 3}, .data = (void *)(uintptr_t)numbers};

// The source turned, with lines of `size`.
static Recipe *turned(Arena *arena, const Tensor *source, int64_t size) {
  Recipe *recipe = recipe_new(arena);
  Value *x = build_transpose(&recipe->b, recipe_source(recipe, source), (const int[]){1, 0});
  cr_assert_null(recipe_finish(recipe, recipe_pad(recipe, x, 1, size)));
  return recipe;
}

Test(recipe, gives_what_its_graph_says) {
  Arena *arena = arena_new();
  Recipe *recipe = turned(arena, &tensor, 4);
  float out[12];
  cr_assert_eq(recipe->bytes, sizeof out);
  memset(out, 0xff, sizeof out);
  cr_assert_null(recipe_run(recipe, out));
  const float expected[] = {1, 4, 0, 0, 2, 5, 0, 0, 3, 6, 0, 0};
  cr_assert_arr_eq(out, expected, sizeof out);
  arena_free(arena);
}

Test(recipe, needs_no_source_and_no_node) {
  Arena *arena = arena_new();
  Recipe *zeros = recipe_new(arena), *same = recipe_new(arena);
  float out[6];
  memset(out, 0xff, sizeof out);
  cr_assert_null(recipe_finish(zeros, build_fill(&zeros->b, DTYPE_F32, 0, 1, (const Dim[]){5})));
  cr_assert_null(recipe_run(zeros, out));
  for (int i = 0; i < 5; i++) cr_assert_eq(out[i], 0);
  cr_assert_null(recipe_finish(same, recipe_source(same, &tensor)));
  cr_assert_null(recipe_run(same, out));
  cr_assert_arr_eq(out, numbers, sizeof out);
  arena_free(arena);
}

Test(recipe, equal_keys_mean_equal_bytes) {
  Arena *arena = arena_new();
  const float others[] = {1, 2, 3, 4, 5, 7};
  Tensor equal = tensor, wide = tensor, other = tensor;
  float copy[6];
  memcpy(copy, numbers, sizeof copy);
  equal.data = copy;
  wide.dims[0] = 3, wide.dims[1] = 2;
  other.data = (void *)(uintptr_t)others;
  Hash128 key = turned(arena, &tensor, 4)->key;
  const Recipe *same = turned(arena, &equal, 4);
  const Recipe *different[] = {turned(arena, &tensor, 5), turned(arena, &wide, 4), turned(arena, &other, 4)};
  cr_assert(same->key.low == key.low && same->key.high == key.high);
  for (int i = 0; i < 3; i++) cr_assert(different[i]->key.low != key.low || different[i]->key.high != key.high, "%d", i);
  arena_free(arena);
}

Test(recipe, an_error_of_building_is_told) {
  Arena *arena = arena_new();
  Recipe *recipe = recipe_new(arena);
  Value *x = build_reshape(&recipe->b, recipe_source(recipe, &tensor), 1, (const Dim[]){7});
  Status status = recipe_finish(recipe, x);
  cr_assert_not_null(status);
  status_free(status);
  arena_free(arena);
}
