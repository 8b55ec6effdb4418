/* Reset entry at EL3: park all PEs but the first, clear .bss, give the first PE a stack and the vectors. */
.arch armv8.4-a
.section .text.start, "ax", %progbits
.global _start
.type _start, %function
_start:
    mrs x0, mpidr_el1
    ldr x1, =0xff00ffffff
    tst x0, x1
    b.ne park
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

.section .bss.stack, "aw", %nobits
.balign 16
    .skip 16384
.global stack_top
stack_top:

/* dump_simd(q): q0-q31 to 512 bytes. */
.arch_extension fp
.arch_extension simd
.section .text.simd, "ax", %progbits
.global dump_simd
.type dump_simd, %function
dump_simd:
.macro pair_of first, second
    stp q\first, q\second, [x0], #32
.endm
    pair_of 0, 1
    pair_of 2, 3
    pair_of 4, 5
    pair_of 6, 7
    pair_of 8, 9
    pair_of 10, 11
    pair_of 12, 13
    pair_of 14, 15
    pair_of 16, 17
    pair_of 18, 19
    pair_of 20, 21
    pair_of 22, 23
    pair_of 24, 25
    pair_of 26, 27
    pair_of 28, 29
    pair_of 30, 31
    ret
