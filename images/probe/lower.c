/* Records below EL3: in the state and at the EL that the record names, from a page of code that EL3 provides there.
 *
 * Every PE has, for each of the states Secure, Non-secure and Realm, a page of stubs and two pages of vectors, for EL1
 * and EL2, all in the physical address space of that state.  Their virtual addresses are their physical ones: a
 * translation regime that the harness sets up has to map them so. */
#include "operations.h"
#include "probe.h"

#define BLOCK 0x10000ul /* a state's pages of one kind; as large as the largest granule of the GPC */
#define STATES 4        /* by enum world; Root has no pages */
#define PAGE 4096ul
#define PAS_SHIFT 39 /* mmu.c */
#define PAS_OF(state) ((uint64_t)((state) ^ 2) << PAS_SHIFT)

#define SPSR_D_I_F (1ul << 9 | 1ul << 7 | 1ul << 6)
#define SPSR_PAN (1ul << 22)
#define SPSR_HANDLER 1ul /* SP_ELx */

/* What EL1 and EL2 have until the harness says otherwise: no translation, no traps. */
#define HCR_RW (1ul << 31)
#define CPTR_EL2_NO_TRAPS 0x32fful
#define CPACR_FPEN (3ul << 20)
#define SCTLR_EL2_RES1 0x30c50830ul
#define SCTLR_EL1_RES1 0x30d00800ul /* with SPAN, EIS and EOS as a PE without these features has them */
#define SCTLR_EL1_FOR_EL0 (1ul << 26 | 1ul << 18 | 1ul << 16 | 1ul << 15 | 1ul << 14) /* UCI nTWE nTWI UCT DZE */

#define DECLARE(operation, how, name, outputs, prepared) DECLARE_##how(lower, name)
COMMON_OPERATIONS(DECLARE)
DECLARE_SAME(lower, return_smc)
DECLARE_SAME(lower, return_svc)
extern void stub_drop(void);
extern void stub_patch(void);
extern char lower_area[], lower_stubs[], lower_vectors[], lower_sys[], lower_mrs[], lower_msr[];

/* A kind of instruction by encoding: slots of so many bytes, the instruction so far into each. */
struct slots {
    const char *first;
    uint8_t size;
    uint8_t instruction;
};
enum kind { KIND_SYS, KIND_MRS, KIND_MSR, KINDS };
static const struct slots slots[KINDS] = {{lower_sys, 16, 0}, {lower_mrs, 8, 0}, {lower_msr, 16, 4}};

/* What the slots of each stub page hold: encodings + 1; `next` is the slot that is given up first. */
struct held {
    uint32_t encoding[LOWER_SLOTS];
    uint32_t next;
};
static struct held held[PES_MAX][STATES][KINDS];

#define ENTRY(operation, how, name, outputs, prepared) [OP_##operation] = {STUBS_##how(lower, name), outputs},
static const struct {
    stub_t stub[4]; /* by size_log2 */
    uint8_t outputs;
} operations[OP_COUNT] = {[OP_SYS] = {STUBS_SAME(lower, nop), 0},
                          [OP_MRS] = {STUBS_SAME(lower, nop), 1},
                          [OP_MSR] = {STUBS_SAME(lower, nop), 0},
                          COMMON_OPERATIONS(ENTRY)};

uint64_t lower_base(void)
{
    return (uint64_t)lower_area;
}

static struct pages pages_of(unsigned state)
{
    uint64_t stubs = (uint64_t)lower_area + state * BLOCK + survival->pe * PAGE;
    const uint64_t kind = STATES * BLOCK;
    return (struct pages){stubs, {0, stubs + kind, stubs + 2 * kind}};
}

static void copy_page(unsigned state, uint64_t pa, const char *from)
{
    uint64_t *to = (uint64_t *)(PAS_OF(state) | pa);
    const uint64_t *source = (const uint64_t *)from;
    for (unsigned i = 0; i < PAGE / sizeof(*to); i++) {
        to[i] = source[i];
    }
    for (uint64_t at = 0; at < PAGE; at += 16) {
        __asm__ volatile("dc cvau, %0" ::"r"((uint64_t)to + at) : "memory");
    }
    __asm__ volatile("dsb ish\n ic iallu\n dsb ish\n isb" ::: "memory");
}

