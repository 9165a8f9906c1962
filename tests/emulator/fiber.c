// Switching between the threads of a block: each has a stack of its own; a switch saves what the calling convention says a function keeps.
// The address sanitizer has to be told which stack is in use, and that what it noted of a stack's frames is void when another thread gets it.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "tests/emulator/emulator.h"
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_SIZE = 128 << 10, GUARD = 4096 };

#if defined(__x86_64__)
__asm__(
    ".text\n.globl fiber_switch\n.hidden fiber_switch\n.type fiber_switch, @function\nfiber_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n  ret\n"
    ".size fiber_switch, .-fiber_switch\n");
enum { SAVED_WORDS = 6 };
#elif defined(__aarch64__)
__asm__(
    ".text\n.globl fiber_switch\n.hidden fiber_switch\n.type fiber_switch, %function\nfiber_switch:\n"
    "  sub sp, sp, #160\n  stp x19, x20, [sp]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n  stp x25, x26, [sp, "
    "#48]\n"
    "  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n"
    "  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
    "  mov x2, sp\n  str x2, [x0]\n  mov sp, x1\n"
    "  ldp x19, x20, [sp]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n  ldp x25, x26, [sp, #48]\n"
    "  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n"
    "  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n  add sp, sp, #160\n  ret\n"
    ".size fiber_switch, .-fiber_switch\n");
#else
#error "the emulator knows how to switch stacks on x86-64 and aarch64"
#endif

void fiber_switch(void **save_stack_pointer, void *stack_pointer);

static void *host_stack_pointer;
#ifdef __SANITIZE_ADDRESS__
static void *host_fake_stack;
static const void *host_stack;
static size_t host_stack_size;
#endif

void fiber_enter(Fiber *fiber) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&host_fake_stack, fiber->stack + GUARD, STACK_SIZE - GUARD);
  fiber_switch(&host_stack_pointer, fiber->stack_pointer);
  __sanitizer_finish_switch_fiber(host_fake_stack, NULL, NULL);
#else
  fiber_switch(&host_stack_pointer, fiber->stack_pointer);
#endif
}

void fiber_entered(void) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(NULL, &host_stack, &host_stack_size);
#endif
}

void fiber_leave(Fiber *fiber, bool for_good) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(for_good ? NULL : &fiber->fake_stack, host_stack, host_stack_size);
  fiber_switch(&fiber->stack_pointer, host_stack_pointer);
  __sanitizer_finish_switch_fiber(fiber->fake_stack, NULL, NULL);
#else
  fiber_switch(&fiber->stack_pointer, host_stack_pointer);
#endif
}

void fiber_start(Fiber *fiber, void (*entry)(void)) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(fiber->stack + GUARD, STACK_SIZE - GUARD);
#endif
  uintptr_t top = ((uintptr_t)fiber->stack + STACK_SIZE) & ~(uintptr_t)63;
#if defined(__x86_64__)
  void **at = (void **)(top - 56);  // aligned as after a call; what lies above is never reached: the entry does not return
  *at = NULL;
  *--at = (void *)(uintptr_t)entry;
  at -= SAVED_WORDS;
  memset(at, 0, SAVED_WORDS * sizeof *at);
#else
  void **at = (void **)(top - 64 - 160);
  memset(at, 0, 160);
  at[11] = (void *)(uintptr_t)entry;
#endif
  fiber->stack_pointer = at;
}

// A page at the lower end of each may not be touched.
char *fiber_stacks(unsigned count, size_t *size) {
  static char *stacks;
  static unsigned made;
  *size = STACK_SIZE;
  if (count <= made) return stacks;
  if (stacks) munmap(stacks, (size_t)made * STACK_SIZE);
  made = count < BLOCK_THREADS ? BLOCK_THREADS : count;
  stacks = mmap(NULL, (size_t)made * STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stacks == MAP_FAILED) abort();
  for (unsigned i = 0; i < made; i++) mprotect(stacks + (size_t)i * STACK_SIZE, GUARD, PROT_NONE);
  return stacks;
}
