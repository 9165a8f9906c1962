// One text of many, for the host's compiler, after device.hpp, which gives CUDA's built-in names: the kernel's source with its headers expanded in
// place, where line markers keep the names of its files; then a line for each kernel and for the dynamic shared memory, by which
// module.c finds them.
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "base/text.h"
#include "tests/emulator/nvrtc.h"

// Every header is included once, as their #pragma once says.
static void expand(Program *p, const char *name, const char *text, Text *out) {
  static const char directive[] = "#include \"";
  text_add(out, "#line 1 \"%s\"\n", name);
  for (int line = 1; *text; line++) {
    const char *end = strchrnul(text, '\n');
    bool known = false;
    if (!strncmp(text, directive, sizeof directive - 1)) {
      const char *path = text + sizeof directive - 1;
      size_t length = strcspn(path, "\"\n");
      for (int i = 0; i < p->header_count && !known; i++) {
        if (strncmp(p->header_paths[i], path, length) || p->header_paths[i][length]) continue;
        known = true;
        if (p->included[i]) continue;
        p->included[i] = true;
        expand(p, p->header_paths[i], p->header_texts[i], out);
        text_add(out, "#line %d \"%s\"", line, name);
      }
    }
    if (!known && strncmp(text, "#pragma once", 12)) text_add_n(out, text, (size_t)(end - text));
    text_add(out, "\n");
    text = *end ? end + 1 : end;
  }
}

// Registers each kernel of the text: finds "__global__", then its bounds if it has any, then the name before the parameters.
static void register_kernels(const char *text, Text *out) {
  text_add(out, "#line 1 \"registration\"\n");
  for (const char *at = strstr(text, "__global__"); at; at = strstr(at, "__global__")) {
    const char *bounds = "0", *end;
    size_t bounds_length = 1;
    at += 10;
    const char *open = strchr(at, '(');
    const char *given = strstr(at, "__launch_bounds__");
    if (!open) return;
    if (given && given < open) {
      bounds = open + 1;
      bounds_length = strcspn(bounds, ",)");
      open = strchr(strchr(bounds, ')'), '(');
      if (!open) return;
    }
    for (end = open; end > at && isspace((unsigned char)end[-1]); end--) {}
    const char *begin = end;
    while (begin > at && (isalnum((unsigned char)begin[-1]) || begin[-1] == '_')) begin--;
    text_add(out, "EMULATED_KERNEL(%.*s, %.*s)\n", (int)(end - begin), begin, (int)bounds_length, bounds);
  }
}

// The variable of dynamic shared memory, whatever its declared type: all the memory there can be.
static void define_dynamic(const char *text, Text *out) {
  const char *at = strstr(text, "extern __shared__ ");
  if (!at) return;
  const char *end = strchr(at, '[');
  if (!end) return;
  const char *begin = end;
  while (isalnum((unsigned char)begin[-1]) || begin[-1] == '_') begin--;
  text_add(out, "EMULATED_DYNAMIC(\"%.*s\")\n", (int)(end - begin), begin);
}

// The architecture as the text hears of it: the largest that it asks for and that this one reaches, 1 where it reaches none, so that architectures which
// are alike to it share an object; 0 where it does not ask, or only on lines that the emulated one answers by itself.
static int architecture_told(const char *text, int architecture) {
  static const char name[] = "__CUDA_ARCH__";
  int told = 0, asked;
  for (const char *at = text; (at = strstr(at, name)); at += sizeof name - 1) {
    const char *own = strstr(at, "defined(EMULATED)");
    if (own && own < strchrnul(at, '\n')) continue;
    if (sscanf(at, "__CUDA_ARCH__ >= %d", &asked) != 1) return architecture;
    told = MAX(told, asked <= architecture ? asked : 1);
  }
  return told;
}

const char *program_compose(Program *p, int sm) {
  Text body = text_new(p->arena), whole = text_new(p->arena);
  memset(p->included, 0, (size_t)p->header_count * sizeof *p->included);
  expand(p, "kernel.cu", p->source, &body);
  int told = architecture_told(text_get(&body), sm * 10);
  if (told) text_add(&whole, "#define __CUDA_ARCH__ %d\n", told);
  text_add(&whole, "%s\n", text_get(&body));
  register_kernels(text_get(&body), &whole);
  define_dynamic(text_get(&body), &whole);
  return text_get(&whole);
}
