// One text of many, for the host's compiler, after device.hpp, which gives CUDA's built-in names: the kernel's source with its headers expanded in
// place, where line markers keep the names of its files; then a line for each kernel and for the dynamic shared memory, by which
// module.c finds them.
#include <ctype.h>
#include <string.h>
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

// Whether the text differs with the architecture; where it does only for a GPU, the emulated one is not told, so that architectures share objects.
static bool asks_architecture(const char *text) {
  for (const char *at = text; (at = strstr(at, "__CUDA_ARCH__")); at++) {
    const char *gpu_only = strstr(at, "!defined(EMULATED)");
    if (!gpu_only || gpu_only > strchrnul(at, '\n')) return true;
  }
  return false;
}

const char *program_compose(Program *p, int sm) {
  Text body = text_new(p->arena), whole = text_new(p->arena);
  memset(p->included, 0, (size_t)p->header_count * sizeof *p->included);
  expand(p, "kernel.cu", p->source, &body);
  if (asks_architecture(text_get(&body))) text_add(&whole, "#define __CUDA_ARCH__ %d\n", sm * 10);
  text_add(&whole, "%s\n", text_get(&body));
  register_kernels(text_get(&body), &whole);
  define_dynamic(text_get(&body), &whole);
  return text_get(&whole);
}
