/* dump_simd(q): q0-q31 to 512 bytes. */
.arch armv8.4-a
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
