// Failing each call of the device once: what faults.c (which walks over the calls and judges) and scenarios.c (what is done meanwhile) share.
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include "ingot/ingot.h"

// The emulator's controls (tests/emulator/fault.c) and the few functions of the driver's that a caller with device memory needs.
typedef struct Emulated {
  void (*fail)(long at, int code, bool sticky, const char *name);
  long (*calls)(void);
  const char *(*failed_call)(void), *(*call_name)(long call);
  int (*live_objects)(void), (*findings)(void);
  int (*retain)(void **context, int device), (*release)(int device), (*push)(void *context), (*pop)(void **context),
      (*current)(void **context);
  int (*alloc)(unsigned long long *address, size_t size), (*free)(unsigned long long address);
  int (*copy_in)(unsigned long long to, const void *from, size_t size, void *stream), (*finish)(void *stream);
} Emulated;

// How calls fail: at most one of a run, or all from it on.
typedef struct Mode {
  const char *name;
  int code;
  bool sticky;
} Mode;

enum { SHAPE_LIMIT = 8 };
typedef struct Subject {  // a model with one input, f32 or u8, and one output, f32
  const char *path;
  char engine[4096], cache[4096];  // files of this run's own: the engine built from it, and where compiled kernels are kept
  int64_t input_shape[SHAPE_LIMIT];
  int input_rank;
  bool open;  // it leaves a size open, which is taken as 1
  ingot_dtype input_dtype;
  size_t input_bytes, output_count;
  void *input;
  float *expected;
} Subject;

// One run of a scenario, with a fault or without.
typedef struct Run {
  const Emulated *emulated;
  const Subject *subject;
  const char *scenario;
  const Mode *mode;  // NULL: nothing is to fail
  long at;           // which call
  int problems;
  bool good;                  // it succeeded, at last
  bool seen;                  // the fault has come, and what it led to was judged
  unsigned long long device;  // memory: places of an input and then an output each
  pthread_mutex_t mutex;      // guards the log: any thread may write to it
  char log[1 << 16];
  size_t log_used;
} Run;

typedef struct Scenario {
  const char *name;
  bool (*prepare)(Run *run), (*run)(Run *run);  // faults come while `run` runs, and only there. false: it could not go on
  void (*clean)(Run *run);                      // in any case
  bool repeats;                                 // it measures: the same few calls come hundreds of times
  enum { ANY, FIXED, OPEN } sizes;              // which subjects it is for
  bool asked_for;                               // only by name: with many rows it takes long for all but a small subject
} Scenario;
extern const Scenario scenarios[];  // ends with a NULL name

bool subject_open(const Emulated *emulated, const char *path, const char *folder, Subject *out);
void subject_close(Subject *subject);

__attribute__((format(printf, 2, 3))) void problem(Run *run, const char *format, ...);
// Judges what a call of the library returned and frees it. true: it succeeded.
bool judge(Run *run, const char *what, ingot_error *error);
// As above for calls that return nothing.
void judge_free(Run *run);
void log_message(void *context, ingot_severity severity, const char *message);
