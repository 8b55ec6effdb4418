/* What the guest runs, at EL1 with the MMU off: print a word, read where x1 points unless it is 0, stop.  An exception ends
 * it too, with its syndrome. */
#define GUEST_CONSOLE 0x10000000

.section .rodata, "a", %progbits
.balign 2048
.global guest_code, guest_code_end
guest_code:
    adr x2, vectors
    msr vbar_el1, x2
    isb
    mov x3, #GUEST_CONSOLE
    adr x2, text
1:  ldrb w0, [x2], #1
    cbz w0, 2f
    strb w0, [x3]
    b 1b
2:  mov x4, xzr
    cbz x1, 3f
    ldr x4, [x1]
3:  str x4, [x3, #8]
    b 3b
text:
    .asciz "guest-of-an-rme-host"
.org guest_code + 2048
vectors:
.org vectors + 0x200 /* synchronous, from this EL */
    mrs x4, esr_el1
    str x4, [x3, #16]
    b .
guest_code_end:
