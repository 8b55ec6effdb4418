/* A case linked into the image: run its one batch at start, compare one result with what is permitted, and leave
 * through semihosting with 0 = permitted, 1 = another outcome, 2 = could not tell.  harness/state/elf.py makes such
 * images. */
#include "probe.h"

#define CASE_MAGIC 0x53434352u /* "RCCS" */
#define CASE_VERSION 1u
#define RESULT_WORDS (sizeof(struct result) / 8)
#define SYS_EXIT 0x18ul
#define APPLICATION_EXIT 0x20026ul

enum outcome { PERMITTED = 0, DEVIATES = 1, CANNOT_TELL = 2 };

struct window {
    uint64_t index;
    uint64_t descriptor;
};

/* One permitted outcome: the result's words, and the 16 bytes at `pa` afterwards, each under a mask. */
struct alternative {
    uint64_t mask[RESULT_WORDS];
    uint64_t value[RESULT_WORDS];
    uint64_t pa;
    uint64_t reserved;
    uint64_t memory_mask[2];
    uint64_t memory[2];
};

/* Windows follow the head, alternatives follow them. */
struct standalone_case {
    uint32_t magic;
    uint32_t version;
    uint64_t batch;
    uint32_t record;
    uint32_t windows;
    uint32_t alternatives;
    uint32_t reserved;
};
_Static_assert(sizeof(struct standalone_case) == 32 && sizeof(struct alternative) == 304, "as in harness/state/elf.py");

/* The address of the case; not 0 only in an image that the harness has made of this one. */
const volatile uint64_t standalone_case_pa __attribute__((section(".data.standalone"))) = 0;

static char text[256];

static __attribute__((noreturn)) void leave(enum outcome outcome)
{
    static volatile uint64_t block[2];
    block[0] = APPLICATION_EXIT;
    block[1] = outcome;
    register uint64_t x0 __asm__("x0") = SYS_EXIT;
    register uint64_t x1 __asm__("x1") = (uint64_t)block;
    __asm__ volatile("dsb sy\n hlt #0xf000" ::"r"(x0), "r"(x1) : "memory");
    for (;;) {
        __asm__ volatile("wfi");
    }
}

static __attribute__((noreturn)) void say(const char *what, enum outcome outcome)
{
    uart_text("realmcheck case: ");
    uart_text(what);
    uart_text("\r\n");
    leave(outcome);
}

static void show(const struct result *result)
{
    size_t length = text_pair(text, sizeof(text) - 1, 0, "status", result->status);
    length = text_pair(text, sizeof(text) - 1, length, "taken", result->taken);
    length = text_pair(text, sizeof(text) - 1, length, "EL", result->target_el);
    length = text_pair(text, sizeof(text) - 1, length, "vector", result->vector);
    length = text_pair(text, sizeof(text) - 1, length, "ESR", result->esr);
    length = text_pair(text, sizeof(text) - 1, length, "FAR", result->far);
    length = text_pair(text, sizeof(text) - 1, length, "HPFAR", result->hpfar);
    length = text_pair(text, sizeof(text) - 1, length, "MFAR_EL3", result->mfar);
    length = text_pair(text, sizeof(text) - 1, length, "data0", result->data0);
    length = text_pair(text, sizeof(text) - 1, length, "data1", result->data1);
    text[length] = 0;
    uart_text(text);
    uart_text("\r\n");
}

static bool same(const volatile uint64_t *found, const uint64_t *value, const uint64_t *mask, size_t words)
{
    for (size_t i = 0; i < words; i++) {
        if ((found[i] ^ value[i]) & mask[i]) {
            return false;
        }
    }
    return true;
}

static bool matches(const struct result *result, const struct alternative *one)
{
    return same((const volatile uint64_t *)result, one->value, one->mask, RESULT_WORDS) &&
           (!one->pa || same((const volatile uint64_t *)one->pa, one->memory, one->memory_mask, 2));
}

bool standalone(void)
{
    return standalone_case_pa != 0;
}

void standalone_fatal(void)
{
    if (standalone()) {
        say("the probe itself took an exception", CANNOT_TELL);
    }
}

void standalone_run(void)
{
    const struct standalone_case *one = (const struct standalone_case *)standalone_case_pa;
    if (one->magic != CASE_MAGIC || one->version != CASE_VERSION) {
        say("no case of this version", CANNOT_TELL);
    }
    const struct window *windows = (const struct window *)(one + 1);
    uint64_t *table = (uint64_t *)mmu_window_table();
    for (uint32_t i = 0; i < one->windows; i++) {
        table[windows[i].index] = windows[i].descriptor;
    }
    DSB();
    uint32_t reason;
    const struct batch_header *header = (const struct batch_header *)one->batch;
    uart_text("realmcheck case: running\r\n");
    if (run_batch(one->batch, true, &reason) != BATCH_DONE || one->record >= header->record_count) {
        say("the batch could not be run", CANNOT_TELL);
    }
    const struct result *result = (const struct result *)(one->batch + header->results_offset) + one->record;
    show(result);
    if (result->status != STATUS_DONE || !one->alternatives) {
        say("cannot tell", CANNOT_TELL);
    }
    const struct alternative *alternatives = (const struct alternative *)(windows + one->windows);
    for (uint32_t i = 0; i < one->alternatives; i++) {
        if (matches(result, &alternatives[i])) {
            say("permitted", PERMITTED);
        }
    }
    say("deviates from what is permitted", DEVIATES);
}
