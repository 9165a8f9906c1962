// The rules of fold_constants that have files of their own (known_places.c, read_by_places.c): over integers that follow from where they stand.
#pragma once
#include "passes/rule.h"

extern const Rule rule_known_elements, rule_view_of_number, rule_positions_inside;
extern const Rule rule_slices_by_places, rule_elements_by_places, rule_coordinates_by_places;
