/* Entry of the host personality: BL33, where the firmware enters the Normal world at EL2 with the MMU off, on the first
 * PE alone.  The others stay off: the probe asks nobody to turn them on. */
.arch armv8.4-a
.section .text.start, "ax", %progbits
.global _start
.type _start, %function
_start:
    mrs x0, CurrentEL
    cmp x0, #(2 << 2)
    b.ne stop
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
    msr vbar_el2, x0
    isb
    bl main
stop:
    wfi
    b stop

.section .bss.stack, "aw", %nobits
.balign 16
    .skip 16384
.global stack_top
stack_top:
