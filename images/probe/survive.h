/* The survival area of a PE: two code pages and, after them, the data page: everything the probe touches while a
 * record's registers are in force.  Shared by C and assembly; x18 always points to the data page (-ffixed-x18).
 * survive.S says why so few pages.  Every PE has its own copy, because the code has slots that are patched. */
#ifndef SURVIVE_H
#define SURVIVE_H

#define SV_ARMED 0x00
#define SV_WANT_ALL 0x08
#define SV_TAKEN 0x10
#define SV_VECTOR 0x18
#define SV_ESR 0x20
#define SV_FAR 0x28
#define SV_MFAR 0x30
#define SV_HPFAR 0x38
#define SV_ELR 0x40
#define SV_SPSR 0x48
#define SV_SCR 0x50
#define SV_DATA 0x60
#define SV_SCRATCH 0x70
#define SV_LINK 0x80
#define SV_OPERANDS 0x90
#define SV_STUB_AUX 0xb0
#define SV_RESTORE 0xb8
#define SV_RESTORE_VALUES 0xc0
#define SV_COUNT 0xc8
#define SV_INVALIDATE 0xd0
#define SV_REG_FAULT 0xd8
#define SV_ARGS 0x100
#define SV_KEPT 0x190 /* x19-x28 while an SMC is filled */
#define SV_GPR 0x200
#define SV_SET_VALUES 0x400
#define SV_OLD_VALUES 0x500
#define SV_BOOT 0x600
#define SV_BOOT_SCTLR (SV_BOOT + 0x28)
#define SV_STACK_TOP 0x638
#define SV_DROP 0x640
#define SV_DROP_RETURN (SV_DROP + 0x00)
#define SV_DROP_VBAR (SV_DROP + 0x10)
#define SV_DROP_LINK (SV_DROP + 0x20)
#define SV_SCR_CHANGE (SV_DROP + 0x30)
#define SV_SCR_BEFORE (SV_DROP + 0x40)
#define SV_HANG_AT (SV_DROP + 0x50)
#define SV_LOWER 0x6a0
#define SV_PE 0x6e0

/* Sizes of the survival area; the linker script and the copies for other PEs follow them. */
#define SURVIVAL_CODE_SIZE 0x2000
#define SURVIVAL_SIZE 0x3000

#define PES_MAX 4 /* PEs that the probe can use; the first has index 0 */
#define PE_STACK_SIZE 8192

/* Immediates of the SMC and SVC by which a lower EL comes back; docs/reference/probe-protocol.md reserves them. */
#define SMC_RETURN 0xe0ff
#define SMC_HANDOVER 0xe000 /* + number of the vector, 0 to 15 */

/* Instructions of one kind that a lower EL's stub page holds at a time. */
#define LOWER_SLOTS 16

/* drop.flags */
#define DROP_ARGUMENTS 1  /* x0-x17 are args, not the operands */
#define DROP_INVALIDATE 2 /* invalidate what the lower ELs may have cached, in the state that is entered */

/* SV_ARMED: who is to hear of an exception; 0: nobody expects one, it is fatal. */
#define ARMED_OP 1
#define ARMED_REGISTERS 2

/* SV_INVALIDATE: when the survival code invalidates GPT and translation caching by itself. */
#define INVALIDATE_AFTER_SET 1
#define INVALIDATE_AFTER_RESTORE 2

/* Register slots hold a load, the patched MSR and an ISB. */
#define SLOT_COUNT 32
#define SLOT_SIZE 12
#define SLOT_INSTRUCTION 4

#ifndef __ASSEMBLER__
#include "record.h"

/* Syndrome registers of an EL below 3, read when an exception brought the PE to EL3. */
struct lower_syndrome {
    uint64_t esr;
    uint64_t far;
    uint64_t elr;
    uint64_t spsr;
};

/* How to enter a lower EL; survive.S reads it. */
struct drop {
    uint64_t elr;
    uint64_t spsr;
    uint64_t vbar_el1;
    uint64_t vbar_el2;
    uint64_t link; /* x30 at the lower EL */
    uint64_t flags;
    uint64_t scr_clear;
    uint64_t scr_set;
    uint64_t scr_before; /* SCR_EL3 as it was before a drop changed it, while `lowered` */
    uint64_t lowered;
    uint64_t hang_at; /* counter value from which a lower EL is taken to hang */
    uint64_t tick;    /* counter ticks between two looks */
};

struct boot_registers {
    uint64_t gpccr;
    uint64_t gptbr;
    uint64_t ttbr0;
    uint64_t tcr;
    uint64_t mair;
    uint64_t sctlr;
    uint64_t scr;
};

