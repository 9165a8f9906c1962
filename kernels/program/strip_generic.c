// The loops of strip.h for any processor.
#define STRIP_TABLE strip_table_generic
#define STRIP_NAME "generic"
#include "kernels/program/strip_loops.inc"
