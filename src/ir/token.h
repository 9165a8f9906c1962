// The lexical pieces of the text form, shared by dimensions and graphs: spaces and comments, words, quoted strings, and
// numbers that read back to the same bits. Independent of the process's locale.
#pragma once
#include <stdbool.h>
#include "base/hash.h"
#include "base/text.h"

enum { TOKEN_MAX_NESTING = 64 };

// Skips white space and comments (from // to the end of the line).
void token_skip_space(const char **cursor);
// Skips space, then the given text if it is next. A word must not go on after it.
bool token_accept(const char **cursor, const char *text);
bool token_accept_word(const char **cursor, const char *word);
MUST_CHECK Status token_expect(const char **cursor, const char *text);
// What comes next, for error messages: the rest of the line, at most 24 bytes. "%.*s" takes it.
int token_glimpse_length(const char *cursor);
#define TOKEN_GLIMPSE(cursor) token_glimpse_length(cursor), (cursor)

// "text" with \" \\ \n \t \xNN; any bytes but NUL go in and come back.
void token_quote(Text *text, const char *string);
MUST_CHECK Status token_parse_quoted(Arena *arena, const char **cursor, char **out);

// Names: plain where every byte satisfies the class, otherwise quoted.
typedef bool TokenClass(unsigned char byte);
TokenClass token_is_name_byte;        // letters, digits, _ . / -
TokenClass token_is_identifier_byte;  // letters, digits, _ .
void token_print_name(Text *text, TokenClass *plain, const char *name);
MUST_CHECK Status token_parse_name(Arena *arena, const char **cursor, TokenClass *plain, char **out);

bool token_parse_i64(const char **cursor, int64_t *out);  // false: not an integer or out of range; cursor unmoved
bool token_parse_u64(const char **cursor, uint64_t *out);
bool token_parse_hex(const char **cursor, uint64_t *out);  // digits only, at most 16
bool token_parse_hash(const char **cursor, Hash128 *out);  // as hash128_hex writes it: 32 digits
// The shortest of a few precisions that reads back to the same value; always has one of ". e n i" in it. NaN prints as
// nan whatever its bits. float_only: it is enough that the value reads back to the same float.
void token_print_double(Text *text, double value, bool float_only);
bool token_parse_double(const char **cursor, double *out);
