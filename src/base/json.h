// JSON, written incrementally. Commas and quoting are the writer's business.
#pragma once
#include <stdbool.h>
#include "base/text.h"

typedef struct Json {
  Text *text;
  bool comma;
  int depth;
} Json;
Json json_new(Text *text);
void json_object(Json *json, const char *key);  // key NULL inside arrays and at the top
void json_array(Json *json, const char *key);
void json_end_object(Json *json);
void json_end_array(Json *json);
void json_string(Json *json, const char *key, const char *value);  // NULL becomes null
void json_int(Json *json, const char *key, int64_t value);
void json_double(Json *json, const char *key, double value);  // NaN and infinities become null
void json_bool(Json *json, const char *key, bool value);
