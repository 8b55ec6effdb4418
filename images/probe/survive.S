/* The survival code pages: vectors, exception handler, operation stubs and register slots.
 *
 * A record may set a GPCCR_EL3 under which every access faults, Root's own included.  All that then still works is what
 * the PE has cached.  So whatever runs between setting a record's registers and putting them back is in these two 4 KB
 * pages, and whatever it loads or stores is in one 4 KB data page (survive.h); all are touched just before.
 *
 * x18 always holds the data page's address.  x28 is non-zero while the handler runs: an exception from EL3 that finds it
 * so is nested.  Neither needs memory, which is why they are registers. */
#include "survive.h"

#ifdef PROBE_HOST
#define OWN(name) name##_el2
#else
#define OWN(name) name##_el3
#endif
#define MFAR_EL3 S3_6_C6_C0_5
#define GPTBR_EL3 S3_6_C2_C1_4
#define GPCCR_EL3 S3_6_C2_C1_6
#define CNTPS_TVAL_EL1 S3_7_C14_C2_0
#define SET_VALUES_END (SV_SET_VALUES + 8 * SLOT_COUNT)
#define RETURN_ESR (0x17 << 26 | 1 << 25 | SMC_RETURN) /* EC SMC from AArch64, 32-bit instruction */
#define SCR_NS_BIT 0
#define SCR_EEL2_BIT 18

.arch armv8.4-a
.arch_extension fp
.arch_extension simd

.macro entry name
.balign 4
.global \name
.type \name, %function
\name:
.endm

.macro leave /* a stub whose x30 is gone */
    b op_return
.endm

.macro stub name
.balign 4
.global stub_\name
stub_\name:
.endm

.macro invalidate
    dsb sy
#ifdef PROBE_HOST
    tlbi alle2
#else
    sys #6, c8, c7, #4 /* TLBI PAALL */
    tlbi alle3
#endif
    dsb sy
    isb
.endm

.macro save_registers /* x0 and x1 are in SV_DATA already */
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
.endm

.section .survive_text, "ax", %progbits
.balign 4096
entry survive_start
/* A vector needs 6 of its 32 words; the rest of some holds what else must be in this page. */
.macro vector offset, handler=exception
.org vectors + \offset /* fails to assemble when the gap before it is too small */
.if \offset < 0x400
    cbnz x28, nested
