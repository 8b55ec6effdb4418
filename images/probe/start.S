/* Reset entry at EL3.  The first PE, Aff0 = 0, clears .bss and runs main; the others wait until it has made a survival area
 * for each and then run secondary_main.  PEs that the probe has no room for stay parked. */
#include "survive.h"
.arch armv8.4-a
.section .text.start, "ax", %progbits
.global _start
.type _start, %function
_start:
    mrs x0, mpidr_el1
    ldr x1, =0xff00ffff00
    tst x0, x1
    b.ne park
    and x19, x0, #0xff
    cmp x19, #PES_MAX
    b.hs park
    cbnz x19, secondary
    adrp x0, bss_start
    add x0, x0, :lo12:bss_start
    adrp x1, bss_end
    add x1, x1, :lo12:bss_end
1:  cmp x0, x1
    b.hs 2f
    stp xzr, xzr, [x0], #16
    b 1b
2:  adrp x0, stack_top
    add x0, x0, :lo12:stack_top
    mov sp, x0
    adrp x18, survival
    mov x28, #0
    adrp x0, vectors
    msr vbar_el3, x0
    msr cptr_el3, xzr
    isb
    bl main
park:
    wfi
    b park

secondary:
    adrp x1, pes_released
    add x1, x1, :lo12:pes_released
1:  yield
    ldr w0, [x1]
    cbz w0, 1b
    dsb sy
    ic iallu
    dsb sy
    isb
    mov x2, #PE_STACK_SIZE
    adrp x1, pe_stacks
    add x1, x1, :lo12:pe_stacks
    madd x1, x19, x2, x1
    mov sp, x1
    /* The copy for PE n is n - 1 areas into `survival_copies`. */
    sub x0, x19, #1
    mov x2, #SURVIVAL_SIZE
    adrp x1, survival_copies
    madd x1, x0, x2, x1
    add x18, x1, #SURVIVAL_CODE_SIZE
    mov x28, #0
    adrp x2, survive_start
    adrp x3, vectors
    sub x3, x3, x2
    add x1, x1, x3
    msr vbar_el3, x1
    msr cptr_el3, xzr
    isb
    mov x0, x19
    bl secondary_main
    b park

.section .bss.survival, "aw", %nobits
.balign 4096
.global survival_copies
survival_copies:
    .skip SURVIVAL_SIZE * (PES_MAX - 1)

.section .bss.stack, "aw", %nobits
.balign 16
    .skip 16384
.global stack_top
stack_top:
/* Stack of PE n: it ends n * PE_STACK_SIZE after this. */
.global pe_stacks
pe_stacks:
    .skip PE_STACK_SIZE * (PES_MAX - 1)
