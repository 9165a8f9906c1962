// How a thread computes with floats is state of the thread: rounding, whether subnormal numbers count as zero, which exceptions trap and
// which have happened. A host may have set any of it. Ingot's results do not depend on it, and the host finds it as it was:
// public calls and borrowed threads take the mode that C starts with and put back what they found.
#pragma once
#include <stdint.h>

// What a thread had.
typedef uint64_t FloatMode;

#if defined(__x86_64__)
static inline FloatMode float_mode_take(void) {
  enum { ALL_MASKED_TO_NEAREST = 0x1f80 };
  FloatMode found = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(ALL_MASKED_TO_NEAREST);
  return found;
}
static inline void float_mode_restore(FloatMode found) { __builtin_ia32_ldmxcsr((unsigned)found); }
#elif defined(__aarch64__)
// The control register in the low half, what has happened in the high one.
static inline FloatMode float_mode_take(void) {
  uint64_t control, happened;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  __asm__ volatile("mrs %0, fpsr" : "=r"(happened));
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
  return (control & 0xffffffff) | happened << 32;
}
static inline void float_mode_restore(FloatMode found) {
  __asm__ volatile("msr fpcr, %0" : : "r"(found & 0xffffffff));
  __asm__ volatile("msr fpsr, %0" : : "r"(found >> 32));
}
#else
#error "float_mode.h: this architecture's control register is not known"
#endif
