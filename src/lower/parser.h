// What reading a plan shares: the text at its cursor, the plan as far as it is there, and the tokens that the parts are made of.
#pragma once
#include "ir/graph_text.h"
#include "ir/token.h"
#include "lower/plan.h"

// Bytes that the text has named.
typedef struct PlanContent {
  const void *data;
  size_t bytes;
  Hash128 name;
} PlanContent;

typedef struct PlanParser {
  Arena *arena;
  const char *cursor, *end;
  const DeviceInfo *device;
  const PlanContents *contents;
  GraphContents constants;
  Plan *plan;
  StringMap *buffers;  // number + 1, by name
  IntMap *names;       // PlanContent, by where and how long it is
} PlanParser;

bool plan_accept(PlanParser *p, const char *text);
bool plan_accept_word(PlanParser *p, const char *word);
MUST_CHECK Status plan_expect(PlanParser *p, const char *text);
MUST_CHECK Status plan_expect_word(PlanParser *p, const char *word);
MUST_CHECK Status plan_number(PlanParser *p, int64_t least, int64_t most, int64_t *out);
MUST_CHECK Status plan_int(PlanParser *p, int64_t least, int *out);
MUST_CHECK Status plan_size(PlanParser *p, size_t *out);
MUST_CHECK Status plan_hash(PlanParser *p, Hash128 *out);
MUST_CHECK Status plan_identifier(PlanParser *p, char **out);
MUST_CHECK Status plan_value_name(PlanParser *p, char **out);
MUST_CHECK Status plan_buffer_name(PlanParser *p, int *out);  // its number

// Behind the word `step`: a step, which is appended to the plan.
MUST_CHECK Status plan_parse_step(PlanParser *p);
// Packed constants and launches, as many as there are, into the step's emission.
MUST_CHECK Status plan_parse_launches(PlanParser *p, PlanStep *step);
