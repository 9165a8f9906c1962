// See token.h. printf and strtod follow the thread's locale, which belongs to the program Ingot is embedded in, so numbers
// are converted under the C locale, set for the length of one conversion.
#include "ir/token.h"
#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_LENGTH = 64 };

void token_skip_space(const char **cursor) {
  const char *at = *cursor;
  for (;;) {
    if (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r') at++;
    else if (at[0] == '/' && at[1] == '/') at += strcspn(at, "\n");
    else break;
  }
  *cursor = at;
}

bool token_accept(const char **cursor, const char *text) {
  token_skip_space(cursor);
  size_t length = strlen(text);
  if (strncmp(*cursor, text, length) != 0) return false;
  *cursor += length;
  return true;
}

bool token_accept_word(const char **cursor, const char *word) {
  const char *at = *cursor;
  if (!token_accept(&at, word) || token_is_identifier_byte((unsigned char)*at)) return false;
  *cursor = at;
  return true;
}

Status token_expect(const char **cursor, const char *text) {
  if (token_accept(cursor, text)) return OK;
  FAIL(ERROR_INVALID_MODEL, "expected '%s' before '%.*s'", text, TOKEN_GLIMPSE(*cursor));
}

int token_glimpse_length(const char *cursor) {
  int length = 0;
  while (length < 24 && cursor[length] && cursor[length] != '\n') length++;
  return length;
}

void token_quote(Text *text, const char *string) {
  text_add_n(text, "\"", 1);
  for (const char *at = string; *at;) {
    size_t plain = 0;
    while ((unsigned char)at[plain] >= ' ' && at[plain] != '"' && at[plain] != '\\' && at[plain] != 0x7f) plain++;
    text_add_n(text, at, plain);
    at += plain;
    if (!*at) break;
    if (*at == '"' || *at == '\\') text_add(text, "\\%c", *at);
    else if (*at == '\n') text_add(text, "\\n");
    else if (*at == '\t') text_add(text, "\\t");
    else text_add(text, "\\x%02x", (unsigned char)*at);
    at++;
  }
  text_add_n(text, "\"", 1);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Status token_parse_quoted(Arena *arena, const char **cursor, char **out) {
  token_skip_space(cursor);
  if (**cursor != '"') FAIL(ERROR_INVALID_MODEL, "expected a quoted string before '%.*s'", TOKEN_GLIMPSE(*cursor));
  const char *at = *cursor + 1;
  size_t length = 0;
  for (; at[length] != '"'; length++) {
    if (at[length] == '\\' && at[length + 1]) length++;
    if (!at[length]) FAIL(ERROR_INVALID_MODEL, "a quoted string does not end");
  }
  char *string = arena_alloc(arena, length + 1), *to = string;
  for (const char *end = at + length; at < end;) {
    if (*at != '\\') {
      *to++ = *at++;
      continue;
    }
    at++;
    if (*at == 'n') *to++ = '\n';
    else if (*at == 't') *to++ = '\t';
    else if (*at == '"' || *at == '\\') *to++ = *at;
    else if (*at == 'x') {
      int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
      if (low < 0 || high * 16 + low == 0)
        FAIL(ERROR_INVALID_MODEL, "bad escape in a quoted string: \\x wants two hex digits, not 00");
      *to++ = (char)(high * 16 + low);
      at += 2;
    } else {
      FAIL(ERROR_INVALID_MODEL, "bad escape in a quoted string before '%.*s'", TOKEN_GLIMPSE(at));
    }
    at++;
  }
  *to = 0;
  *cursor = at + 1;
  *out = string;
  return OK;
}

bool token_is_identifier_byte(unsigned char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '_' ||
         byte == '.';
}

bool token_is_name_byte(unsigned char byte) { return token_is_identifier_byte(byte) || byte == '/' || byte == '-'; }

// "//" inside a plain name would read as a comment after a space was skipped, so such names are quoted.
void token_print_name(Text *text, TokenClass *plain, const char *name) {
  size_t length = 0;
  while (plain((unsigned char)name[length])) length++;
  if (length && !name[length] && strncmp(name, "//", 2) != 0) text_add_n(text, name, length);
  else token_quote(text, name);
}

Status token_parse_name(Arena *arena, const char **cursor, TokenClass *plain, char **out) {
  token_skip_space(cursor);
  if (**cursor == '"') return token_parse_quoted(arena, cursor, out);
  size_t length = 0;
  while (plain((unsigned char)(*cursor)[length])) length++;
  if (!length) FAIL(ERROR_INVALID_MODEL, "expected a name before '%.*s'", TOKEN_GLIMPSE(*cursor));
  *out = arena_string_n(arena, *cursor, length);
  *cursor += length;
  return OK;
}

static bool parse_digits(const char **cursor, uint64_t *out) {
  const char *at = *cursor;
  uint64_t value = 0;
  if (!isdigit((unsigned char)*at)) return false;
  for (; isdigit((unsigned char)*at); at++) {
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) return false;
  }
  if (token_is_identifier_byte((unsigned char)*at)) return false;
  *cursor = at;
  *out = value;
  return true;
}

bool token_parse_u64(const char **cursor, uint64_t *out) {
  token_skip_space(cursor);
  return parse_digits(cursor, out);
}

bool token_parse_i64(const char **cursor, int64_t *out) {
  token_skip_space(cursor);
  const char *at = *cursor;
  bool negative = *at == '-';
  if (negative) at++;
  uint64_t magnitude;
  if (!parse_digits(&at, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative) return false;
  *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
  *cursor = at;
  return true;
}

bool token_parse_hex(const char **cursor, uint64_t *out) {
  const char *at = *cursor;
  uint64_t value = 0;
  for (; hex_digit(*at) >= 0; at++) {
    if (at - *cursor == 16) return false;
    value = value << 4 | (uint64_t)hex_digit(*at);
  }
  if (at == *cursor) return false;
  *cursor = at;
  *out = value;
  return true;
}

bool token_parse_hash(const char **cursor, Hash128 *out) {
  uint64_t words[2] = {0};
  const char *at = *cursor;
  for (int i = 0; i < 32; i++, at++) {
    if (hex_digit(*at) < 0) return false;
    words[i / 16] = words[i / 16] << 4 | (uint64_t)hex_digit(*at);
  }
  *cursor = at;
  *out = (Hash128){.low = words[1], .high = words[0]};
  return true;
}

static locale_t enter_c_locale(locale_t *made) {
  *made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  return uselocale(*made);
}

static void leave_c_locale(locale_t before, locale_t made) {
  uselocale(before);
  if (made) freelocale(made);
}

void token_print_double(Text *text, double value, bool float_only) {
  static const int precisions[2][3] = {{6, 15, 17}, {4, 6, 9}};
  if (isnan(value)) {
    text_add_n(text, "nan", 3);
    return;
  }
  if (isinf(value)) {
    text_add(text, value < 0 ? "-inf" : "inf");
    return;
  }
  char buffer[NUMBER_LENGTH];
  locale_t made, before = enter_c_locale(&made);
  for (int i = 0; i < 3; i++) {
    snprintf(buffer, sizeof buffer, "%.*g", precisions[float_only][i], value);
    if (float_only ? (float)strtod(buffer, NULL) == (float)value : strtod(buffer, NULL) == value) break;
  }
  leave_c_locale(before, made);
  text_add(text, "%s%s", buffer, strpbrk(buffer, ".e") ? "" : ".0");
}

bool token_parse_double(const char **cursor, double *out) {
  token_skip_space(cursor);
  const char *at = *cursor;
  char buffer[NUMBER_LENGTH];
  size_t length = 0;
  bool negative = *at == '-';
  if (token_accept_word(&at, negative ? "-inf" : "inf")) {
    *out = negative ? -INFINITY : INFINITY;
    *cursor = at;
    return true;
  }
  if (token_accept_word(&at, "nan")) {
    *out = NAN;
    *cursor = at;
    return true;
  }
  while (at[length] && (isdigit((unsigned char)at[length]) || strchr("+-.eE", at[length]))) length++;
  if (length == 0 || length >= sizeof buffer) return false;
  memcpy(buffer, at, length);
  buffer[length] = 0;
  char *end;
  locale_t made, before = enter_c_locale(&made);
  double value = strtod(buffer, &end);
  leave_c_locale(before, made);
  if (end != buffer + length || !isdigit((unsigned char)buffer[strcspn(buffer, "0123456789")])) return false;
  *out = value;
  *cursor = at + length;
  return true;
}
