// vsnprintf for what most texts are made of: names and integers, in plain conversions. See format.c.
#pragma once
#include <stdarg.h>
#include <stddef.h>

// As vsnprintf: writes up to `room` bytes with the NUL; returns the length of the whole.
int format_text(char *out, size_t room, const char *format, va_list args);
int format_into(char *out, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));
