// Every request of Ingot's own code to the system for memory, a thread, a library or a stream, counted, and the n-th of them refused. The
// linker leads the calls here (--wrap), so libraries beside Ingot are not touched: what they do without memory is not ours to test.
#pragma once
#include <stdbool.h>

// From here on the first, second ... request counts as 1, 2 ...; number `fail` is refused, and all behind it where sticky. 0: none.
void allocations_start(long fail, bool sticky);
long allocations_stop(void);            // how many there were; none is refused any more
const char *allocations_refused(void);  // which function the first refused request was to; NULL: it was not reached
long allocations_live(void);            // blocks and mappings that were handed out and not given back, since the program began
