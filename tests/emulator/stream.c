// Streams, events and graphs. Work is queued and done late: when somebody waits for it, or when the seed says so; among streams the seed
// chooses. Every operation has a vector clock over the streams, so that an access can be judged by what the program ordered, not by
// what happened to come first.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/thread.h"
#include "tests/emulator/stream.h"

char *stream_arguments_begin, *stream_arguments_end;

static Stream *streams;  // all, the default one included
static Stream default_stream;
static uint32_t stream_operations[STREAM_LIMIT];  // so far; numbers of streams are used again, those of operations are not
static uint32_t host_clock[STREAM_LIMIT];         // what the host has waited for
static Launch *kept_launches;                     // whose operation is over; cells remember them

// --- Serials: which launch a group belonged to.

typedef struct Ran {
  uint32_t serial;  // its first
  const Launch *launch;
} Ran;
static Ran *ran;
static size_t ran_count, ran_room;
static uint32_t next_serial = 1;

static void ran_add(Launch *launch) {
  if (ran_count == ran_room) {
    ran_room = ran_room ? 2 * ran_room : 1024;
    ran = realloc(ran, ran_room * sizeof *ran);
    if (!ran) abort();
  }
  launch->serial_first = next_serial;
  ran[ran_count++] = (Ran){next_serial, launch};
}

uint32_t serial_take(Launch *launch) {
  if (next_serial >> (64 - EPOCH_SERIAL_SHIFT)) {
    finding_host(FOUND_TIMEOUT, "more blocks than an emulated device can number");
    next_serial = 1;
  }
  return next_serial++;
}

const Launch *serial_launch(uint32_t serial) {
  size_t low = 0, high = ran_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (ran[middle].serial <= serial) low = middle + 1;
    else high = middle;
  }
  return low ? ran[low - 1].launch : NULL;
}

bool serial_ordered(uint32_t before, const Launch *now) {
  const Launch *launch = serial_launch(before);
  return !launch || launch->index <= now->clock[launch->stream];
}

// --- Operations.

static void raise(uint32_t *to, const uint32_t *from) {
  for (int i = 0; i < STREAM_LIMIT; i++)
    if (from[i] > to[i]) to[i] = from[i];
}

static Operation *operation_keep(Operation *op) {
  if (op) op->references++;
  return op;
}
static void operation_drop(Operation *op) {
  if (!op || --op->references) return;
  for (int i = 0; i < op->wait_count; i++) operation_drop(op->waits[i]);
  operation_drop(op->before);
  free(op->waits);
  free(op->staged);
  free(op);
}

Operation *operation_new(OperationKind kind) {
  Operation *op = calloc(1, sizeof *op);
  if (!op) abort();
  op->kind = kind;
  op->references = 1;
  return op;
}

static void operation_wait_on(Operation *op, Operation *other) {
  if (!other || other->done) {
    if (other) raise(op->clock, other->clock);
    return;
  }
  op->waits = realloc(op->waits, (size_t)(op->wait_count + 1) * sizeof *op->waits);
  if (!op->waits) abort();
  op->waits[op->wait_count++] = operation_keep(other);
}

static bool ready(const Operation *op) {
  for (int i = 0; i < op->wait_count; i++)
    if (!op->waits[i]->done) return false;
  return !op->before || op->before->done;
}

// Operations of the host are groups of one thread, so that their accesses are judged like all others.
void host_access(Launch *launch, uintptr_t address, size_t size, bool write) {
  static Knowledge knowledge;
  static uint32_t numbers[4];
  Group group = {.launch = launch, .serial = serial_take(launch), .thread_count = 1};
  Thread thread = {.group = &group, .epoch = epoch_make(group.serial, 0, 1), .clock = 1, .knowledge = &knowledge};
  knowledge.clock = numbers;
  knowledge.fenced = numbers + 2;
  Thread *threads[1] = {&thread};
  group.threads = threads;
  emulator.group = &group;
  if (!setjmp(emulator.on_host)) {
    const Allocation *a = memory_find(address);
    if (!a || size > a->end - address) {
      char place[160];
      finding(FOUND_ADDRESS, 0, "a copy or fill of %zu bytes reaches %s", size,
              where_name(a ? a->end : address, place, sizeof place));
    }
    access_cells(&thread, memory_cells(address), (unsigned)size, write ? ACCESS_WRITE : ACCESS_READ, 0, address);
  }
  emulator.group = NULL;
}

