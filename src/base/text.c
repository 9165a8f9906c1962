// Text grows by doubling inside its arena: as it lies, where nothing was taken behind it; else outgrown copies stay behind until the arena goes, at most as much again.
#include "base/text.h"
#include <string.h>
#include "base/checked.h"
#include "base/format.h"
#include "base/recover.h"

Text text_new(Arena *arena) { return (Text){.arena = arena}; }

// Room for length more bytes and the NUL.
static void text_reserve(Text *text, size_t length) {
  size_t need, doubled;
  if (!checked_add(text->length, length, &need) || !checked_add(need, 1, &need)) memory_exhausted();
  if (need <= text->capacity) return;
  if (!checked_mul(text->capacity, 2, &doubled)) memory_exhausted();
  size_t capacity = MAX(MAX(need, doubled), (size_t)1024);
  if (text->bytes && arena_extend(text->arena, text->bytes, text->capacity, capacity)) {
    text->capacity = capacity;
    return;
  }
  char *bytes = arena_alloc(text->arena, capacity);
  if (text->length) memcpy(bytes, text->bytes, text->length);
  text->bytes = bytes;
  text->capacity = capacity;
}

void text_add_n(Text *text, const char *bytes, size_t length) {
  text_reserve(text, length);
  if (length) memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  text->bytes[text->length] = 0;
}

void text_add(Text *text, const char *format, ...) {
  text_reserve(text, 0);
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  size_t room = text->capacity - text->length;
  int length = format_text(text->bytes + text->length, room, format, args);
  if (length > 0 && (size_t)length >= room) {
    text_reserve(text, (size_t)length);
    format_text(text->bytes + text->length, (size_t)length + 1, format, again);
  }
  if (length > 0) text->length += (size_t)length;
  text->bytes[text->length] = 0;
  va_end(again);
  va_end(args);
}

const char *text_get(const Text *text) { return text->bytes ? text->bytes : ""; }
