// Logging goes to the caller's function, or nowhere. Severities are TensorRT's, so that loggers port one to one.
#pragma once
#include <stdarg.h>

typedef enum LogSeverity { LOG_INTERNAL_ERROR, LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_VERBOSE } LogSeverity;
typedef struct Log {
  void (*write)(void *context, LogSeverity severity, const char *message);  // NULL: silent
  void *context;
  LogSeverity most;  // messages less severe than this are dropped
} Log;
void log_add(const Log *log, LogSeverity severity, const char *format, ...) __attribute__((format(printf, 3, 4)));