static void copy_now(Operation *op) {
  bool from_device = memory_is_device((uintptr_t)op->from), to_device = memory_is_device((uintptr_t)op->to);
  if (from_device) host_access(&op->launch, (uintptr_t)op->from, op->size, false);
  if (to_device && !emulator.failed) host_access(&op->launch, (uintptr_t)op->to, op->size, true);
  if (!emulator.failed) memmove(op->to, op->staged ? op->staged : op->from, op->size);
}

static void fill_now(Operation *op) {
  host_access(&op->launch, (uintptr_t)op->to, op->size, true);
  if (emulator.failed) return;
  if (op->width == 1) memset(op->to, (int)op->value, op->size);
  else
    for (size_t i = 0; i < op->size / 4; i++) ((uint32_t *)op->to)[i] = op->value;
}

// Launches outlive their operation: cells remember who touched them.
static Launch *launch_keep(const Launch *launch, const uint32_t *clock) {
  Launch *kept = malloc(sizeof *kept + STREAM_LIMIT * sizeof *clock);
  if (!kept) abort();
  *kept = *launch;
  memcpy(kept + 1, clock, STREAM_LIMIT * sizeof *clock);
  kept->clock = (const uint32_t *)(kept + 1);
  kept->next_kept = kept_launches;
  kept_launches = kept;
  return kept;
}

static void run(Operation *op) {
  for (int i = 0; i < op->wait_count; i++) raise(op->clock, op->waits[i]->clock);
  if (op->before) raise(op->clock, op->before->clock);
  op->clock[op->launch.stream] = op->launch.index;
  if (op->launch.overlaps) {
    const Operation *before = op->before;
    op->launch.overlaps = before && before->kind == OPERATION_LAUNCH;
    if (op->launch.overlaps)
      op->launch.overlapped = before->launch.overlaps ? before->launch.overlapped : before->launch.index - 1;
  }
  bool touches = op->kind == OPERATION_LAUNCH || op->kind == OPERATION_COPY || op->kind == OPERATION_FILL;
  if (touches && !emulator.failed) {
    Launch *launch = launch_keep(&op->launch, op->clock);
    ran_add(launch);
    op->launch = *launch;
    if (op->kind == OPERATION_LAUNCH) {
      stream_arguments_begin = op->staged;
      stream_arguments_end = op->staged + op->size;
      launch_run(launch);
    } else if (op->kind == OPERATION_COPY) {
      copy_now(op);
    } else {
      fill_now(op);
    }
    launch->arguments = NULL;
  }
  if (op->kind == OPERATION_CALL && !emulator.failed) op->call(op->call_data);
  op->ticks = emulator.ticks;
  op->done = true;
  // What it waited for is of no more interest.
  for (int i = 0; i < op->wait_count; i++) operation_drop(op->waits[i]);
  op->wait_count = 0;
  operation_drop(op->before);
  op->before = NULL;
}

// --- Modules that go.

bool module_is_queued(const Module *module) {
  for (const Stream *s = streams; s; s = s->next)
    for (const Operation *op = s->queue; op; op = op->next)
      if (op->kind == OPERATION_LAUNCH && op->launch.function->module == module) return true;
  return false;
}

// What ran stays known, but not by a name.
void launches_forget(const Module *module) {
  static Function unloaded = {.name = "of a module that is unloaded"};
  for (Launch *launch = kept_launches; launch; launch = launch->next_kept)
    if (launch->function && launch->function->module == module) launch->function = &unloaded;
}

// --- Queues.

static void stream_append(Stream *s, Operation *op) {
  raise(op->clock, host_clock);
  op->launch.stream = s->number;
  op->launch.index = ++stream_operations[s->number];
  op->before = operation_keep(s->last);
  operation_drop(s->last);
  s->last = operation_keep(op);
  if (s->queue_end) s->queue_end->next = op;
  else s->queue = op;
  s->queue_end = op;
}

