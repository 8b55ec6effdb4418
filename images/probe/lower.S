/* What runs below EL3: images of the stub page and of the vector page, which lower.c copies for every PE and state.
 *
 * Nothing here uses memory or a stack: operands arrive in registers, and every vector hands over to EL3 at once, by an SMC
 * whose immediate names the vector.  The registers stay as the exception found them. */
#include "survive.h"

.arch armv8.4-a
.arch_extension fp
.arch_extension simd

.macro entry name
.balign 4
.global \name
.type \name, %function
\name:
.endm

.macro stub name
.balign 4
.global lower_\name
lower_\name:
.endm

.macro leave
    ret x5
.endm

.section .lower_text, "ax", %progbits
.balign 4096
entry lower_stubs
stub return_smc /* where EL1 and EL2 stubs return to */
    smc #SMC_RETURN
    b lower_return_smc
stub return_svc /* where EL0 stubs return to */
    svc #SMC_RETURN
    b lower_return_svc
#include "stubs.inc"
stub smc
    smc #0
    ret
stub hvc
    hvc #0
    ret
stub svc
    svc #0
    ret
/* Slots for instructions by encoding; lower.c keeps account of which holds what. */
entry lower_sys
.rept LOWER_SLOTS
    nop
    dsb sy
    isb
    ret
.endr
entry lower_mrs
.rept LOWER_SLOTS
    nop
    ret
.endr
entry lower_msr
.rept LOWER_SLOTS
    mov x0, x1
    nop
    isb
    ret
.endr
.org lower_stubs + 4096

entry lower_vectors
.set number, 0
.rept 16
.org lower_vectors + 0x80 * number
    smc #(SMC_HANDOVER + number)
.set number, number + 1
.endr
.org lower_vectors + 4096
