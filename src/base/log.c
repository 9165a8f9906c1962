// Formats a message on the stack where it fits, since most do, and hands it to the caller's function.
#include "base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/recover.h"

void log_add(const Log *log, LogSeverity severity, const char *format, ...) {
  if (!log || !log->write || severity > log->most) return;
  char small[1024], *message = small;
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int length = vsnprintf(small, sizeof small, format, args);
  if (length >= (int)sizeof small) {
    char *large = malloc((size_t)length + 1);
    if (large) {  // otherwise the message is cut
      vsnprintf(large, (size_t)length + 1, format, again);
      message = large;
    }
  }
  va_end(again);
  va_end(args);
  HostVisit visit;
  host_enter(&visit);
  if (length >= 0) log->write(log->context, severity, message);
  host_leave(&visit);
  if (message != small) free(message);
}