struct survival {
    uint64_t armed;
    uint64_t want_all;
    uint64_t taken;
    uint64_t vector;
    uint64_t esr;
    uint64_t far;
    uint64_t mfar;
    uint64_t hpfar;
    uint64_t elr;
    uint64_t spsr;
    uint64_t scr;
    uint64_t pad_scr;
    uint64_t data[2];
    uint64_t scratch[2];
    uint64_t link[2];
    uint64_t operands[4];
    uint64_t stub_aux;
    uint64_t restore;
    uint64_t restore_values;
    uint64_t count;
    uint64_t invalidate;
    uint64_t reg_fault;
    uint64_t pad0[4];
    uint64_t args[SMC_REGISTERS];
    uint64_t kept[10];
    uint64_t pad1[4];
    uint64_t gpr[34]; /* x0..x30, sp, pc, pstate */
    uint64_t pad2[30];
    uint64_t set_values[SLOT_COUNT];
    uint64_t old_values[SLOT_COUNT];
    struct boot_registers boot;
    uint64_t stack_top;
    struct drop drop;
    struct lower_syndrome lower[2]; /* of EL1 and EL2 */
    /* What belongs to this PE otherwise; here, because x18 finds it. */
    uint64_t pe;
    uint64_t offset; /* of this area's copy from the linked one, in bytes */
    uint64_t patched;
    uint64_t undo_count;
    uint64_t current; /* index of the record that is being run */
    uint64_t alarm;   /* counter value at which the secure timer fires; 0: it is off */
    struct register_entry undo[SLOT_COUNT];
};

#define SV_CHECK(field, offset) _Static_assert(offsetof(struct survival, field) == (offset), #field)
SV_CHECK(armed, SV_ARMED);
SV_CHECK(want_all, SV_WANT_ALL);
SV_CHECK(taken, SV_TAKEN);
SV_CHECK(vector, SV_VECTOR);
SV_CHECK(esr, SV_ESR);
SV_CHECK(far, SV_FAR);
SV_CHECK(mfar, SV_MFAR);
SV_CHECK(hpfar, SV_HPFAR);
SV_CHECK(elr, SV_ELR);
SV_CHECK(spsr, SV_SPSR);
SV_CHECK(scr, SV_SCR);
SV_CHECK(data, SV_DATA);
SV_CHECK(scratch, SV_SCRATCH);
SV_CHECK(link, SV_LINK);
SV_CHECK(operands, SV_OPERANDS);
SV_CHECK(stub_aux, SV_STUB_AUX);
SV_CHECK(restore, SV_RESTORE);
SV_CHECK(restore_values, SV_RESTORE_VALUES);
SV_CHECK(count, SV_COUNT);
SV_CHECK(invalidate, SV_INVALIDATE);
SV_CHECK(reg_fault, SV_REG_FAULT);
SV_CHECK(args, SV_ARGS);
SV_CHECK(kept, SV_KEPT);
SV_CHECK(gpr, SV_GPR);
SV_CHECK(set_values, SV_SET_VALUES);
SV_CHECK(old_values, SV_OLD_VALUES);
SV_CHECK(boot, SV_BOOT);
SV_CHECK(boot.sctlr, SV_BOOT_SCTLR);
SV_CHECK(stack_top, SV_STACK_TOP);
SV_CHECK(drop, SV_DROP);
SV_CHECK(drop.elr, SV_DROP_RETURN);
SV_CHECK(drop.vbar_el1, SV_DROP_VBAR);
SV_CHECK(drop.link, SV_DROP_LINK);
SV_CHECK(drop.scr_clear, SV_SCR_CHANGE);
SV_CHECK(drop.scr_before, SV_SCR_BEFORE);
SV_CHECK(drop.hang_at, SV_HANG_AT);
SV_CHECK(lower, SV_LOWER);
SV_CHECK(pe, SV_PE);
_Static_assert(sizeof(struct survival) <= 4096, "survival data fits one page");
_Static_assert(REGS_MAX == SLOT_COUNT, "one slot for each register");

register struct survival *survival __asm__("x18"); /* of the PE that runs */

/* Assembly entry points, all in the survival code pages, by the names of the first PE's: LOCAL() is this PE's. */
typedef void (*stub_t)(void);
#define LOCAL(symbol) ((__typeof__(&(symbol)[0]))((uint64_t)(symbol) + survival->offset))
#define LOCAL_STUB(stub) ((stub_t)((uint64_t)(stub) + survival->offset))
typedef void (*run_t)(uint64_t address, uint64_t value0, uint64_t value1, stub_t stub, uint64_t aux);
void survive_op_entry(uint64_t address, uint64_t value0, uint64_t value1, stub_t stub, uint64_t aux);
void survive_record_entry(uint64_t address, uint64_t value0, uint64_t value1, stub_t stub, uint64_t aux);
void survive_invalidate(void); /* the same in every copy */

/* Run a stub of the code as linked, in this PE's copy.  The first PE's is the code as linked: a call that is known
 * beforehand is quicker. */
static inline void survive_op(uint64_t address, uint64_t value0, uint64_t value1, stub_t stub, uint64_t aux)
{
    if (survival->offset == 0) {
        survive_op_entry(address, value0, value1, stub, aux);
    } else {
        ((run_t)LOCAL_STUB(survive_op_entry))(address, value0, value1, LOCAL_STUB(stub), aux);
    }
}

/* ... with the record's registers in force, which the caller has laid out. */
static inline void survive_record(uint64_t address, uint64_t value0, uint64_t value1, stub_t stub, uint64_t aux)
{
    ((run_t)LOCAL_STUB(survive_record_entry))(address, value0, value1, LOCAL_STUB(stub), aux);
}

extern uint32_t survive_start[], vectors[];
extern uint32_t set_slots[], restore_slots[], read_slots[];
extern uint32_t slot_sys[], slot_mrs[], slot_msr[];
#endif
#endif
