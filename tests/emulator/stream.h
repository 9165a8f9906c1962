// Streams, events and graphs of the emulated device. See stream.c.
#pragma once
#include "tests/emulator/emulator.h"

typedef enum OperationKind {
  OPERATION_LAUNCH,
  OPERATION_COPY,
  OPERATION_FILL,
  OPERATION_CALL,
  OPERATION_MARK,
  OPERATION_WAIT
} OperationKind;

typedef struct Operation {
  struct Operation *next;  // in its stream's queue
  OperationKind kind;
  int references;
  bool done, joined;
  struct Operation *before;  // on its stream
  struct Operation **waits;
  int wait_count;
  uint32_t clock[STREAM_LIMIT];  // what precedes it; complete when it runs
  uint64_t ticks;                // when it ended
  Launch launch;                 // of all kinds: stream and index
  char *to, *staged;             // staged: parameters, or what a copy from pageable memory found there
  const char *from;
  size_t size;
  uint32_t value;
  int width;
  void (*call)(void *data);
  void *call_data;
} Operation;

typedef struct Graph {
  Operation **nodes;
  Operation **changed;      // of one that was instantiated: what is launched in a node's place; NULL: the node
  int count, lanes;         // lanes: streams that took part in the capture
  struct Graph *next;       // of those that were captured and are there
  uint64_t number, origin;  // of a captured one; of that which it was instantiated from
} Graph;

typedef struct Stream {
  struct Stream *next;
  int number, device;
  bool listed, closed;  // closed: goes when its queue is empty
  Operation *queue, *queue_end, *last;
  Graph *capturing;
  int capture_lane;
  bool capture_origin;
  Operation *capture_last;
  struct Stream *beside[STREAM_LIMIT];  // that stand for the other lanes of graphs launched here, one graph after the other
} Stream;

typedef struct Event {
  Operation *last;
  Graph *graph;  // if recorded in a capture
} Event;

Stream *stream_of(CudaStream handle);
Stream *stream_new(int device);
void stream_free(Stream *stream);
bool stream_is_there(const Stream *stream);  // and was not freed
bool device_is_busy(void);
bool module_is_queued(const Module *module);
void launches_forget(const Module *module);
void streams_finish(void);
void streams_forget(void);
Operation *operation_new(OperationKind kind);
bool operation_finish(Operation *op);  // false: it waits for something that never comes
bool operation_done_by_now(const Operation *op);
void stream_enqueue(Stream *stream, Operation *op);
void stream_wait(Stream *stream, Event *event);
void event_record(Event *event, Stream *stream);
void event_free(Event *event);
bool capture_is_joined(const Stream *origin);  // everything that was captured is before what it is given next
void capture_end(Graph *graph);
void graph_free(Graph *graph);
Graph *graph_copy(const Graph *graph);
void graph_captured(Graph *graph);
bool graph_is_there(const Graph *exec);  // the one that it was instantiated from
CudaResult graph_change(Graph *exec, const Operation *node, const Launch *launch, void **values);
CudaResult graph_launch(Graph *graph, Stream *stream);
void launch_arguments(Operation *op, void **values);
