// Where the time goes until an engine gives its first results: seconds by what is done, added up where it is done. What happens beside
// something else (on another thread) is not counted a second time.
#pragma once

typedef enum OpeningPart {
  OPENING_FILE,        // reading it, and checking the sums in it
  OPENING_GRAPH,       // its texts, up to a verified graph
  OPENING_DEVICE,      // a session's device, with a context where the caller brings none
  OPENING_SPECIALISE,  // the graph made static for shapes that no plan is at hand for, or bound to them
  OPENING_PLAN,        // the engine's read and verified, or one made
  OPENING_KERNELS,     // compiled or found, and loaded
  OPENING_CONSTANTS,   // brought into the form that kernels read
  OPENING_UPLOAD,      // memory for them, and the copies
  OPENING_BIND,        // addresses put into launches
  OPENING_RECORD,      // the launches into a graph
  OPENING_PARTS
} OpeningPart;

typedef struct Opening {
  double seconds[OPENING_PARTS];
  int specialised, bound;  // stages that were made for their shapes, and those that were there and were bound to others
} Opening;
