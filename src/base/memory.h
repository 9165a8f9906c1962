// Host memory whose size a model decides and whose life no arena has: tensors, rows that loops gather. It is charged to the budget of
// the thread that takes it (budget.h) and counts as given back in the thread that frees it.
#pragma once
#include <stddef.h>
#include "base/status.h"

// 64-byte aligned, not zeroed; zero bytes give a valid pointer. Fails where the budget or the system refuses.
MUST_CHECK Status memory_take(size_t bytes, void **out);
// *memory grows to `bytes`, of which the first `kept` stay.
MUST_CHECK Status memory_grow(void **memory, size_t kept, size_t bytes);
void memory_free(void *memory);  // NULL is fine
