// A growable string in an arena: generated kernel source, printed graphs, JSON.
#pragma once
#include "base/arena.h"

typedef struct Text {
  Arena *arena;
  char *bytes;  // NUL terminated once anything was added; NULL before
  size_t length, capacity;
} Text;

Text text_new(Arena *arena);
void text_add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_n(Text *text, const char *bytes, size_t length);
const char *text_get(const Text *text);  // never NULL
