// Results of operator cases kept in a file, and compared with those of another device: what the emulated GPU computes must be what a real
// one does, within what is stated for each kernel in bounds.inc.
#pragma once
#include "ir/tensor.h"

typedef struct Record Record;

// against: the file is read and results are compared with it; else it is written, by several processes at once if need be.
MUST_CHECK Status record_open(const char *path, bool against, Record **out);
// A result of the case by the tactic's candidate of this number. ERROR_MISMATCH: beyond the bound, or not in the file.
MUST_CHECK Status record_take(Record *record, const char *name, const char *tactic, int candidate, int output,
                              const Tensor *tensor);
// After a comparison: a line a tactic, with its bound and the largest difference seen.
void record_report(const Record *record);
void record_close(Record *record);
