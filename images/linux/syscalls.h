/* System calls of AArch64 Linux, without a C library: the tool has to build with a bare compiler.  Numbers and layouts
 * are those of the kernel's user interface (asm-generic/unistd.h, asm/sigcontext.h, linux/kvm.h). */
#ifndef SYSCALLS_H
#define SYSCALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYS_IOCTL 29
#define SYS_OPENAT 56
#define SYS_CLOSE 57
#define SYS_WRITE 64
#define SYS_EXIT_GROUP 94
#define SYS_RT_SIGACTION 134
#define SYS_RT_SIGRETURN 139
#define SYS_CLONE 220
#define SYS_MMAP 222
#define SYS_WAIT4 260

#define AT_FDCWD (-100)
#define O_RDWR 2
#define O_SYNC 04010000
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_SHARED 1
#define MAP_ANONYMOUS 0x20
#define SIGCHLD 17
#define SIGBUS 7
#define SIGSEGV 11
#define SIGILL 4
#define SA_SIGINFO 4ul

long syscall6(long number, long a, long b, long c, long d, long e, long f);

static inline long call3(long number, long a, long b, long c)
{
    return syscall6(number, a, b, c, 0, 0, 0);
}

/* What mmap and friends return when they fail: -errno. */
static inline bool is_error(long result)
{
    return (unsigned long)result >= -4095ul;
}

#endif
