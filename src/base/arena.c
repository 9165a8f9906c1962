// Arenas as a list of blocks. The newest ordinary block is filled front to back; a request that would waste much of it
// gets a block of its own behind it. Blocks come from calloc, which hands out fresh pages without touching them, so large
// zeroed allocations cost nothing until they are used. Under AddressSanitizer, bytes not handed out are poisoned and
// neighbours are kept apart, so that running over an arena allocation is reported like running over a malloc one.
#include "base/arena.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/budget.h"
#include "base/checked.h"
#include "base/format.h"
#include "base/recover.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#ifdef POISONING
#include <sanitizer/asan_interface.h>
#define POISON(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#define UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
enum { RED_ZONE = 16 };
#else
#define POISON(address, size) ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
enum { RED_ZONE = 0 };
#endif

enum { UNIT = 16, FIRST_BLOCK = 8 << 10, LARGEST_BLOCK = 256 << 10, LARGEST_ALIGNMENT = 4096 };

typedef struct Block {
  struct Block *next;  // older
  const Allocator *allocator;
  size_t size, used;  // of bytes[]
  _Alignas(UNIT) unsigned char bytes[];
} Block;

typedef struct Callback {
  struct Callback *next;
  void (*fn)(void *context);
  void *context;
} Callback;

struct Arena {
  Block *blocks;  // the one being filled first; the last one is the first allocated
  Callback *callbacks;
  size_t used, held, next_size;
  bool is_scratch;
  RecoverCleanup cleanup;  // of a scratch
};

// Where a model's weights go, the first touch of each page of 4 KiB costs more than what is written to it.
static void want_large_pages(void *memory, size_t size) {
  enum { WORTH = 8 << 20, PAGE = 2 << 20 };
  char *begin = (char *)align_up((uintptr_t)memory, PAGE), *end = (char *)memory + size;
  if (size >= WORTH) madvise(begin, (size_t)(end - begin) / PAGE * PAGE, MADV_HUGEPAGE);
}

static Block *block_new(size_t size) {
  size_t total;
  if (!checked_add(size, sizeof(Block), &total)) return NULL;
  if (!budget_charge(total)) return NULL;
  const Allocator *allocator = budget_allocator();
  Block *block = allocator ? allocator_allocate(allocator, total, _Alignof(Block)) : calloc(1, total);
  if (block && !allocator) want_large_pages(block, total);
  if (!block) {
    budget_correct(-(int64_t)total);
    return NULL;
  }
  if (allocator) memset(block, 0, total);
  block->allocator = allocator;
  block->size = size;
  POISON(block->bytes, size);
  return block;
}

static void block_free(Block *block) {
  UNPOISON(block->bytes, block->size);
  size_t total = sizeof(Block) + block->size;
  budget_correct(-(int64_t)total);
  if (block->allocator) allocator_release(block->allocator, block, total);
  else free(block);
}

Arena *arena_try_new(void) {
  Arena *arena = calloc(1, sizeof *arena);
  if (!arena) return NULL;
  arena->next_size = FIRST_BLOCK;
  arena->held = sizeof *arena;
  return arena;
}

Arena *arena_new(void) {
  Arena *arena = arena_try_new();
  if (!arena) memory_exhausted();
  return arena;
}

static void free_scratch(void *context) {
  Arena *arena = context;
  arena->is_scratch = false;  // dismissed already
  arena_free(arena);
}

Arena *arena_scratch(void) {
  Arena *arena = arena_new();
  arena->is_scratch = true;
  recover_defer(&arena->cleanup, free_scratch, arena);
  return arena;
}

void arena_keep(Arena *arena) {
  arena->is_scratch = false;
  recover_dismiss(&arena->cleanup);
}

static void run_callbacks(Arena *arena) {
  while (arena->callbacks) {
    Callback callback = *arena->callbacks;
    arena->callbacks = callback.next;
    callback.fn(callback.context);
  }
}

void arena_free(Arena *arena) {
  if (!arena) return;
  if (arena->is_scratch) recover_dismiss(&arena->cleanup);
  run_callbacks(arena);
  while (arena->blocks) {
    Block *next = arena->blocks->next;
    block_free(arena->blocks);
    arena->blocks = next;
  }
  free(arena);
}

void arena_reset(Arena *arena) {
  run_callbacks(arena);
  Block *block = arena->blocks;
  while (block && block->next) {
    Block *next = block->next;
    arena->held -= block->size + sizeof *block;
    block_free(block);
    block = next;
  }
  if (block) {
    UNPOISON(block->bytes, block->size);
    memset(block->bytes, 0, block->used);
    POISON(block->bytes, block->size);
    block->used = 0;
  }
  arena->blocks = block;
  arena->used = 0;
  arena->next_size = FIRST_BLOCK;
}

size_t arena_used(const Arena *arena) { return arena->used; }
size_t arena_held(const Arena *arena) { return arena->held; }
void arena_charge(Arena *arena, int64_t bytes) { arena->held += (size_t)bytes; }

bool arena_owns(const Arena *arena, const void *bytes) {
  uintptr_t at = (uintptr_t)bytes;
  for (const Block *block = arena->blocks; block; block = block->next)
    if (at >= (uintptr_t)block->bytes && at - (uintptr_t)block->bytes < block->size) return true;
  return false;
}

