// Parts of a buffer. Where several steps write into one, each writes the same stretch of every row, a row being as long as the stride of the axes outside of what they share; a
// step that fills a buffer writes its one row. Bytes, so that types do not matter.
#pragma once
#include "lower/plan.h"

enum { MOST_PIECES = 64 };  // of one buffer

typedef struct Piece {
  size_t row;        // bytes of one
  size_t low, high;  // of each: from the first to behind the last
} Piece;

// What a result with elements takes in this place; false where it is no stretch of rows, or lies outside of the buffer.
bool piece_of(const TensorDesc *desc, int64_t offset, size_t buffer_bytes, Piece *out);
// What a reader may look at of rows of this length: a stretch that holds all of it.
Piece piece_read(const TensorDesc *desc, int64_t offset, size_t row);
static inline bool pieces_meet(const Piece *a, const Piece *b) { return a->low < b->high && b->low < a->high; }
