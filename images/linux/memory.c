/* One access to a physical address through /dev/mem, in a child: what the access does to it is the answer. */
#include "attack.h"

#define PAGE 4096ul
#define ESR_MAGIC 0x45535201u
#define SIGINFO_CODE 2        /* 32-bit words into siginfo_t */
#define SIGINFO_ADDRESS 2     /* 64-bit words */
#define UCONTEXT_RESERVED 464 /* bytes from ucontext_t to the records that follow the general registers */
#define UCONTEXT_SIZE 4560

enum outcome { NOTHING = 0, CANNOT_OPEN, CANNOT_MAP, MAPPED, DONE, FAULT };

/* Shared by parent and child. */
struct answer {
    uint64_t outcome;
    uint64_t value; /* read, or errno */
    uint64_t signal;
    uint64_t code;
    uint64_t esr;
};

struct action {
    void (*handler)(int, const void *, const void *);
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
};

static volatile struct answer *answer;

/* The ESR among the records of a signal frame; 0 where the kernel gives none. */
static uint64_t esr_of(const char *context)
{
    size_t at = UCONTEXT_RESERVED;
    while (at + 16 <= UCONTEXT_SIZE) {
        const uint32_t *head = (const uint32_t *)(context + at);
        if (head[0] == ESR_MAGIC) {
            return *(const uint64_t *)(context + at + 8);
        }
        if (!head[0] || !head[1]) {
            return 0;
        }
        at += head[1];
    }
    return 0;
}

static void faulted(int signal, const void *info, const void *context)
{
    answer->signal = (uint64_t)signal;
    answer->code = ((const uint32_t *)info)[SIGINFO_CODE];
    answer->esr = esr_of(context);
    answer->outcome = FAULT;
    call3(SYS_EXIT_GROUP, 0, 0, 0);
}

static void access(bool write, uint64_t pa, uint64_t value)
{
    const struct action action = {faulted, SA_SIGINFO, NULL, 0};
    const int signals[] = {SIGBUS, SIGSEGV, SIGILL};
    for (unsigned i = 0; i < 3; i++) {
        syscall6(SYS_RT_SIGACTION, signals[i], (long)&action, 0, 8, 0, 0);
    }
    long file = call3(SYS_OPENAT, AT_FDCWD, (long)"/dev/mem", O_RDWR | O_SYNC);
    if (is_error(file)) {
        answer->outcome = CANNOT_OPEN;
        answer->value = (uint64_t)-file;
        return;
    }
    long page = syscall6(SYS_MMAP, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, (long)(pa & ~(PAGE - 1)));
    if (is_error(page)) {
        answer->outcome = CANNOT_MAP;
        answer->value = (uint64_t)-page;
        return;
    }
    volatile uint64_t *word = (volatile uint64_t *)(page + (long)(pa & (PAGE - 1)));
    answer->outcome = MAPPED;
    if (write) {
        *word = value;
        __asm__ volatile("dsb sy" ::: "memory");
    } else {
        answer->value = *word;
    }
    answer->outcome = DONE;
}

int attack_memory(bool write, uint64_t pa, uint64_t value)
{
    static const char *const words[] = {"nothing", "cannot-open", "cannot-map", "killed", "done", "fault"};
    int status = 0;
    long shared = syscall6(SYS_MMAP, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (is_error(shared)) {
        return 1;
    }
    answer = (volatile struct answer *)shared;
    long child = syscall6(SYS_CLONE, SIGCHLD, 0, 0, 0, 0, 0);
    if (child == 0) {
        access(write, pa, value);
        call3(SYS_EXIT_GROUP, 0, 0, 0);
    }
    if (is_error(child) || is_error(syscall6(SYS_WAIT4, child, (long)&status, 0, 0, 0, 0))) {
        return 1;
    }
    line_begin(write ? "attack: write" : "attack: read");
    line_number("pa", pa);
    line_word("outcome", words[answer->outcome]);
    line_number("value", answer->value);
    line_number("signal", answer->outcome == MAPPED ? (uint64_t)(status & 0x7f) : answer->signal);
    line_number("code", answer->code);
    line_number("esr", answer->esr);
    line_number("pid", (uint64_t)child); /* by which the kernel's log tells the ESR of a process that it killed */
    line_end();
    return 0;
}
