// The rules of fold_constants that have files of their own (known_places.c, read_by_places.c, masks_of_places.c): over what follows from where it stands.
#pragma once
#include "passes/rule.h"

extern const Rule rule_known_elements, rule_view_of_number, rule_positions_inside;
extern const Rule rule_slices_by_places, rule_elements_by_places, rule_coordinates_by_places;
extern const Rule rule_causal_masks;

// A program whose input, a value broadcast to a domain of this rank, is computed by another, which has no inputs and counts over the value's axes.
Program *program_with_inner(const Program *old, int input, const Program *inner, const Value *value, int rank);
