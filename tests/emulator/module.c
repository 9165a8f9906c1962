// Modules: the shared object inside an image is loaded once for each block of a cluster, so that each block
// has shared variables of its own. Program counters become lines through addr2line.
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/emulator/emulator.h"

const char image_magic[16] = "INGOTEMULATED1\n";
static Module *modules;

// --- Loading.

typedef struct Search {
  const char *address, *anchor;
  ModuleCopy *copy;
} Search;

static int inspect_object(struct dl_phdr_info *info, size_t size, void *context) {
  Search *search = context;
  const char *begin = NULL, *end = NULL;
  size_t tls = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    const char *from = (const char *)info->dlpi_addr + header->p_vaddr;
    if (header->p_type == PT_TLS) tls = header->p_memsz;
    if (header->p_type != PT_LOAD) continue;
    if (!begin || from < begin) begin = from;
    if (from + header->p_memsz > end) end = from + header->p_memsz;
  }
  if (search->address < begin || search->address >= end) return 0;
  search->copy->begin = begin;
  search->copy->end = end;
  search->copy->anchor_offset = (size_t)(search->anchor - (const char *)info->dlpi_tls_data);
  search->copy->statics_bytes = (uint32_t)tls;
  return 1;
}

// A file of its own name: the loader takes a name it knows for the object it has.
static bool write_object(const Image *image, char path[64]) {
  snprintf(path, 64, "/tmp/ingot-emulated-XXXXXX");
  int file = mkstemp(path);
  if (file < 0) return false;
  bool written = write(file, image->data, image->size) == (ssize_t)image->size;
  close(file);
  if (!written) unlink(path);
  return written;
}

static CudaResult copy_load(const Image *image, ModuleCopy **out) {
  char path[64];
  CudaResult result = CUDA_OUT_OF_MEMORY;
  ModuleCopy *copy = calloc(1, sizeof *copy);
  if (!copy || !write_object(image, path)) {
    free(copy);
    return result;
  }
  copy->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  result = 200;  // invalid image
  if (!copy->library) {
    fprintf(stderr, "emulated device: %s\n", dlerror());
    goto done;
  }
  *(void **)&copy->anchor = dlsym(copy->library, "emulated_anchor_address");
  *(void **)&copy->dynamic = dlsym(copy->library, "emulated_dynamic_address");
  if (!copy->anchor) goto done;
  // Asking for an address makes this thread's memory for the shared variables, which then shows where it lies. Whoever runs a block asks anew: it may be
  // another of the host's threads.
  Search search = {(const char *)(uintptr_t)copy->anchor, copy->anchor(), copy};
  dl_iterate_phdr(inspect_object, &search);
  if (copy->dynamic) {
    copy->dynamic_gap = SHARED_LIMIT;
    copy->statics_bytes -= SHARED_LIMIT;
  }
  result = CUDA_OK;
done:
  unlink(path);
  if (result) free(copy);
  else *out = copy;
  return result;
}

bool module_has_one_kernel(const Module *module) {
  static const char mark[] = "__global__";
  const char *text = module->image->data + module->image->size, *end = text + module->image->source_size;
  const char *first = memmem(text, (size_t)(end - text), mark, sizeof mark - 1);
  return first && !memmem(first + 1, (size_t)(end - first - 1), mark, sizeof mark - 1);
}

CudaResult module_load(const void *bytes, int device, Module **out) {
  const Image *image = bytes;
  if (memcmp(image->magic, image_magic, sizeof image_magic)) return 200;
  size_t size = sizeof *image + image->size + image->source_size;
  Module *module = calloc(1, sizeof *module);
  Image *kept = malloc(size);
  if (!module || !kept) {
    free(module);
    free(kept);
    return CUDA_OUT_OF_MEMORY;
  }
  memcpy(kept, image, size);
  module->image = kept;
  module->device = device;
  CudaResult result = copy_load(kept, &module->copies[0]);
  if (result) {
    free(module);
    free(kept);
    return result;
  }
  module->next = modules;
  modules = module;
  *out = module;
  return CUDA_OK;
}

