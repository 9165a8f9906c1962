// JSON on one line. Numbers are the shortest that read back the same, whatever decimal separator the process's locale
// has; bytes that are not UTF-8 become U+FFFD, so that the result is JSON whatever a model calls its nodes.
#include "base/json.h"
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

// Bytes of the UTF-8 sequence at text, 0 where there is none: overlong forms, surrogates, beyond U+10FFFF.
static size_t utf8_length(const unsigned char *text) {
  static const struct {
    unsigned char first, last, second_low, second_high, length;
  } forms[] = {
      {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
      {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
      {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
  };
  for (size_t i = 0; i < COUNT_OF(forms); i++) {
    if (text[0] < forms[i].first || text[0] > forms[i].last) continue;
    if (forms[i].length > 1 && (text[1] < forms[i].second_low || text[1] > forms[i].second_high)) return 0;
    for (size_t at = 2; at < forms[i].length; at++)
      if ((text[at] & 0xc0) != 0x80) return 0;
    return forms[i].length;
  }
  return 0;
}

static void add_quoted(Text *text, const char *value) {
  static const char short_escapes[] = {
      ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
  text_add_n(text, "\"", 1);
  for (const unsigned char *at = (const unsigned char *)value; *at;) {
    size_t length = utf8_length(at);
    if (*at < sizeof short_escapes && short_escapes[*at]) text_add(text, "\\%c", short_escapes[*at]);
    else if (*at < 0x20) text_add(text, "\\u%04x", *at);
    else if (length) text_add_n(text, (const char *)at, length);
    else text_add_n(text, "\xef\xbf\xbd", 3);
    at += length ? length : 1;
  }
  text_add_n(text, "\"", 1);
}

// What comes before any value: the comma and the key.
static void begin(Json *json, const char *key) {
  if (json->comma) text_add_n(json->text, ",", 1);
  json->comma = true;
  if (!key) return;
  add_quoted(json->text, key);
  text_add_n(json->text, ":", 1);
}

static void open_scope(Json *json, const char *key, const char *bracket) {
  begin(json, key);
  text_add_n(json->text, bracket, 1);
  json->comma = false;
  json->depth++;
}

static void close_scope(Json *json, const char *bracket) {
  assert(json->depth > 0);
  text_add_n(json->text, bracket, 1);
  json->comma = true;
  json->depth--;
}

Json json_new(Text *text) { return (Json){.text = text}; }
void json_object(Json *json, const char *key) { open_scope(json, key, "{"); }
void json_array(Json *json, const char *key) { open_scope(json, key, "["); }
void json_end_object(Json *json) { close_scope(json, "}"); }
void json_end_array(Json *json) { close_scope(json, "]"); }

void json_string(Json *json, const char *key, const char *value) {
  begin(json, key);
  if (value) add_quoted(json->text, value);
  else text_add_n(json->text, "null", 4);
}

void json_int(Json *json, const char *key, int64_t value) {
  begin(json, key);
  text_add(json->text, "%" PRId64, value);
}

void json_double(Json *json, const char *key, double value) {
  begin(json, key);
  if (!isfinite(value)) {
    text_add_n(json->text, "null", 4);
    return;
  }
  char digits[64];
  for (int precision = 15; precision <= 17; precision++) {
    snprintf(digits, sizeof digits, "%.*g", precision, value);
    if (strtod(digits, NULL) == value) break;
  }
  for (char *at = digits; *at;) {
    size_t separator = 0;  // a locale's separator may take several bytes
    while (at[separator] && !strchr("+-0123456789e", at[separator])) separator++;
    text_add_n(json->text, separator ? "." : at, 1);
    at += separator ? separator : 1;
  }
}

void json_bool(Json *json, const char *key, bool value) {
  begin(json, key);
  text_add(json->text, "%s", value ? "true" : "false");
}
