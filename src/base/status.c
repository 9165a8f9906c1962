// Error records. The message is allocated with the record, in one piece, so that an error costs one allocation and one
// free; where even that fails there is a static record that says so, which nobody owns.
#include "base/status.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

struct Error {
  ErrorCode code;
  const char *message;  // storage, or a literal for the static record
  char storage[];
};

static struct Error out_of_memory = {.code = ERROR_OUT_OF_MEMORY, .message = "out of memory"};

Status status_out_of_memory(void) { return &out_of_memory; }

// prefix as formatted, then ": " and suffix where there is one.
static Status error_new(ErrorCode code, const char *format, va_list args, const char *suffix) {
  int saved_errno = errno;  // for %m in the second formatting
  va_list again;
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (length < 0) length = 0;
  size_t suffix_size = suffix ? strlen(suffix) + 2 : 0;
  struct Error *error = malloc(sizeof *error + (size_t)length + suffix_size + 1);
  if (!error) return &out_of_memory;
  error->code = code;
  error->message = error->storage;
  error->storage[0] = 0;
  errno = saved_errno;
  vsnprintf(error->storage, (size_t)length + 1, format, args);
  errno = saved_errno;
  if (suffix) {
    memcpy(error->storage + length, ": ", 2);
    memcpy(error->storage + length + 2, suffix, suffix_size - 2);
    error->storage[(size_t)length + suffix_size] = 0;
  }
  return error;
}

Status status_make(ErrorCode code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  Status status = error_new(code, format, args, NULL);
  va_end(args);
  return status;
}

Status status_context(Status status, const char *format, ...) {
  if (!status || status == &out_of_memory) return status;
  va_list args;
  va_start(args, format);
  Status wider = error_new(status->code, format, args, status->message);
  va_end(args);
  if (wider == &out_of_memory) return status;
  status_free(status);
  return wider;
}

ErrorCode status_code(Status status) { return status->code; }

const char *status_message(Status status) { return status ? status->message : ""; }

const char *error_code_name(ErrorCode code) {
  static const char *const names[] = {
      [ERROR_INVALID_ARGUMENT] = "invalid argument",
      [ERROR_INVALID_MODEL] = "invalid model",
      [ERROR_UNSUPPORTED] = "unsupported",
      [ERROR_OUT_OF_MEMORY] = "out of memory",
      [ERROR_IO] = "input/output",
      [ERROR_DEVICE] = "device",
      [ERROR_NOT_FOUND] = "not found",
      [ERROR_CORRUPT] = "corrupt",
      [ERROR_MISMATCH] = "mismatch",
      [ERROR_CANCELLED] = "cancelled",
      [ERROR_INTERNAL] = "internal",
      [ERROR_LIMIT] = "limit reached",
  };
  return (size_t)code < COUNT_OF(names) && names[code] ? names[code] : "unknown";
}

void status_free(Status status) {
  if (status != &out_of_memory) free(status);
}