/* Fill this PE's pages and give EL1 and EL2 of this PE known values. */
void lower_init(unsigned pe)
{
    for (unsigned state = 0; state < STATES; state++) {
        if (state != WORLD_ROOT) {
            struct pages pages = pages_of(state);
            copy_page(state, pages.stubs, lower_stubs);
            copy_page(state, pages.vectors[1], lower_vectors);
            copy_page(state, pages.vectors[2], lower_vectors);
        }
    }
    WRITE(hcr_el2, HCR_RW);
    WRITE(cptr_el2, CPTR_EL2_NO_TRAPS);
    WRITE(cpacr_el1, CPACR_FPEN);
    WRITE(sctlr_el2, SCTLR_EL2_RES1);
    WRITE(sctlr_el1, SCTLR_EL1_RES1 | SCTLR_EL1_FOR_EL0);
    WRITE(mdcr_el2, 0);
    WRITE(hstr_el2, 0);
    WRITE(vpidr_el2, READ(midr_el1));
    WRITE(vmpidr_el2, READ(mpidr_el1));
    ISB();
    watchdog_init(pe);
}

/* Put SCR_EL3 back after drops. */
void lower_leave(void)
{
    if (survival->drop.lowered) {
        WRITE(scr_el3, survival->drop.scr_before);
        ISB();
        survival->drop.lowered = 0;
    }
}

/* The stub of an operation that is named by encoding; patched in, unless it is there.  0: the patch took an exception.
 */
static uint64_t slot_for(unsigned state, enum kind kind, uint32_t encoding)
{
    struct held *mine = &held[survival->pe][state][kind];
    const struct slots *where = &slots[kind];
    uint64_t first = pages_of(state).stubs + (uint64_t)(where->first - lower_stubs);
    for (unsigned i = 0; i < LOWER_SLOTS; i++) {
        if (mine->encoding[i] == encoding + 1) {
            return first + i * where->size;
        }
    }
    unsigned i = mine->next;
    uint64_t stub = first + i * where->size;
    uint32_t instruction = kind == KIND_MRS ? mrs_x0(encoding) : msr_x0(encoding);
    mine->encoding[i] = 0;
    survive_op(PAS_OF(state) | (stub + where->instruction), instruction, 0, stub_patch, 0);
    if (survival->taken) {
        return 0;
    }
    mine->encoding[i] = encoding + 1;
    mine->next = (i + 1) % LOWER_SLOTS;
    return stub;
}

/* Address of the record's stub in its state; 0 when it cannot be had. */
static uint64_t entry_of(const struct record *record, const struct pages *pages)
{
    switch (record->op) {
    case OP_SYS:
        return slot_for(record->state, KIND_SYS, (uint32_t)record->aux);
    case OP_MRS:
        return slot_for(record->state, KIND_MRS, (uint32_t)record->aux);
    case OP_MSR:
        return slot_for(record->state, KIND_MSR, (uint32_t)record->aux);
    default:
        return pages->stubs + ((uint64_t)operations[record->op].stub[record->size_log2] - (uint64_t)lower_stubs);
    }
}

static bool sets_scr(const struct batch *batch, const struct record *record)
{
    const struct register_entry *list = (const struct register_entry *)(batch->base + record->regs_offset);
    for (unsigned j = 0; j < record->regs_count; j++) {
        if (list[j].encoding == ENCODING_SCR_EL3) {
            return true;
        }
    }
    return false;
}

static void lay_drop(const struct record *record, const struct pages *pages, uint64_t entry)
{
    struct drop *drop = &survival->drop;
    uint64_t link = record->el ? (uint64_t)lower_return_smc : (uint64_t)lower_return_svc;
    uint64_t state = (record->state & 1 ? SCR_NS : 0) | (record->state & 2 ? SCR_NSE : 0);
    drop->elr = entry;
    drop->spsr = SPSR_D_I_F | (uint64_t)record->el << 2 | (record->el ? SPSR_HANDLER : 0);
    drop->spsr |= record->flags & FLAG_PAN ? SPSR_PAN : 0;
    drop->vbar_el1 = pages->vectors[1];
    drop->vbar_el2 = pages->vectors[2];
    drop->link = pages->stubs + (link - (uint64_t)lower_stubs);
    drop->flags = is_smc_like(record->op) ? DROP_ARGUMENTS : 0;
    /* RW: the stubs are AArch64 code.  SMD: they return by SMC.  FIQ: the watchdog is to get through. */
    drop->scr_clear = SCR_NS | SCR_NSE | SCR_SMD;
    drop->scr_set = state | SCR_RW | SCR_FIQ;
}

