/* Entry of the tool, and the one instruction that C cannot write. */
.section .text, "ax", %progbits
.global _start
_start:
    mov x29, #0
    mov x30, #0
    ldr x0, [sp]
    add x1, sp, #8
    and sp, x1, #~15
    bl main
    mov x8, #94
    svc #0

.global syscall6
.type syscall6, %function
syscall6:
    mov x8, x0
    mov x0, x1
    mov x1, x2
    mov x2, x3
    mov x3, x4
    mov x4, x5
    mov x5, x6
    svc #0
    ret
