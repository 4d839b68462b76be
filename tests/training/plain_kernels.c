/* Loaded before a program on x86-64 (LD_PRELOAD), it hides AVX-512, VNNI and AMX: the program sees a processor
 * with AVX2 alone, and its int8 kernels are those of such a processor. Needs a processor and a kernel that let
 * the instruction CPUID fault ("cpuid_fault" in /proc/cpuinfo); elsewhere the program ends with 3 at once.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SET_CPUID = 0x1012 }; /* ARCH_SET_CPUID of arch_prctl(2) */

static long let_cpuid(int allowed) { return syscall(SYS_arch_prctl, SET_CPUID, allowed); }

static uint32_t without(uint32_t bits, const int *hidden, int count) {
  for (int i = 0; i < count; i++) bits &= ~(1u << hidden[i]);
  return bits;
}

/* Intel SDM, volume 2, CPUID, leaf 7. */
static const int EBX_0[] = {16, 17, 21, 26, 27, 28, 30, 31}; /* AVX512 F DQ IFMA PF ER CD BW VL */
static const int ECX_0[] = {1, 6, 11, 12, 14};               /* AVX512 VBMI VBMI2 VNNI BITALG VPOPCNTDQ */
static const int EDX_0[] = {2, 3, 8, 22, 23, 24, 25};        /* AVX512 4VNNIW 4FMAPS VP2INTERSECT FP16, AMX */
static const int EAX_1[] = {4, 5, 21, 23};                   /* AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA */
static const int EDX_1[] = {4, 5, 8, 10, 19};                /* AVX-VNNI-INT8, NE-CONVERT, AMX-COMPLEX, VNNI-INT16, AVX10 */
#define WITHOUT(bits, hidden) without(bits, hidden, sizeof(hidden) / sizeof(*hidden))

static void answer(int signal_number, siginfo_t *about, void *context) {
  (void)about;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *at = (const uint8_t *)registers[REG_RIP];
  if (at[0] != 0x0f || at[1] != 0xa2) { /* another fault: happens again, and ends the program */
    signal(signal_number, SIG_DFL);
    return;
  }
  uint32_t leaf = registers[REG_RAX], part = registers[REG_RCX], a = leaf, b, c = part, d;
  let_cpuid(1);
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  let_cpuid(0);
  if (leaf == 7 && part == 0) {
    b = WITHOUT(b, EBX_0);
    c = WITHOUT(c, ECX_0);
    d = WITHOUT(d, EDX_0);
  } else if (leaf == 7 && part == 1) {
    a = WITHOUT(a, EAX_1);
    d = WITHOUT(d, EDX_1);
  }
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, 0);
  if (let_cpuid(0) != 0) _exit(3);
}
