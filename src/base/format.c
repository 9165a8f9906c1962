// The kernels of a plan are texts of thousands of names and integers, written anew for each shape. Plain conversions are written here, several times faster than by
// the C library, which parses any format and asks the locale. A format with any other conversion is left to it.
#include "base/format.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

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

// The conversion behind a '%', and what stands behind that; NULL where it is not a plain one.
static const char *write_conversion(Writer *writer, const char *at, va_list *args) {
  switch (*at) {
    case 's': put_string(writer, or_null(va_arg(*args, const char *))); return at + 1;
    case 'd': put_signed(writer, va_arg(*args, int)); return at + 1;
    case 'u': put_unsigned(writer, va_arg(*args, unsigned), false); return at + 1;
    case 'c': put(writer, &(char){(char)va_arg(*args, int)}, 1); return at + 1;
    case '%': put(writer, "%", 1); return at + 1;
    case 'z':
      if (at[1] != 'u') return NULL;
      put_unsigned(writer, va_arg(*args, size_t), false);
      return at + 2;
    case 'l':
      if (at[1] != 'l' || (at[2] != 'd' && at[2] != 'u')) return NULL;
      if (at[2] == 'd') put_signed(writer, va_arg(*args, long long));
      else put_unsigned(writer, va_arg(*args, unsigned long long), false);
      return at + 3;
    default: return NULL;
  }
}

// Whether all conversions are plain; only then the text is whole.
static bool write_plain(Writer *writer, const char *format, va_list *args) {
  for (const char *at = strchr(format, '%'); at; at = strchr(format, '%')) {
    put(writer, format, (size_t)(at - format));
    format = write_conversion(writer, at + 1, args);
    if (!format) return false;
  }
  put_string(writer, format);
  if (writer->room) writer->out[MIN(writer->length, writer->room - 1)] = 0;
  return true;
}

int format_text(char *out, size_t room, const char *format, va_list args) {
  Writer writer = {out, room, 0};
  va_list first;
  va_copy(first, args);
  int length = write_plain(&writer, format, &first) ? (writer.length > INT_MAX ? -1 : (int)writer.length)
                                                    : vsnprintf(out, room, format, args);
  va_end(first);
  return length;
}

int format_into(char *out, size_t room, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = format_text(out, room, format, args);
  va_end(args);
  return length;
}
