/* The watchdog: EL3's secure physical timer, routed to EL3 as FIQ.  It is set a few milliseconds ahead while records
 * run below EL3 and pushed on before it can fire, so that it fires only when a lower EL does not come back; survive.S
 * (lower_fiq) then decides.  At EL3 FIQ stays masked: nothing there is interrupted. */
#include "probe.h"

#define GICD(offset) (*(volatile uint32_t *)(GICD_PA + (offset)))
#define GICR(pe, offset) (*(volatile uint32_t *)(GICR_PA + (uint64_t)(pe) * 0x20000 + (offset)))
#define SGI_FRAME 0x10000
#define GICD_CTLR 0x0
#define GICD_CTLR_GRP0 1u
#define GICR_TYPER 0x8
#define GICR_TYPER_LAST (1u << 4)
#define GICR_WAKER 0x14
#define WAKER_PROCESSOR_SLEEP (1u << 1)
#define WAKER_CHILDREN_ASLEEP (1u << 2)
#define GICR_IGROUPR0 (SGI_FRAME + 0x80)
#define GICR_ISENABLER0 (SGI_FRAME + 0x100)
#define GICR_IPRIORITYR7 (SGI_FRAME + 0x400 + 28)
#define GICR_IGRPMODR0 (SGI_FRAME + 0xd00)
#define PPI_SECURE_TIMER 29
#define ICC_SRE_EL3 S3_6_C12_C12_5
#define ICC_PMR_EL1 S3_0_C4_C6_0
#define ICC_IGRPEN0_EL1 S3_0_C12_C12_6
#define CNTPS_TVAL_EL1 S3_7_C14_C2_0
#define CNTPS_CTL_EL1 S3_7_C14_C2_1
#define SRE_ENABLE 0xfu
#define WAKE_TRIES 100000u

#define TICKS_PER_SECOND 250u /* looks at a lower EL that runs long */
#define HANG_DIVISOR 4u       /* a quarter of a second is a hang */

/* How many PEs the interrupt controller serves. */
unsigned gic_pes(void)
{
    unsigned pe = 0;
    while (pe + 1 < PES_MAX && !(GICR(pe, GICR_TYPER) & GICR_TYPER_LAST)) {
        pe++;
    }
    return pe + 1;
}

void watchdog_init(unsigned pe)
{
    GICR(pe, GICR_WAKER) &= ~WAKER_PROCESSOR_SLEEP;
    for (unsigned i = 0; i < WAKE_TRIES && GICR(pe, GICR_WAKER) & WAKER_CHILDREN_ASLEEP; i++) {
    }
    GICR(pe, GICR_IGROUPR0) &= ~(1u << PPI_SECURE_TIMER);
    GICR(pe, GICR_IGRPMODR0) &= ~(1u << PPI_SECURE_TIMER);
    GICR(pe, GICR_IPRIORITYR7) &= ~(0xffu << 8);
    GICR(pe, GICR_ISENABLER0) = 1u << PPI_SECURE_TIMER;
    if (pe == 0) {
        GICD(GICD_CTLR) |= GICD_CTLR_GRP0;
    }
    WRITE(ICC_SRE_EL3, SRE_ENABLE);
    ISB();
    WRITE(ICC_PMR_EL1, 0xff);
    WRITE(ICC_IGRPEN0_EL1, 1);
    ISB();
    survival->drop.tick = READ(cntfrq_el0) / TICKS_PER_SECOND;
}

/* Before a drop: the lower EL has until now + a quarter of a second, and the first look is half a tick away at least.
 */
void watchdog_watch(void)
{
    uint64_t now = READ(cntpct_el0), tick = survival->drop.tick;
    survival->drop.hang_at = now + tick * TICKS_PER_SECOND / HANG_DIVISOR;
    if (unlikely(now + tick / 2 > survival->alarm)) {
        WRITE(CNTPS_TVAL_EL1, tick);
        WRITE(CNTPS_CTL_EL1, 1);
        ISB();
        survival->alarm = now + tick;
    }
}

void watchdog_stop(void)
{
    if (survival->alarm) {
        WRITE(CNTPS_CTL_EL1, 0);
        ISB();
        survival->alarm = 0;
    }
}