static Operation *stream_pop(Stream *s) {
  Operation *op = s->queue;
  s->queue = op->next;
  if (!s->queue) s->queue_end = NULL;
  return op;
}

static void stream_remove(Stream *s) {
  for (Stream **at = &streams; *at; at = &(*at)->next)
    if (*at == s) {
      *at = s->next;
      break;
    }
  operation_drop(s->last);
  while (s->queue) operation_drop(stream_pop(s));
  free(s);
}

// A device that is busy: for so many seconds no work begins, and what waits for it, waits.
static _Atomic double busy_until;
EMULATED_API void emulator_be_busy(double seconds) { busy_until = time_now() + seconds; }
bool device_is_busy(void) { return time_now() < busy_until; }

// Runs one operation of some stream whose turn the seed says it is; false: none can run.
static bool step(void) {
  Stream *can[STREAM_LIMIT];
  unsigned count = 0;
  while (device_is_busy()) usleep(1000);
  for (Stream *s = streams; s; s = s->next)
    if (s->queue && ready(s->queue) && count < STREAM_LIMIT) can[count++] = s;
  if (!count) return false;
  Stream *s = can[emulator_random(count)];
  Operation *op = stream_pop(s);
  if (s->closed && !s->queue) stream_remove(s);
  run(op);
  operation_drop(op);
  return true;
}

bool operation_finish(Operation *op) {
  while (op && !op->done)
    if (!step()) return false;
  if (op) raise(host_clock, op->clock);
  return true;
}

void streams_finish(void) {
  while (step()) {}
  for (Stream *s = streams; s; s = s->next)
    if (s->last) raise(host_clock, s->last->clock);
}

// As time passes on a device, a question brings the work on by an operation.
bool operation_done_by_now(const Operation *op) {
  if (op && !op->done && !device_is_busy() && !step())
    finding_host(FOUND_TIMEOUT, "what is asked for waits for something that never comes");
  if (op && op->done) raise(host_clock, op->clock);
  return !op || op->done;
}

Stream *stream_of(CudaStream handle) {
  if (!default_stream.listed) {
    default_stream.listed = true;
    default_stream.next = streams;
    streams = &default_stream;
  }
  return (uintptr_t)handle > 2 ? (Stream *)handle : &default_stream;  // 1: CU_STREAM_LEGACY, 2: CU_STREAM_PER_THREAD
}

Stream *stream_new(int device) {
  bool taken[STREAM_LIMIT] = {true};  // the default stream's number is 0
  int number = 0;
  for (const Stream *s = streams; s; s = s->next) taken[s->number] = true;
  while (number < STREAM_LIMIT && taken[number]) number++;
  Stream *s = number < STREAM_LIMIT ? calloc(1, sizeof *s) : NULL;
  if (!s) return NULL;
  *s = (Stream){.next = streams, .number = number, .device = device, .listed = true};
  streams = s;
  return s;
}

// What is queued is still done.
void stream_free(Stream *s) {
  for (int i = 0; i < STREAM_LIMIT; i++)
    if (s->beside[i]) stream_free(s->beside[i]);
  if (s->queue) s->closed = true;
  else stream_remove(s);
}

bool stream_is_there(const Stream *s) {
  const Stream *at = streams;
  while (at && at != s) at = at->next;
  return at && !at->closed;
}

// --- Enqueuing, into the queue or into the graph that is being captured.

static void graph_add(Graph *graph, Stream *s, Operation *op) {
  graph->nodes = realloc(graph->nodes, (size_t)(graph->count + 1) * sizeof *graph->nodes);
  if (!graph->nodes) abort();
  op->launch.stream = s->capture_lane;
  op->before = operation_keep(s->capture_last);
  operation_drop(s->capture_last);
  s->capture_last = operation_keep(op);
  graph->nodes[graph->count++] = op;
}

