/* The survival code page: vectors, exception handler, operation stubs and register slots.
 *
 * A record may set a GPCCR_EL3 under which every access faults, Root's own included.  All that then still works is what
 * the PE has cached.  So whatever runs between setting a record's registers and putting them back is in this one 4 KB
 * page, and whatever it loads or stores is in one 4 KB data page (survive.h); both are touched just before.
 *
 * x18 always holds the data page's address.  x28 is non-zero while the handler runs: an exception that finds it so is
 * nested.  Neither needs memory, which is why they are registers. */
#include "survive.h"

#define MFAR_EL3 S3_6_C6_C0_5
#define GPTBR_EL3 S3_6_C2_C1_4
#define GPCCR_EL3 S3_6_C2_C1_6
#define SET_VALUES_END (SV_SET_VALUES + 8 * SLOT_COUNT)

.arch armv8.4-a

.macro entry name
.balign 4
.global \name
.type \name, %function
\name:
.endm

.macro stub name
.balign 4
.global stub_\name
stub_\name:
.endm

.macro invalidate
    dsb sy
    sys #6, c8, c7, #4 /* TLBI PAALL */
    tlbi alle3
    dsb sy
    isb
.endm

.section .survive_text, "ax", %progbits
.balign 4096
survive_start:
/* A vector needs 6 of its 32 words; the rest of some holds what else must be in this page. */
.macro vector offset
.org vectors + \offset /* fails to assemble when the gap before it is too small */
    cbnz x28, nested
    mov x28, #1
    adr x18, survival
    stp x16, x17, [x18, #SV_SCRATCH]
    mov x16, #\offset
    b exception
.endm

entry vectors
vector 0x000
save_all:
    add x0, x18, #SV_GPR
    str x1, [x0, #8]
    stp x2, x3, [x0, #16]
    stp x4, x5, [x0, #32]
    stp x6, x7, [x0, #48]
    stp x8, x9, [x0, #64]
    stp x10, x11, [x0, #80]
    stp x12, x13, [x0, #96]
    stp x14, x15, [x0, #112]
    stp x16, x17, [x0, #128]
    stp x18, x19, [x0, #144]
    stp x20, x21, [x0, #160]
    stp x22, x23, [x0, #176]
    stp x24, x25, [x0, #192]
    stp x26, x27, [x0, #208]
    stp x28, x29, [x0, #224]
    mov x9, sp
    stp x30, x9, [x0, #240]
    adr x9, op_return
    mrs x10, nzcv
    stp x9, x10, [x0, #256]
    ldr x9, [x18, #SV_DATA]
    str x9, [x0]
    b op_saved

vector 0x080
stub smc
    ldp x0, x1, [x18, #SV_ARGS]
    ldp x2, x3, [x18, #(SV_ARGS + 16)]
    ldp x4, x5, [x18, #(SV_ARGS + 32)]
    ldp x6, x7, [x18, #(SV_ARGS + 48)]
    ldp x8, x9, [x18, #(SV_ARGS + 64)]
    ldp x10, x11, [x18, #(SV_ARGS + 80)]
    ldp x12, x13, [x18, #(SV_ARGS + 96)]
    ldp x14, x15, [x18, #(SV_ARGS + 112)]
    ldp x16, x17, [x18, #(SV_ARGS + 128)]
    smc #0
    b op_return

vector 0x100
stub copy /* x4 bytes from x1 to x0, in words where both addresses allow */
    orr x9, x0, x1
    tst x9, #7
    b.ne 2f
1:  subs x4, x4, #8
    b.lo 4f
    ldr x9, [x1], #8
    str x9, [x0], #8
    b 1b
4:  add x4, x4, #8
2:  cbz x4, 3f
    ldrb w9, [x1], #1
    strb w9, [x0], #1
    sub x4, x4, #1
    b 2b
3:  dsb sy
    ret

vector 0x180
stub write /* copy, then clean and invalidate what was written to the point of coherency */
    mov x11, x30
    mov x12, x0
    bl stub_copy
    mrs x9, ctr_el0
    ubfx x9, x9, #16, #4
    mov x10, #4
    lsl x10, x10, x9
    sub x9, x10, #1
    bic x12, x12, x9
1:  cmp x12, x0
    b.hs 2f
    dc civac, x12
    add x12, x12, x10
    b 1b
2:  dsb sy
    ret x11

vector 0x200
stub fill /* x4 bytes at x0 with the pattern x1, repeated from the first byte on */
    tst x0, #7
    b.ne 2f
1:  subs x4, x4, #8
    b.lo 4f
    str x1, [x0], #8
    b 1b
4:  add x4, x4, #8
2:  cbz x4, 3f
    strb w1, [x0], #1
    ror x1, x1, #8
    sub x4, x4, #1
    b 2b
3:  dsb sy
    ret

vector 0x280
vector 0x300
vector 0x380
vector 0x400
vector 0x480
vector 0x500
vector 0x580
vector 0x600
vector 0x680
vector 0x700
vector 0x780
.org vectors + 0x800

/* Save the syndrome, then go on where the armed part of the code wants to hear of it.  No ERET: the exception came from
 * EL3 and leaves the PE at EL3 with the same PSTATE but for the masks.  FAR and MFAR are cleared once read, so that a
 * later exception that does not set them cannot show an old value. */
exception:
    str x16, [x18, #SV_VECTOR]
    mrs x16, esr_el3
    mrs x17, far_el3
    stp x16, x17, [x18, #SV_ESR]
    mrs x16, MFAR_EL3
    mrs x17, hpfar_el2
    stp x16, x17, [x18, #SV_MFAR]
    cbz x16, 1f
    msr MFAR_EL3, xzr
1:  msr far_el3, xzr
    mrs x16, elr_el3
    mrs x17, spsr_el3
    stp x16, x17, [x18, #SV_ELR]
    mrs x17, scr_el3
    str x17, [x18, #SV_SCR]
    ldr x16, [x18, #SV_TAKEN]
    add x16, x16, #1
    ldr x17, [x18, #SV_ARMED]
    str x16, [x18, #SV_TAKEN]
    sub x17, x17, #ARMED_OP
    cbz x17, 2f
    sub x17, x17, #(ARMED_REGISTERS - ARMED_OP)
    cbz x17, register_fault
    b fatal
2:  msr daifclr, #4 /* SError, which the exception masked, is to be recorded too */
    ldp x16, x17, [x18, #SV_SCRATCH]
    mov x28, #0
    b op_return

/* A fault in the handler itself: once, report it with the syndrome still in the registers; twice, stop. */
nested:
    sub x28, x28, #2
    cbz x28, halt
    mrs x2, far_el3
    b 1f
fatal:
    ldr x2, [x18, #SV_FAR]
1:  mov x28, #2
    mrs x0, esr_el3
    mrs x1, elr_el3
    adr x4, survival
    add x4, x4, #SV_BOOT
    ldr x5, [x4]
    msr GPCCR_EL3, x5
    isb
    invalidate
    ldp x5, x6, [x4, #8]
    msr GPTBR_EL3, x5
    msr ttbr0_el3, x6
    ldp x5, x6, [x4, #24]
    msr tcr_el3, x5
    msr mair_el3, x6
    ldp x5, x6, [x4, #40]
    msr sctlr_el3, x5
    msr scr_el3, x6
    isb
    invalidate
    adr x5, stack_top_address
    ldr x5, [x5]
    mov sp, x5
    adr x5, fatal_report_address
    ldr x5, [x5]
    blr x5
halt:
    wfi
    b halt
.balign 8
stack_top_address:
    .xword stack_top
fatal_report_address:
    .xword fatal_report

/* survive_op(address, value0, value1, stub, aux): run one stub.  survive_record: the same with the record's registers in
 * force, which the caller has laid out in the data page and patched into the slots. */
entry survive_op
    stp x29, x30, [x18, #SV_LINK]
    mov x9, #ARMED_OP
    str x9, [x18, #SV_ARMED]
    blr x3
op_return:
    str xzr, [x18, #SV_ARMED]
    stp x0, x1, [x18, #SV_DATA]
    ldr x0, [x18, #SV_WANT_ALL]
    cbnz x0, save_all
op_saved:
    ldr x9, [x18, #SV_RESTORE]
    cbnz x9, restore
    ldp x29, x30, [x18, #SV_LINK]
    ret

restore:
    ldr x10, [x18, #SV_RESTORE_VALUES]
    str xzr, [x18, #SV_RESTORE]
    br x9

entry survive_record
    stp x29, x30, [x18, #SV_LINK]
    stp x0, x1, [x18, #SV_OPERANDS]
    stp x2, x3, [x18, #(SV_OPERANDS + 16)]
    str x4, [x18, #SV_STUB_AUX]
    /* Touch both pages: as data here, as instructions by running; a data access to this page fills what a TLB shared by
     * instructions and data needs even where chained code makes no new look-up. */
    adr x9, survive_start
    ldr x10, [x9]
    ldr x10, [x18]
    str x10, [x18]
    ldr x11, [x18, #SV_COUNT]
    mov x9, #ARMED_REGISTERS
    str x9, [x18, #SV_ARMED]
    lsl x12, x11, #3
    add x10, x18, #SET_VALUES_END
    sub x10, x10, x12
    mov x12, #SLOT_SIZE
    adr x9, registers_set
    msub x9, x11, x12, x9
    br x9
entry set_slots
.rept SLOT_COUNT
    ldr x9, [x10], #8
    nop
    isb
.endr
registers_set:
    ldr x9, [x18, #SV_INVALIDATE]
    tbz x9, #0, 1f
    invalidate
1:  ldp x0, x1, [x18, #SV_OPERANDS]
    ldp x2, x3, [x18, #(SV_OPERANDS + 16)]
    ldr x4, [x18, #SV_STUB_AUX]
    mov x9, #ARMED_OP
    str x9, [x18, #SV_ARMED]
    blr x3
    b op_return

/* An MSR of the set list faulted: put back what was set before it.  x28 = 0 ends the handler's own protection. */
register_fault:
    mov x28, #0
    mov x9, #1
    str x9, [x18, #SV_REG_FAULT]
    ldr x10, [x18, #SV_ELR]
    adr x11, set_slots
    sub x10, x10, x11
    mov x12, #SLOT_SIZE
    udiv x10, x10, x12
    ldr x11, [x18, #SV_COUNT]
    add x10, x10, x11
    sub x10, x10, #SLOT_COUNT /* registers set so far */
    adr x9, registers_restored
    msub x9, x10, x12, x9
    add x11, x18, #(SV_OLD_VALUES + 8 * SLOT_COUNT)
    sub x10, x11, x10, lsl #3
    str xzr, [x18, #SV_RESTORE]
    str xzr, [x18, #SV_ARMED]
    br x9
entry restore_slots
.rept SLOT_COUNT
    ldr x9, [x10], #8
    nop
    isb
.endr
registers_restored:
    ldr x9, [x18, #SV_INVALIDATE]
    tbz x9, #1, 1f
    invalidate
1:  ldp x29, x30, [x18, #SV_LINK]
    ret

entry survive_invalidate
    invalidate
    ret

/* Operation stubs: address x0, values x1 and x2, aux x4; data comes back in x0 and x1. */
stub nop
    ret
stub load0
    ldrb w0, [x0]
    ret
stub load1
    ldrh w0, [x0]
    ret
stub load2
    ldr w0, [x0]
    ret
stub load3
    ldr x0, [x0]
    ret
stub store0
    strb w1, [x0]
    ret
stub store1
    strh w1, [x0]
    ret
stub store2
    str w1, [x0]
    ret
stub store3
    str x1, [x0]
    ret
stub load_pair
    ldp x0, x1, [x0]
    ret
stub store_pair
    stp x1, x2, [x0]
    ret
.macro exclusive size, suffix, r
stub load_exclusive\size
    ldxr\suffix \r\()0, [x0]
    clrex
    ret
stub store_exclusive\size
    mov x3, x0
    ldxr\suffix \r\()0, [x3]
    stxr\suffix w9, \r\()1, [x3]
    mov w1, w9
    ret
stub add\size
    ldadd\suffix \r\()1, \r\()0, [x0]
    ret
stub swap\size
    swp\suffix \r\()1, \r\()0, [x0]
    ret
stub cas\size
    cas\suffix \r\()1, \r\()2, [x0]
    mov x0, x1
    ret
.endm
exclusive 0, b, w
exclusive 1, h, w
exclusive 2, , w
exclusive 3, , x
stub fetch
    blr x0
    b op_return
stub dc_zva
    dc zva, x0
    ret
stub sys
entry slot_sys
    nop
    dsb sy
    isb
    mrs x1, par_el1
    ret
stub mrs
entry slot_mrs
    nop
    ret
stub msr
    mov x0, x1
entry slot_msr
    nop
    isb
    ret
stub tlbi_paall
    dsb sy
    sys #6, c8, c7, #4
    dsb sy
    isb
    ret
.org survive_start + 4096 /* fails to assemble when the code outgrows the page */

/* read_slots: MRS x0 of the registers to be saved, patched like the set slots; run before anything is changed. */
.section .text.slots, "ax", %progbits
entry read_slots
.rept SLOT_COUNT
    nop
    ret
.endr

.section .survive_data, "aw", %nobits
.balign 4096
.global survival
.type survival, %object
survival:
    .skip 4096