.endif
    mov x28, #1
    adr x18, survival
    stp x16, x17, [x18, #SV_SCRATCH]
    mov x16, #\offset
    b \handler
.endm

entry vectors
vector 0x000
save_all:
    save_registers
    b op_saved

vector 0x080
load_arguments:
    ldp x0, x1, [x18, #SV_ARGS]
    ldp x2, x3, [x18, #(SV_ARGS + 16)]
    ldp x4, x5, [x18, #(SV_ARGS + 32)]
    ldp x6, x7, [x18, #(SV_ARGS + 48)]
    ldp x8, x9, [x18, #(SV_ARGS + 64)]
    ldp x10, x11, [x18, #(SV_ARGS + 80)]
    ldp x12, x13, [x18, #(SV_ARGS + 96)]
    ldp x14, x15, [x18, #(SV_ARGS + 112)]
    ldp x16, x17, [x18, #(SV_ARGS + 128)]
    ret

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
#ifndef PROBE_HOST /* the host personality runs nothing below its own EL */
vector 0x400, lower_sync
vector 0x480, lower_exception
vector 0x500, lower_fiq
vector 0x580, lower_exception
vector 0x600, lower_exception
vector 0x680, lower_exception
vector 0x700, lower_exception
vector 0x780, lower_exception
#endif
.org vectors + 0x800

/* Save the syndrome, then go on where the armed part of the code wants to hear of it.  No ERET: the PE is at EL3 with the
 * stack it had.  FAR, MFAR and HPFAR are cleared once read, so that a later exception that does not set them cannot show
 * an old value. */
exception:
    str x16, [x18, #SV_VECTOR]
exception_saved:
    mrs x16, OWN(esr)
    mrs x17, OWN(far)
    stp x16, x17, [x18, #SV_ESR]
#ifdef PROBE_HOST
    mov x16, #0
#else
    mrs x16, MFAR_EL3
#endif
    mrs x17, hpfar_el2
    stp x16, x17, [x18, #SV_MFAR]
#ifndef PROBE_HOST
    cbz x16, 1f
    msr MFAR_EL3, xzr
#endif
1:  cbz x17, 2f
    msr hpfar_el2, xzr
2:  msr OWN(far), xzr
    mrs x16, OWN(elr)
    mrs x17, OWN(spsr)
    stp x16, x17, [x18, #SV_ELR]
#ifdef PROBE_HOST
    mov x17, #0 /* SCR_EL3 is not for EL2 to see */
#else
    mrs x17, scr_el3
#endif
    str x17, [x18, #SV_SCR]
    ldr x16, [x18, #SV_TAKEN]
    add x16, x16, #1
    ldr x17, [x18, #SV_ARMED]
    str x16, [x18, #SV_TAKEN]
    sub x17, x17, #ARMED_OP
    cbz x17, op_ended
    sub x17, x17, #(ARMED_REGISTERS - ARMED_OP)
    cbz x17, register_fault
    b fatal
op_ended:
    msr daifclr, #4 /* SError, which the exception masked, is to be recorded too */
    ldp x16, x17, [x18, #SV_SCRATCH]
    mov x28, #0
    b op_return

/* A fault in the handler itself: once, report it with the syndrome still in the registers; twice, stop. */
nested:
    sub x28, x28, #2
    cbz x28, halt
    mrs x2, OWN(far)
    b 1f
fatal:
    ldr x2, [x18, #SV_FAR]
1:  mov x28, #2
    mrs x0, OWN(esr)
    mrs x1, OWN(elr)
    adr x4, survival
    add x4, x4, #SV_BOOT
#ifdef PROBE_HOST
    ldr x5, [x4, #(SV_BOOT_SCTLR - SV_BOOT)]
    msr sctlr_el2, x5
    isb
    invalidate
#else
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
#endif
    ldr x5, [x4, #(SV_STACK_TOP - SV_BOOT)]
    mov sp, x5
    adr x5, fatal_report_address
    ldr x5, [x5]
    blr x5
halt:
    wfi
    b halt
.balign 8
fatal_report_address:
    .xword fatal_report

/* survive_op_entry(address, value0, value1, stub, aux): run one stub.  survive_record_entry: the same with the record's
 * registers in force, which the caller has laid out in the data page and patched into the slots. */
entry survive_op_entry
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

entry survive_record_entry
    stp x29, x30, [x18, #SV_LINK]
    stp x0, x1, [x18, #SV_OPERANDS]
    stp x2, x3, [x18, #(SV_OPERANDS + 16)]
    str x4, [x18, #SV_STUB_AUX]
    /* Touch all pages: as data here, as instructions by running; a data access to this page fills what a TLB shared by
     * instructions and data needs even where chained code makes no new look-up. */
    adr x9, survive_start
    ldr x10, [x9]
    adr x9, second_page
    ldr x10, [x9]
    bl touch_second_page
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

#include "stubs.inc"

.org survive_start + 4096 /* fails to assemble when the code outgrows the page */
second_page:
touch_second_page:
    ret

#ifndef PROBE_HOST
/* Enter a lower EL as the drop says (survive.h), with the operands or arguments in place.  The former SCR_EL3 is kept
 * when it has to change, so that drops to one state in a row change it once. */
stub drop
    add x9, x18, #SV_DROP
    ldp x10, x11, [x9]
    msr elr_el3, x10
    msr spsr_el3, x11
    ldp x10, x11, [x9, #(SV_DROP_VBAR - SV_DROP)]
    msr vbar_el1, x10
    msr vbar_el2, x11
    ldp x11, x12, [x9, #(SV_SCR_CHANGE - SV_DROP)]
    mrs x10, scr_el3
    bic x11, x10, x11
    orr x11, x11, x12
    sub x12, x10, x11
    cbz x12, 2f
    ldr x12, [x9, #(SV_SCR_BEFORE - SV_DROP + 8)]
    cbnz x12, 1f
    mov x12, #1
    stp x10, x12, [x9, #(SV_SCR_BEFORE - SV_DROP)]
1:  msr scr_el3, x11
    isb
2:  ldp x30, x10, [x9, #(SV_DROP_LINK - SV_DROP)]
    cbz x10, 5f
    tbz x10, #1, 4f
    invalidate
    tlbi alle1
    tbnz x11, #SCR_NS_BIT, 3f
    tbz x11, #SCR_EEL2_BIT, 4f
3:  tlbi alle2 /* UNDEFINED where the state has no EL2 */
    dsb sy
    isb
4:  tbz x10, #0, 5f
    str x30, [x18, #SV_STUB_AUX] /* free once the operands are in their registers */
    bl load_arguments
    ldr x30, [x18, #SV_STUB_AUX]
5:  eret

/* An exception from a lower EL.  The SMC that ends a stub is the common one and no exception to report. */
lower_sync:
    mrs x16, esr_el3
    mov w17, #(RETURN_ESR & 0xffff)
    movk w17, #(RETURN_ESR >> 16), lsl #16
    sub x16, x16, x17
    cbz x16, op_ended
    mov x16, #0x400
/* Any other: keep what EL1 and EL2 know too, because it may be their vector that handed over. */
lower_exception:
    str x16, [x18, #SV_VECTOR]
    add x17, x18, #SV_LOWER
    mrs x16, esr_el1
    str x16, [x17]
    mrs x16, far_el1
    str x16, [x17, #8]
    mrs x16, elr_el1
    str x16, [x17, #16]
    mrs x16, spsr_el1
    str x16, [x17, #24]
    mrs x16, esr_el2
    str x16, [x17, #32]
    mrs x16, far_el2
    str x16, [x17, #40]
    mrs x16, elr_el2
    str x16, [x17, #48]
    mrs x16, spsr_el2
    str x16, [x17, #56]
    b exception_saved

/* The secure timer found a lower EL still running.  It hangs when its time is up, or when it sits at a vector whose
 * exception came from a vector: the vector's own fetch faults, for ever.  Otherwise it goes on. */
lower_fiq:
    mrs x16, cntpct_el0
    ldr x17, [x18, #SV_HANG_AT]
    cmp x16, x17
    b.hs 3f
    mrs x16, spsr_el3
    tbnz x16, #3, 1f
    tbz x16, #2, 4f
    mrs x16, vbar_el1
    mrs x17, elr_el1
    b 2f
1:  mrs x16, vbar_el2
    mrs x17, elr_el2
2:  sub x17, x17, x16
    tst x17, #~0x780
    b.ne 4f
    mrs x17, elr_el3
    sub x17, x17, x16
    tst x17, #~0x780
    b.ne 4f
3:  mov x16, #0x500
    b lower_exception
4:  ldr x16, [x18, #(SV_HANG_AT + 8)]
    msr CNTPS_TVAL_EL1, x16
    isb
    ldp x16, x17, [x18, #SV_SCRATCH]
    mov x28, #0
    eret
#endif

#ifdef PROBE_HOST
#include "host_smc.inc"
#else
stub smc
    mov x29, x30
    bl load_arguments
    smc #0
    b op_return
#endif
stub hvc
    mov x29, x30
    bl load_arguments
    hvc #0
    b op_return
stub svc
    mov x29, x30
    bl load_arguments
    svc #0
    b op_return
stub patch /* the instruction w1 to x0, visible to fetches */
    str w1, [x0]
    dc cvau, x0
    dsb ish
    ic ivau, x0
    dsb ish
    isb
    ret
stub sys
entry slot_sys
    nop
    dsb sy
    isb
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

/* MRS x0 of the registers to be saved, patched like the set slots; run before anything is changed. */
entry read_slots
.rept SLOT_COUNT
    nop
    ret
.endr
.org survive_start + SURVIVAL_CODE_SIZE

.section .survive_data, "aw", %progbits
.balign 4096
.global survival
.type survival, %object
survival:
    .skip 4096
