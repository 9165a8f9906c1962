// The loops of ir/strip.h for any processor.
#define STRIP_TABLE strip_table_generic
#define STRIP_NAME "generic"
#include "ir/strip_loops.inc"
