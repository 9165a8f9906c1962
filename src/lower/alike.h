// Sites of a plan that differ in nothing but what their buffers hold, as the layers of a network do: such are lowered once, since the texts of their kernels are what planning
// takes longest for.
#pragma once
#include "lower/select.h"

typedef struct AlikeSites AlikeSites;
AlikeSites *alike_new(Arena *arena);
// What was selected for a site like this one, and can be taken as it is; NULL: nothing. last: see select_implementation.
const Selection *alike_find(const AlikeSites *alike, const Site *site, bool last);
void alike_keep(AlikeSites *alike, const Site *site, bool last, const Selection *selection);
