// Text as HTML. Names are a stranger's: they come into a page through html_add and html_json alone.
#pragma once
#include "base/text.h"

void html_add(Text *text, const char *name);                // as content, or inside of a quoted attribute
void html_add_end(Text *text, const char *name, int most);  // at most so many characters, of which the last ones say most
void html_json(Text *text, const char *json);               // as the content of a <script> that is data
