// See html.h.
#include "cli/report/html.h"

#include <string.h>

static const char *escape_of(char c) {
  switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
  }
}

void html_add(Text *text, const char *name) {
  while (*name) {
    size_t plain = strcspn(name, "&<>\"'");
    text_add_n(text, name, plain);
    name += plain;
    const char *escape = *name ? escape_of(*name) : NULL;
    if (!escape) continue;
    text_add_n(text, escape, strlen(escape));
    name++;
  }
}

static bool begins_character(char c) { return (c & 0xc0) != 0x80; }

void html_add_end(Text *text, const char *name, int most) {
  int characters = 0;
  for (const char *at = name; *at; at++) characters += begins_character(*at);
  if (characters > most) {
    for (int skip = characters - most + 1; skip > 0 || !begins_character(*name); name++) skip -= begins_character(*name);
    text_add(text, "\xe2\x80\xa6");
  }
  html_add(text, name);
}

// A "<" only stands inside of JSON's strings, where it may be written as its number.
void html_json(Text *text, const char *json) {
  while (*json) {
    size_t plain = strcspn(json, "<>&");
    text_add_n(text, json, plain);
    json += plain;
    if (*json) text_add(text, "\\u%04x", (unsigned char)*json++);
  }
}
