/* BL33 of a Linux host: enter the kernel, which a loader put beside it, as Documentation/arch/arm64/booting.rst wants:
 * x0 the device tree, x1-x3 zero.  Before that, two granules that Linux is told nothing of are given to the Realm world, so
 * that there is Realm memory whose owner is no firmware.  A firmware without an RMM answers the calls with -1; the tool
 * that reads these granules later says what it finds. */
#define DEVICE_TREE 0x40000000
#define KERNEL 0x60200000
#define DELEGATED 0xbf000000
#define GRANULE 0x1000
#define RMI_VERSION 0xc4000150
#define RMI_GRANULE_DELEGATE 0xc4000151
#define SECRET 0x5245414c4d534543 /* "CESMLAER" in memory: what must not be read once the granule is delegated */

.section .text, "ax", %progbits
.global _start
_start:
    ldr x19, =DELEGATED
    mov x20, #2
1:  ldr x1, =SECRET
    str x1, [x19]
    ldr x0, =RMI_GRANULE_DELEGATE
    mov x1, x19
    smc #0
    add x19, x19, #GRANULE
    sub x20, x20, #1
    cbnz x20, 1b
    ldr x0, =DEVICE_TREE
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    ldr x9, =KERNEL
    br x9
