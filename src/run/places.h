// Places: device memory that a loop writes one value to after the other, one iteration's and the next one's. A place is written to again once nobody else
// holds what lies there; so results of which each is read in the iteration after it take turns between two places, whose addresses recorded graphs
// then see again and again, and what somebody keeps stays as it is.
#pragma once
#include "run/runner.h"

enum { MOST_PLACES = 4 };  // more at once have memory that is nobody's place
typedef struct Places {
  Storage *storages[MOST_PLACES];
} Places;

// A tensor of this type, of any content. Where memory is at hand that is large enough, none is allocated; where a value outgrew it, there is twice as much.
MUST_CHECK Status places_take(Places *places, Device *device, const RunTensor *type, RunTensor *out);
// The storage is a place no more, if it was one.
void places_let_go(Places *places, Storage *storage);
void places_free(Places *places);
size_t places_bytes(const Places *places);