CudaResult module_copy(Module *module, unsigned rank, ModuleCopy **out) {
  if (!module->copies[rank]) {
    CudaResult result = copy_load(module->image, &module->copies[rank]);
    if (result) return result;
    for (Function *f = module->functions; f; f = f->next) f->kernels[rank] = NULL;
  }
  *out = module->copies[rank];
  return CUDA_OK;
}

EMULATED_API int emulator_modules(void) {
  int count = 0;
  for (const Module *module = modules; module; module = module->next) count++;
  return count;
}

void module_free(Module *module) {
  for (Module **at = &modules; *at; at = &(*at)->next)
    if (*at == module) {
      *at = module->next;
      break;
    }
  for (Function *f = module->functions, *next; f; f = next) {
    next = f->next;
    free(f->name);
    free(f);
  }
  for (int i = 0; i < CLUSTER_BLOCKS; i++)
    if (module->copies[i]) {
      dlclose(module->copies[i]->library);
      free(module->copies[i]);
    }
  free((void *)module->image);
  free(module);
}

CudaResult module_kernel(const ModuleCopy *copy, const char *name, const Kernel **out) {
  char symbol[512];
  snprintf(symbol, sizeof symbol, "emulated_kernel_%s", name);
  *out = dlsym(copy->library, symbol);
  return *out ? CUDA_OK : 500;  // not found
}

CudaResult module_function(Module *module, const char *name, Function **out) {
  const Kernel *kernel;
  CudaResult result = module_kernel(module->copies[0], name, &kernel);
  if (result) return result;
  Function *function = calloc(1, sizeof *function);
  if (!function) return CUDA_OUT_OF_MEMORY;
  *function = (Function){.next = module->functions, .module = module, .name = strdup(name), .dynamic_limit = WITHOUT_OPT_IN};
  function->kernels[0] = kernel;
  module->functions = function;
  *out = function;
  return CUDA_OK;
}

// --- Lines.

static const ModuleCopy *copy_at(const Module *module, uintptr_t pc) {
  for (int i = 0; i < CLUSTER_BLOCKS; i++) {
    const ModuleCopy *copy = module->copies[i];
    if (copy && pc >= (uintptr_t)copy->begin && pc < (uintptr_t)copy->end) return copy;
  }
  return NULL;
}

// Keeps of addr2line's "path:line" what the kernel calls its files.
static bool keep_line(char *line) {
  line[strcspn(line, "\n (")] = 0;
  if (!*line || *line == '?' || strstr(line, "device.hpp") || strstr(line, "registration")) return false;
  const char *known = strstr(line, "kernels/");
  if (!known) known = strrchr(line, '/') ? strrchr(line, '/') + 1 : line;
  memmove(line, known, strlen(known) + 1);
  return true;
}

void module_describe(const Module *module, uintptr_t pc, char *out, size_t room) {
  snprintf(out, room, "an unknown line");
  const ModuleCopy *copy = copy_at(module, pc);
  if (!copy) return;
  char path[64], command[256], line[512];
  if (!write_object(module->image, path)) return;
  snprintf(command, sizeof command, "addr2line -i -e %s 0x%llx 2>/dev/null", path,
           (unsigned long long)(pc - 1 - (uintptr_t)copy->begin));
  FILE *pipe = popen(command, "r");
  size_t used = 0;
  while (pipe && fgets(line, sizeof line, pipe))
    if (keep_line(line) && used < room && !(used && strstr(out, line)))
      used += (size_t)snprintf(out + used, room - used, "%s%s", used ? " < " : "", line);
  if (pipe) pclose(pipe);
  unlink(path);
}

bool module_same_line(Module *module, uintptr_t a, uintptr_t b, char *first, size_t room) {
  char second[300];
  if (a == b) return true;
  for (size_t i = 0; i < sizeof module->alike / sizeof *module->alike; i++)
    if ((module->alike[i][0] == a && module->alike[i][1] == b) || (module->alike[i][0] == b && module->alike[i][1] == a))
      return true;
  module_describe(module, a, first, room);
  module_describe(module, b, second, sizeof second);
  if (strcmp(first, second)) return false;
  uintptr_t *pair = module->alike[module->alike_turn++ % (sizeof module->alike / sizeof *module->alike)];
  pair[0] = a, pair[1] = b;
  return true;
}