void stream_enqueue(Stream *s, Operation *op) {
  if (s->capturing) {
    graph_add(s->capturing, s, op);
    return;
  }
  stream_append(s, op);
  operation_keep(op);
  if (emulator_random(8) == 0 && !device_is_busy()) step();
  operation_drop(op);
}

void stream_wait(Stream *s, Event *event) {
  if (!event->last) return;
  if (event->graph && !s->capturing) {  // the stream joins the capture
    s->capturing = event->graph;
    s->capture_lane = event->graph->lanes++;
    s->capture_origin = false;
  }
  Operation *op = operation_new(OPERATION_WAIT);
  operation_wait_on(op, event->last);
  stream_enqueue(s, op);
}

void event_record(Event *event, Stream *s) {
  Operation *op = operation_new(OPERATION_MARK);
  operation_drop(event->last);
  event->last = operation_keep(op);
  event->graph = s->capturing;
  stream_enqueue(s, op);
}

void event_free(Event *event) {
  operation_drop(event->last);
  free(event);
}

static void mark_joined(Operation *op) {
  if (op) op->joined = true;
}

// Nodes stand in an order in which what is waited for comes first.
bool capture_is_joined(const Stream *origin) {
  const Graph *graph = origin->capturing;
  mark_joined(origin->capture_last);
  for (int i = graph->count; i--;) {
    const Operation *op = graph->nodes[i];
    if (!op->joined) continue;
    mark_joined(op->before);
    for (int w = 0; w < op->wait_count; w++) mark_joined(op->waits[w]);
  }
  bool joined = true;
  for (int i = 0; i < graph->count && joined; i++) joined = graph->nodes[i]->joined;
  return joined;
}

// All streams of the capture stop capturing.
void capture_end(Graph *graph) {
  for (Stream *s = streams; s; s = s->next) {
    if (s->capturing != graph) continue;
    s->capturing = NULL;
    operation_drop(s->capture_last);
    s->capture_last = NULL;
  }
}

// --- Graphs: the operations as they were enqueued, copied at each launch.

static Graph *captured_graphs;

void graph_captured(Graph *graph) {
  static uint64_t numbers;
  graph->number = ++numbers;
  graph->next = captured_graphs;
  captured_graphs = graph;
}

bool graph_is_there(const Graph *exec) {
  const Graph *graph = captured_graphs;
  while (graph && graph->number != exec->origin) graph = graph->next;
  return graph != NULL;
}

void graph_free(Graph *graph) {
  for (Graph **at = &captured_graphs; *at; at = &(*at)->next)
    if (*at == graph) {
      *at = graph->next;
      break;
    }
  for (int i = 0; i < graph->count; i++) operation_drop(graph->nodes[i]);
  for (int i = 0; graph->changed && i < graph->count; i++) operation_drop(graph->changed[i]);
  free(graph->changed);
  free(graph->nodes);
  free(graph);
}

Graph *graph_copy(const Graph *graph) {
  Graph *copy = calloc(1, sizeof *copy);
  if (!copy) return NULL;
  *copy = (Graph){.count = graph->count, .lanes = graph->lanes, .origin = graph->number};
  copy->nodes = calloc((size_t)graph->count + 1, sizeof *copy->nodes);
  copy->changed = calloc((size_t)graph->count + 1, sizeof *copy->changed);
  if (!copy->nodes || !copy->changed) abort();
  for (int i = 0; i < graph->count; i++) copy->nodes[i] = operation_keep(graph->nodes[i]);
  return copy;
}

// Everything but the values of its arguments stays.
CudaResult graph_change(Graph *exec, const Operation *node, const Launch *launch, void **values) {
  int i = 0;
  while (i < exec->count && exec->nodes[i] != node) i++;
  if (i == exec->count || node->kind != OPERATION_LAUNCH || node->launch.function != launch->function)
    return 1;  // an invalid value
  Operation *op = operation_new(OPERATION_LAUNCH);
  op->launch = node->launch;
  memcpy(op->launch.grid, launch->grid, sizeof op->launch.grid);
  memcpy(op->launch.block, launch->block, sizeof op->launch.block);
  op->launch.shared_bytes = launch->shared_bytes;
  launch_arguments(op, values);
  operation_drop(exec->changed[i]);
  exec->changed[i] = op;
  return CUDA_OK;
}

