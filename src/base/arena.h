// Arenas: memory with its owner's lifetime (a model, a build, a session). Allocation is a pointer bump, nothing is
// freed one by one. Memory is zeroed. An arena serves one
// thread at a time. Small allocations do not return NULL: running out calls memory_exhausted(), which
// unwinds to the API boundary (see recover.h). Anything whose size a file decides goes through arena_try_alloc.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

typedef struct Arena Arena;

Arena *arena_new(void);                 // never NULL; needs a guard, like all that allocates
Arena *arena_try_new(void);             // NULL where memory is out: for callers without a guard
Arena *arena_scratch(void);             // an arena of the function that makes it, on its thread: unwinding frees it
void arena_keep(Arena *arena);          // a scratch becomes an ordinary arena: its owner has it now
void arena_free(Arena *arena);          // NULL is fine
void arena_reset(Arena *arena);         // keeps the first block; everything handed out is gone
size_t arena_used(const Arena *arena);  // bytes handed out
bool arena_owns(const Arena *arena, const void *bytes);  // whether the arena handed them out; a walk over its blocks
size_t arena_held(const Arena *arena);                   // bytes taken from the system, and charged
void arena_charge(Arena *arena, int64_t bytes);          // a library keeps so much for the arena's owner: counted as held
// 16-byte aligned, zeroed, never NULL. size 0 gives a valid unique pointer.
void *arena_alloc(Arena *arena, size_t size);
// alignment: a power of two up to 4096. *out is zeroed; ERROR_OUT_OF_MEMORY when the system refuses.
MUST_CHECK Status arena_try_alloc(Arena *arena, size_t size, size_t alignment, void **out);
// Where what was handed out last grows as it lies: whether it did. What it grows by is zeroed.
bool arena_extend(Arena *arena, void *bytes, size_t size, size_t wanted);
void *arena_copy(Arena *arena, const void *bytes, size_t size);
char *arena_string(Arena *arena, const char *text);                   // copy; NULL gives ""
char *arena_string_n(Arena *arena, const char *text, size_t length);  // copy of length bytes + NUL
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *arena, const char *format, va_list args);
#define arena_new_of(arena, Type) ((Type *)arena_alloc(arena, sizeof(Type)))
#define arena_array(arena, Type, count) ((Type *)arena_alloc_array(arena, sizeof(Type), (count)))
void *arena_alloc_array(Arena *arena, size_t item_size, size_t count);  // checked product
// Runs fn(context) when the arena is freed or reset, last registered first. For mapped files, library handles.
void arena_on_free(Arena *arena, void (*fn)(void *context), void *context);

// Growable array in an arena: ARENA_PUSH(arena, items, count, capacity) returns a pointer to the new last item, zeroed
// unless count was lowered before. count and capacity are uint32_t; all start at zero. Growing moves the items.
#define ARENA_PUSH(arena, items, count, capacity)                                                             \
  ((count) == (capacity)                                                                                      \
       ? ((items) = arena_grow((arena), (items), sizeof *(items), (count), &(capacity)), &(items)[(count)++]) \
       : &(items)[(count)++])
void *arena_grow(Arena *arena, void *items, size_t item_size, size_t count, uint32_t *capacity);
