/* What the probe's parts offer one another. */
#ifndef PROBE_H
#define PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"
#include "survive.h"

#define PROTOCOL_VERSION 1
#ifdef PROBE_HOST
#define PERSONALITY "host"
#define CURRENT_EL 2
#define CURRENT_WORLD WORLD_NON_SECURE
#define HAS_LOWER false /* whether there is code for the ELs below */
#define HAS_FILL true
#define PSTATE_OWN 0x9ul /* EL2h */
#else
#define PERSONALITY "root"
#define CURRENT_EL 3
#define CURRENT_WORLD WORLD_ROOT
#define HAS_LOWER true
#define HAS_FILL false
#define PSTATE_OWN 0xdul /* EL3h */
#endif

/* Memory plan; the banner announces what the harness needs of it. */
#ifdef PROBE_HOST
#define MAILBOX_PA 0x68000000ul
#else
#define MAILBOX_PA 0x48000000ul
#endif
#define BATCH_PA (MAILBOX_PA + 0x1000)
#define BATCH_SIZE 0x07fff000ul
#define ROOT_PA_LIMIT (1ul << 39) /* what slot 0 of stage 1 reaches with VA == PA */
#define UART_PA 0x09000000ul
#define GICD_PA 0x08000000ul
#define GICR_PA 0x080a0000ul

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

/* mmu.c: stage 1 of EL3 and the window table that the harness fills. */
void mmu_build(void);
void mmu_enable(void);
uint64_t mmu_window_table(void);

/* registers.c: register lists. */
uint32_t registers_first_invalid(const struct register_entry *list, uint32_t count);
void registers_prepare(const struct register_entry *list, uint32_t count, bool keep);
uint32_t context_set(const struct register_entry *list, uint32_t count);
void context_restore(void);
void patch_instruction(uint32_t *slot, uint32_t instruction);
void patch_sync(void);
uint32_t mrs_x0(uint32_t encoding);
uint32_t msr_x0(uint32_t encoding);

/* operations.c: one record. */
struct batch {
    uint64_t base; /* PA of its header */
    uint64_t size; /* bytes from the header to the end of results and pool */
};
/* What the slow path hands to the stub in place of the record's own fields. */
struct operands {
    uint64_t address;
    uint64_t value0;
    uint64_t value1;
    uint64_t aux;
};
void operations_init(void);
void run_record(const struct batch *batch, const struct record *record, struct result *result);
void return_arguments(const struct batch *batch, const struct record *record);
bool is_smc_like(uint32_t op);
bool is_address_translation(const struct record *record);
void run_stub(const struct batch *batch, const struct record *record, const struct operands *operands, stub_t stub);
void report(const struct record *record, struct result *result, enum status status, unsigned outputs);

/* lower.c: records below EL3. */
void lower_init(unsigned pe);
uint64_t lower_base(void);
void lower_leave(void);
void run_lower(const struct batch *batch, const struct record *record, struct result *result);

/* syndrome.c: which exception a lower EL took, told from what EL3 saw. */
struct pages { /* of the state and PE that a record runs in */
    uint64_t stubs;
    uint64_t vectors[3]; /* by EL; [0] is none */
};
struct verdict {
    enum status status;
    uint8_t el; /* where the exception went */
    uint16_t flags;
    uint64_t first_esr;
    uint64_t first_far;
};
struct verdict syndrome_unwind(const struct record *record, const struct pages *pages, uint64_t entry);
void syndrome_clear(void);

/* watchdog.c: a timer interrupt to EL3 that ends a lower EL which does not come back. */
void watchdog_init(unsigned pe);
void watchdog_watch(void);
void watchdog_stop(void);
unsigned gic_pes(void);

/* pes.c: the other PEs. */
struct job {
    const struct batch *batch;
    struct batch_header *header;
};
void pes_start(void);
unsigned pes_online(void);
uint32_t pes_run(const struct job *job); /* enum bad_reason, with index */
void pes_lost(void);                     /* this PE has come to its end */

/* batch.c: one batch; returns enum batch_status and leaves the same in the header where there is one. */
uint32_t run_batch(uint64_t pa, bool check_crc, uint32_t *reason);
void batch_end(void);
struct mailbox *mailbox(void);

/* dump.c */
void dump_store(struct dump *dump, uint64_t pc, uint64_t pstate);

/* memory.c */
void *memcpy(void *restrict to, const void *restrict from, size_t length);

/* crc.c: CRC-32 as zlib computes it; start with 0, go on with the value returned. */
uint32_t crc32(uint32_t crc, const void *data, size_t length);

/* uart.c */
void uart_init(void);
bool uart_get(uint8_t *byte);
void uart_put(char byte);
void uart_text(const char *text);

/* wire.c: frames. */
bool wire_poll(void); /* whether anything came */
void wire_send(uint8_t sequence, const char *command, const void *payload, size_t length);

/* banner.c: text of KEY=VALUE words, without the frame. */
size_t banner_text(char *out, size_t room);
size_t text_pair(char *out, size_t room, size_t at, const char *key, uint64_t value);

/* standalone.c: a case in the image itself. */
bool standalone(void);
void standalone_fatal(void); /* leaves with "could not tell" where there is a case */
__attribute__((noreturn)) void standalone_run(void);

/* serve.c: what every personality does once it is up. */
void serve_init(void); /* before the first nap */
void announce(void);
__attribute__((noreturn)) void serve(void);
void nap(uint64_t ticks);
/* The FATAL frame: the syndrome of an exception that nobody expected. */
void fatal_send(uint64_t esr, uint64_t elr, uint64_t far);

/* main.c and host.c */
void el3_init(void);
void survival_init(const void *stack_top);
void fatal_report(uint64_t esr, uint64_t elr, uint64_t far);

/* sysreg access that the compiler can place */
#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define READ(name)                                                                                                     \
    ({                                                                                                                 \
        uint64_t value_;                                                                                               \
        __asm__ volatile("mrs %0, " STRING(name) : "=r"(value_));                                                      \
        value_;                                                                                                        \
    })
#define WRITE(name, value) __asm__ volatile("msr " STRING(name) ", %0" ::"r"((uint64_t)(value)) : "memory")
#define ISB() __asm__ volatile("isb" ::: "memory")
#define DSB() __asm__ volatile("dsb sy" ::: "memory")

#define GPCCR_EL3 S3_6_C2_C1_6
#define GPTBR_EL3 S3_6_C2_C1_4
#define ENCODING(op0, op1, crn, crm, op2) ((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))
#define ENCODING_GPCCR_EL3 ENCODING(3, 6, 2, 1, 6)
#define ENCODING_GPTBR_EL3 ENCODING(3, 6, 2, 1, 4)
#define ENCODING_SCR_EL3 ENCODING(3, 6, 1, 1, 0)
#define SCR_NS (1ul << 0)
#define SCR_FIQ (1ul << 2)
#define SCR_EA (1ul << 3)
#define SCR_RES1 (3ul << 4)
#define SCR_SMD (1ul << 7)
#define SCR_HCE (1ul << 8)
#define SCR_RW (1ul << 10)
#define SCR_EEL2 (1ul << 18)
#define SCR_NSE (1ul << 62)

#endif