static Operation *node_again(const Operation *node) {
  Operation *op = operation_new(node->kind);
  op->launch = node->launch;
  op->to = node->to, op->from = node->from, op->size = node->size, op->value = node->value, op->width = node->width;
  op->call = node->call, op->call_data = node->call_data;
  if (node->kind == OPERATION_LAUNCH) launch_arguments(op, node->launch.arguments);
  else if (node->staged) {
    op->staged = malloc(node->size);
    if (!op->staged) abort();
    memcpy(op->staged, node->staged, node->size);
  }
  return op;
}

CudaResult graph_launch(Graph *graph, Stream *s) {
  Stream *lanes[STREAM_LIMIT] = {s};
  Operation *before = s->last;
  Operation **made = calloc((size_t)graph->count + 1, sizeof *made);
  if (!made) return CUDA_OUT_OF_MEMORY;
  CudaResult result = CUDA_OK;
  for (int i = 1; i < graph->lanes && !result; i++)
    if (i >= STREAM_LIMIT || (!s->beside[i] && !(s->beside[i] = stream_new(s->device)))) result = CUDA_OUT_OF_MEMORY;
    else lanes[i] = s->beside[i];
  for (int i = 0; i < graph->count && !result; i++) {
    const Operation *node = graph->nodes[i];
    made[i] = operation_keep(node_again(graph->changed[i] ? graph->changed[i] : node));
    for (int w = 0; w < node->wait_count; w++)
      for (int j = 0; j < i; j++)
        if (graph->nodes[j] == node->waits[w]) operation_wait_on(made[i], made[j]);
    if (!node->before && node->launch.stream) operation_wait_on(made[i], before);
    stream_append(lanes[node->launch.stream], made[i]);
  }
  Operation *end = operation_new(OPERATION_WAIT);
  for (int i = 1; i < graph->lanes && !result; i++) operation_wait_on(end, lanes[i]->last);
  stream_append(s, end);
  for (int i = 0; i < graph->count; i++) operation_drop(made[i]);
  free(made);
  return result;
}

// --- Launches.

// Copies the values that the program's pointers lead to, as a launch does.
void launch_arguments(Operation *op, void **values) {
  const Kernel *kernel = op->launch.function->kernels[0];
  // Each at a multiple of 64: tensor maps want that.
  size_t head = ((kernel->parameter_count + 1) * sizeof(void *) + 63) / 64 * 64, size = head;
  for (unsigned i = 0; i < kernel->parameter_count; i++) size += ((size_t)kernel->parameter_sizes[i] + 63) / 64 * 64;
  op->staged = aligned_alloc(64, size + 64);
  if (!op->staged) abort();
  op->size = size;
  op->launch.arguments = (void **)op->staged;
  size_t at = head;
  for (unsigned i = 0; i < kernel->parameter_count; i++) {
    op->launch.arguments[i] = op->staged + at;
    memcpy(op->staged + at, values[i], kernel->parameter_sizes[i]);
    at += ((size_t)kernel->parameter_sizes[i] + 63) / 64 * 64;
  }
}

// A context that is given up leaves nothing of the past: what is still queued is dropped, and addresses are never used again.
void streams_forget(void) {
  for (Stream *s = streams; s; s = s->next)
    while (s->queue) operation_drop(stream_pop(s));
  // After a fault no call succeeds, so that a program cannot give its streams back: they go with the context.
  for (Stream *s = streams, *next; s && emulator.failed; s = next) {
    next = s->next;
    if (s != &default_stream) stream_remove(s);
  }
  if (emulator.failed) memset(default_stream.beside, 0, sizeof default_stream.beside);
  operation_drop(default_stream.last);
  default_stream.last = NULL;
  while (kept_launches) {
    Launch *next = kept_launches->next_kept;
    free(kept_launches);
    kept_launches = next;
  }
  ran_count = 0;
}
