// Errors as values. A Status is NULL on success, otherwise an owned error record: a code and a message that names the
// node, the file offset and what was expected. Whoever receives one either returns it (TRY) or frees it. There is no
// errno and no global state, so a Status may cross threads.
#pragma once
#include <stdarg.h>
#include <stddef.h>

typedef enum ErrorCode {
  ERROR_INVALID_ARGUMENT = 1,  // the caller broke the contract of a function
  ERROR_INVALID_MODEL,         // the model's bytes or graph are malformed
  ERROR_UNSUPPORTED,           // well formed, but Ingot does not do it
  ERROR_OUT_OF_MEMORY,         // host or device
  ERROR_IO,                    // a file could not be opened, read or written
  ERROR_DEVICE,                // the CUDA driver or a CUDA library failed
  ERROR_NOT_FOUND,             // a name that nothing has
  ERROR_CORRUPT,               // an engine or cache file fails its checks
  ERROR_MISMATCH,              // two results that should agree do not
  ERROR_CANCELLED,             // the caller, or its progress callback, asked to stop
  ERROR_INTERNAL,              // a defect of Ingot
  ERROR_LIMIT,                 // the caller's limit of memory or time was reached
} ErrorCode;

typedef struct Error *Status;
#define OK ((Status)0)
#define MUST_CHECK __attribute__((warn_unused_result))

// The format may use %m (the text of errno). Where no memory is left the result is status_out_of_memory().
MUST_CHECK Status status_make(ErrorCode code, const char *format, ...) __attribute__((format(printf, 2, 3)));
Status status_out_of_memory(void);  // a static record: costs no allocation, freeing it does nothing
// Prefixes the message with context: "while importing node 'x'" becomes "while importing node 'x': message". Takes
// status and returns its replacement, of the same code; OK stays OK.
MUST_CHECK Status status_context(Status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
ErrorCode status_code(Status status);         // status must not be OK
const char *status_message(Status status);    // "" for OK; lives as long as the status
const char *error_code_name(ErrorCode code);  // "invalid model"
void status_free(Status status);              // OK is fine

#define TRY(call)                        \
  do {                                   \
    Status try_status_ = (call);         \
    if (try_status_) return try_status_; \
  } while (0)
// For functions with one cleanup label: needs a local `Status status` and a label `done`.
#define TRY_GOTO(call)     \
  do {                     \
    status = (call);       \
    if (status) goto done; \
  } while (0)
#define FAIL(code, ...) return status_make(code, __VA_ARGS__)