// From block, or NULL where it has no room. extent is size rounded up to units plus the red zone.
static void *block_take(Block *block, size_t size, size_t extent, size_t alignment) {
  uintptr_t at = (uintptr_t)block->bytes + block->used;
  size_t padding = align_up(at, alignment) - at;
  size_t left = block->size - block->used;
  if (padding > left || extent > left - padding) return NULL;
  unsigned char *bytes = block->bytes + block->used + padding;
  block->used += padding + extent;
  UNPOISON(bytes, size);
  return bytes;
}

// What a request of this size takes of a block, but for padding.
static bool extent_of(size_t size, size_t *extent) {
  if (!checked_add(size, UNIT - 1 + RED_ZONE, extent)) return false;
  *extent &= ~(size_t)(UNIT - 1);
  return true;
}

static void *arena_take(Arena *arena, size_t size, size_t alignment) {
  if (size == 0) size = 1;
  if (alignment < UNIT) alignment = UNIT;
  size_t extent, need;
  if (!extent_of(size, &extent) || !checked_add(extent, alignment - UNIT, &need)) return NULL;
  void *bytes = arena->blocks ? block_take(arena->blocks, size, extent, alignment) : NULL;
  if (!bytes) {
    bool alone = arena->blocks && need > arena->next_size / 4;
    Block *block = block_new(alone ? need : MAX(need, arena->next_size));
    if (!block) return NULL;
    arena->held += block->size + sizeof *block;
    if (alone) {
      block->next = arena->blocks->next;
      arena->blocks->next = block;
    } else {
      block->next = arena->blocks;
      arena->blocks = block;
      arena->next_size = MIN(arena->next_size * 2, (size_t)LARGEST_BLOCK);
    }
    bytes = block_take(block, size, extent, alignment);
  }
  arena->used += size;
  return bytes;
}

bool arena_extend(Arena *arena, void *bytes, size_t size, size_t wanted) {
  Block *block = arena->blocks;
  size_t before, after;
  if (!block || !extent_of(size, &before) || !extent_of(wanted, &after)) return false;
  if ((unsigned char *)bytes + before != block->bytes + block->used || after - before > block->size - block->used) return false;
  block->used += after - before;
  arena->used += wanted - size;
  UNPOISON(bytes, wanted);
  return true;
}

void *arena_alloc(Arena *arena, size_t size) {
  void *bytes = arena_take(arena, size, UNIT);
  if (!bytes) memory_exhausted();
  return bytes;
}

Status arena_try_alloc(Arena *arena, size_t size, size_t alignment, void **out) {
  *out = NULL;
  if (alignment == 0 || (alignment & (alignment - 1)) || alignment > LARGEST_ALIGNMENT)
    FAIL(ERROR_INTERNAL, "alignment %zu is not a power of two up to %d", alignment, LARGEST_ALIGNMENT);
  *out = arena_take(arena, size, alignment);
  if (!*out && budget_is_over(budget_current())) return budget_error_or_out_of_memory();
  if (!*out) FAIL(ERROR_OUT_OF_MEMORY, "out of memory: %zu bytes", size);
  return OK;
}

void *arena_alloc_array(Arena *arena, size_t item_size, size_t count) {
  size_t size;
  if (!checked_mul(item_size, count, &size)) memory_exhausted();
  return arena_alloc(arena, size);
}

void *arena_copy(Arena *arena, const void *bytes, size_t size) {
  void *copy = arena_alloc(arena, size);
  if (size) memcpy(copy, bytes, size);
  return copy;
}

char *arena_string_n(Arena *arena, const char *text, size_t length) {
  size_t size;
  if (!checked_add(length, 1, &size)) memory_exhausted();
  char *copy = arena_alloc(arena, size);
  if (length) memcpy(copy, text, length);
  return copy;
}

char *arena_string(Arena *arena, const char *text) { return arena_string_n(arena, text, text ? strlen(text) : 0); }

char *arena_vprintf(Arena *arena, const char *format, va_list args) {
  char shown[256];  // most are a name or a number
  va_list again;
  va_copy(again, args);
  int written = format_text(shown, sizeof shown, format, again);
  va_end(again);
  size_t length = written > 0 ? (size_t)written : 0;
  char *text = arena_alloc(arena, length + 1);
  if (length < sizeof shown) memcpy(text, shown, length);
  else format_text(text, length + 1, format, args);
  return text;
}

char *arena_printf(Arena *arena, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *text = arena_vprintf(arena, format, args);
  va_end(args);
  return text;
}

void arena_on_free(Arena *arena, void (*fn)(void *context), void *context) {
  Callback *callback = arena_new_of(arena, Callback);
  *callback = (Callback){.next = arena->callbacks, .fn = fn, .context = context};
  arena->callbacks = callback;
}

void *arena_grow(Arena *arena, void *items, size_t item_size, size_t count, uint32_t *capacity) {
  if (*capacity > UINT32_MAX / 2) memory_exhausted();
  uint32_t wider = *capacity ? *capacity * 2 : 8;
  void *moved = arena_alloc_array(arena, item_size, wider);
  if (count) memcpy(moved, items, item_size * count);
  *capacity = wider;
  return moved;
}
