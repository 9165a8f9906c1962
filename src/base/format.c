// The kernels of a plan are texts of thousands of names and integers, written anew for each shape. Plain conversions are written here, several times faster than by
// the C library, which parses any format and asks the locale. A format with any other conversion is left to it.
#include "base/format.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

typedef enum PlainKind {
  PLAIN_TEXT,
  PLAIN_CHARACTER,
  PLAIN_INT,
  PLAIN_UNSIGNED,
  PLAIN_LONG,
  PLAIN_UNSIGNED_LONG,
  PLAIN_SIZE,
  PLAIN_PERCENT
} PlainKind;

typedef struct Plain {
  const char *spelled;
  size_t length;
  PlainKind kind;
} Plain;
static const Plain plain[] = {{"s", 1, PLAIN_TEXT},      {"d", 1, PLAIN_INT},    {"u", 1, PLAIN_UNSIGNED},
                              {"c", 1, PLAIN_CHARACTER}, {"lld", 3, PLAIN_LONG}, {"llu", 3, PLAIN_UNSIGNED_LONG},
                              {"zu", 2, PLAIN_SIZE},     {"%", 1, PLAIN_PERCENT}};

static const Plain *plain_at(const char *conversion) {
  for (size_t i = 0; i < COUNT_OF(plain); i++)
    if (*conversion == *plain[i].spelled && !strncmp(conversion, plain[i].spelled, plain[i].length)) return &plain[i];
  return NULL;
}

typedef struct Writer {
  char *out;
  size_t room, length;  // what does not fit is counted alone
} Writer;

static void put(Writer *writer, const char *bytes, size_t length) {
  if (writer->length < writer->room) memcpy(writer->out + writer->length, bytes, MIN(length, writer->room - writer->length));
  writer->length += length;
}

static void put_string(Writer *writer, const char *string) { put(writer, string, strlen(string)); }

static void put_unsigned(Writer *writer, unsigned long long value, bool negative) {
  char digits[24], *at = digits + sizeof digits;
  do *--at = (char)('0' + value % 10);
  while (value /= 10);
  if (negative) *--at = '-';
  put(writer, at, (size_t)(digits + sizeof digits - at));
}

static void put_signed(Writer *writer, long long value) {
  put_unsigned(writer, value < 0 ? -(unsigned long long)value : (unsigned long long)value, value < 0);
}

static const char *or_null(const char *string) { return string ? string : "(null)"; }  // as the C library writes it

// Whether all conversions are plain; only then the text is whole.
static bool write_plain(Writer *writer, const char *format, va_list args) {
  for (const char *at = strchr(format, '%'); at; at = strchr(format, '%')) {
    const Plain *found = plain_at(at + 1);
    if (!found) return false;
    put(writer, format, (size_t)(at - format));
    switch (found->kind) {
      case PLAIN_TEXT: put_string(writer, or_null(va_arg(args, const char *))); break;
      case PLAIN_CHARACTER: put(writer, &(char){(char)va_arg(args, int)}, 1); break;
      case PLAIN_INT: put_signed(writer, va_arg(args, int)); break;
      case PLAIN_UNSIGNED: put_unsigned(writer, va_arg(args, unsigned), false); break;
      case PLAIN_LONG: put_signed(writer, va_arg(args, long long)); break;
      case PLAIN_UNSIGNED_LONG: put_unsigned(writer, va_arg(args, unsigned long long), false); break;
      case PLAIN_SIZE: put_unsigned(writer, va_arg(args, size_t), false); break;
      case PLAIN_PERCENT: put(writer, "%", 1); break;
    }
    format = at + 1 + found->length;
  }
  put_string(writer, format);
  if (writer->room) writer->out[MIN(writer->length, writer->room - 1)] = 0;
  return true;
}

int format_text(char *out, size_t room, const char *format, va_list args) {
  Writer writer = {out, room, 0};
  va_list again;
  va_copy(again, args);
  int length = write_plain(&writer, format, args) ? (writer.length > INT_MAX ? -1 : (int)writer.length)
                                                  : vsnprintf(out, room, format, again);
  va_end(again);
  return length;
}

int format_into(char *out, size_t room, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = format_text(out, room, format, args);
  va_end(args);
  return length;
}
