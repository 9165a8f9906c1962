// See alike.h.
#include "lower/alike.h"

#include <string.h>

#include "base/hash.h"
#include "base/map.h"

typedef struct Known {
  Site site;
  bool last;
  Selection selection;
  const struct Known *next;  // of the same hash
} Known;

struct AlikeSites {
  Arena *arena;
  IntMap *known;  // by hash
};

AlikeSites *alike_new(Arena *arena) {
  AlikeSites *alike = arena_new_of(arena, AlikeSites);
  *alike = (AlikeSites){arena, int_map_new(arena)};
  return alike;
}

static uint64_t desc_hash(const TensorDesc *desc, uint64_t hash) {
  hash = hash_mix(hash, (uint64_t)desc->dtype << 8 | (uint64_t)desc->rank);
  for (int i = 0; i < desc->rank; i++) hash = hash_mix(hash_mix(hash, (uint64_t)desc->dims[i]), (uint64_t)desc->strides[i]);
  return hash_mix(hash, (uint64_t)desc->offset);
}

static uint64_t site_hash(const Site *site) {
  uint64_t hash = hash_mix((uint64_t)(uintptr_t)site->node->op, (uint64_t)site_input_count(site));
  for (int i = 0; i < site_input_count(site); i++) hash = desc_hash(&site->inputs[i], hash);
  for (int i = 0; i < site->node->output_count; i++) hash = desc_hash(&site->outputs[i], hash);
  if (site->epilogue) hash = program_hash(site->epilogue, hash);
  return site->prologue ? program_hash(site->prologue, hash) : hash;
}

static bool extents_equal(const Extent *a, const Extent *b, int rank) {
  bool equal = true;
  for (int i = 0; i < rank && equal; i++) equal = a[i].now == b[i].now && a[i].open == b[i].open && a[i].dim == b[i].dim;
  return equal;
}

static bool open_equal(const OpenDims *a, const OpenDims *b, int rank) {
  if (!a || !b) return a == b;
  return extents_equal(a->dims, b->dims, rank) && extents_equal(a->strides, b->strides, rank);
}

static bool desc_equal(const TensorDesc *a, const TensorDesc *b) {
  size_t bytes = (size_t)a->rank * sizeof *a->dims;
  return a->absent == b->absent && a->dtype == b->dtype && a->rank == b->rank && a->offset == b->offset &&
         !a->constant == !b->constant && !memcmp(a->dims, b->dims, bytes) && !memcmp(a->strides, b->strides, bytes) &&
         open_equal(a->open, b->open, a->rank);
}

static bool programs_equal(const Program *a, const Program *b) { return a && b ? program_equal(a, b) : a == b; }

static bool sites_equal(const Site *a, const Site *b) {
  if (!node_work_equal(a->node, b->node) || !a->region != !b->region) return false;
  if (!programs_equal(a->epilogue, b->epilogue) || !programs_equal(a->prologue, b->prologue)) return false;
  if (site_input_count(a) != site_input_count(b)) return false;
  for (int i = 0; i < site_input_count(a); i++)
    if (!desc_equal(&a->inputs[i], &b->inputs[i])) return false;
  for (int i = 0; i < a->node->output_count; i++)
    if (!desc_equal(&a->outputs[i], &b->outputs[i])) return false;
  return true;
}

const Selection *alike_find(const AlikeSites *alike, const Site *site, bool last) {
  for (const Known *known = int_map_get(alike->known, site_hash(site)); known; known = known->next)
    if (known->last == last && sites_equal(&known->site, site)) return &known->selection;
  return NULL;
}

// Launches of kernels, which know of a constant no more than its type, and calls of libraries, which are told numbers. Packed constants, and what the host is told, are each site's own.
static bool can_be_shared(const Selection *selection) {
  const Emission *emission = selection->emission;
  bool shared = !emission->packed_count;
  for (uint32_t i = 0; i < emission->launch_count && shared; i++) shared = emission->launches[i].kind != LAUNCH_HOST;
  return shared;
}

void alike_keep(AlikeSites *alike, const Site *site, bool last, const Selection *selection) {
  if (!can_be_shared(selection)) return;
  uint64_t hash = site_hash(site);
  Known *known = arena_new_of(alike->arena, Known);
  *known = (Known){.site = *site, .last = last, .selection = *selection, .next = int_map_get(alike->known, hash)};
  int_map_set(alike->known, hash, known);
}
