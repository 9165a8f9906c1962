// What compiled kernels call. The compiler was told to look for data races between threads of the host (-fsanitize=thread), so it puts a call
// before every load and store that is not of a local variable; these are the calls.
#include "tests/emulator/emulator.h"

void thread_preempt(uintptr_t pc);

// A local variable whose address is taken: where it lies, and what of it is moved at once, is the host compiler's affair.
static inline bool is_local(uintptr_t address) { return address - (uintptr_t)emulator.thread->fiber.stack < (128u << 10); }

static inline void hook(uintptr_t address, unsigned size, AccessKind kind, uintptr_t pc) {
  if (is_local(address)) return;
  if (++emulator.ticks >= emulator.preempt_at) thread_preempt(pc);
  access_memory(emulator.thread, address, size, kind, pc);
}

static inline void hook_aligned(void *address, unsigned size, AccessKind kind, uintptr_t pc) {
  uintptr_t at = (uintptr_t)address;
  if (at & (size - 1) && !is_local(at)) {
    char place[160];
    finding(FOUND_MISALIGNED, pc, "%s %u bytes at an address that is no multiple of %u: %s", kind ? "writes" : "reads", size,
            size, where_name(at, place, sizeof place));
  }
  hook(at, size, kind, pc);
}

#define HOOKS(size)                                                                                                       \
  EMULATED_API void __tsan_read##size(void *address) { hook_aligned(address, size, ACCESS_READ, CALLER); }                \
  EMULATED_API void __tsan_write##size(void *address) { hook_aligned(address, size, ACCESS_WRITE, CALLER); }              \
  EMULATED_API void __tsan_unaligned_read##size(void *address) { hook((uintptr_t)address, size, ACCESS_READ, CALLER); }   \
  EMULATED_API void __tsan_unaligned_write##size(void *address) { hook((uintptr_t)address, size, ACCESS_WRITE, CALLER); } \
  EMULATED_API void __tsan_volatile_read##size(void *address) { hook_aligned(address, size, ACCESS_READ, CALLER); }       \
  EMULATED_API void __tsan_volatile_write##size(void *address) { hook_aligned(address, size, ACCESS_WRITE, CALLER); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
EMULATED_API void __tsan_read_range(void *address, unsigned long size) {
  hook((uintptr_t)address, (unsigned)size, ACCESS_READ, CALLER);
}
EMULATED_API void __tsan_write_range(void *address, unsigned long size) {
  hook((uintptr_t)address, (unsigned)size, ACCESS_WRITE, CALLER);
}
EMULATED_API void __tsan_init(void) {}
EMULATED_API void __tsan_func_entry(void *pc) {}
EMULATED_API void __tsan_func_exit(void) {}

EMULATED_API void *__tsan_memcpy(void *to, const void *from, size_t size) {
  hook((uintptr_t)from, (unsigned)size, ACCESS_READ, CALLER);
  hook((uintptr_t)to, (unsigned)size, ACCESS_WRITE, CALLER);
  return __builtin_memcpy(to, from, size);
}
EMULATED_API void *__tsan_memset(void *to, int value, size_t size) {
  hook((uintptr_t)to, (unsigned)size, ACCESS_WRITE, CALLER);
  return __builtin_memset(to, value, size);
}