/* Invalidate what EL1 and EL2 of the drop's state may have cached; TLBI at EL3 goes by SCR_EL3. */
static void invalidate_state(void)
{
    uint64_t scr = READ(scr_el3);
    uint64_t of_state = (scr & ~survival->drop.scr_clear) | survival->drop.scr_set;
    WRITE(scr_el3, of_state);
    ISB();
    __asm__ volatile("dsb sy\n tlbi alle1" ::: "memory");
    if (of_state & (SCR_NS | SCR_EEL2)) {
        __asm__ volatile("tlbi alle2" ::: "memory"); /* UNDEFINED where the state has no EL2 */
    }
    DSB();
    WRITE(scr_el3, scr);
    ISB();
}

static void report_lower(const struct batch *batch, const struct record *record, struct result *result,
                         const struct pages *pages, uint64_t entry)
{
    struct verdict verdict = {.status = STATUS_DONE};
    uint64_t pc = READ(elr_el3), pstate = READ(spsr_el3);
    bool exceptions = survival->taken != 0;
    if (exceptions) {
        verdict = syndrome_unwind(record, pages, entry);
        pc = survival->elr;
        pstate = survival->spsr;
    }
    bool taken = survival->taken != 0;
    report(record, result, verdict.status, operations[record->op].outputs);
    if (taken) {
        result->target_el = verdict.el;
        result->flags = verdict.flags;
        result->first_esr = verdict.first_esr;
        result->first_far = verdict.first_far;
    } else if (record->op == OP_SYS && is_address_translation(record)) {
        result->par = READ(par_el1);
    }
    if (is_smc_like(record->op)) {
        return_arguments(batch, record);
    }
    if (record->flags & FLAG_DUMP) {
        dump_store((struct dump *)(batch->base + record->dump_offset), pc, pstate);
    }
    if (exceptions) {
        syndrome_clear();
    }
}

/* A record that is valid and below EL3. */
void run_lower(const struct batch *batch, const struct record *record, struct result *result)
{
    const struct pages pages = pages_of(record->state);
    if (!operations[record->op].stub[0]) {
        report(record, result, STATUS_UNSUPPORTED, 0);
        return;
    }
    bool own_scr = record->regs_count && sets_scr(batch, record);
    if (own_scr) {
        lower_leave();
    }
    uint64_t entry = entry_of(record, &pages);
    if (!entry) {
        report(record, result, STATUS_NOT_ENTERED, 0);
        return;
    }
    lay_drop(record, &pages, entry);
    watchdog_watch();
    if (likely(!record->regs_count && !(record->flags & ~FLAG_PAN) && !is_smc_like(record->op))) {
        survive_op(record->address, record->value0, record->value1, stub_drop, record->aux);
    } else {
        const struct operands operands = {record->address, record->value0, record->value1, record->aux};
        if (record->flags & FLAG_TLBI_BEFORE) {
            invalidate_state();
        }
        if (record->flags & FLAG_TLBI_AFTER_REGS) {
            survival->drop.flags |= DROP_INVALIDATE;
        }
        run_stub(batch, record, &operands, stub_drop);
    }
    if (own_scr) { /* the list put SCR_EL3 back, or KEEP_REGS wants what the list set */
        if (record->flags & FLAG_KEEP_REGS) {
            lower_leave();
        }
        survival->drop.lowered = 0;
    }
    if (survival->reg_fault) {
        survival->reg_fault = 0;
        report(record, result, STATUS_REG_FAULT, 0);
        return;
    }
    report_lower(batch, record, result, &pages, entry);
}
