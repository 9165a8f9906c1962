// Where the constants of a graph lie in an engine file. Tensors whose bytes overlap lie in one stretch, as they did in memory; stretches
// of the same bytes are one. The order is that of the graph, whatever the addresses are: the same build gives the same file.
#pragma once
#include "base/map.h"
#include "ir/tensor.h"

typedef struct Stretch {
  const char *begin;
  size_t size;
  uint32_t first;    // of its tensors in the graph's order
  uint64_t offset;   // in the file's section
  bool is_copy;      // of the bytes of an earlier one, where it lies
  bool one_address;  // all its tensors begin where it does
} Stretch;

typedef struct Weights {
  Arena *arena;
  IntMap *numbers;  // tensor, by its address -> its number + 1
  const Tensor **tensors;
  uint32_t count, capacity;
  Stretch *stretches;  // in the order of the file, once placed
  uint32_t stretch_count;
  uint64_t *offsets;  // of each tensor
  uint64_t end;       // of the section
} Weights;

// For GraphTextOptions: first all tensors are noted, then they are placed, then each is asked for.
uint64_t weights_note(void *weights, const Tensor *tensor);  // 0
void weights_place(Weights *weights);
uint64_t weights_offset(void *weights, const Tensor *tensor);
void weights_copy(const Weights *weights, void *section);
