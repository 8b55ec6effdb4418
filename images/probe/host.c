/* The host personality: BL33 at EL2 of the Normal world, beside firmware that goes on running at EL3.
 *
 * The MMU stays off, so an address of a record is a physical address of the Non-secure space and every access is one to
 * Device memory: it must be aligned, and DC ZVA faults.  Exceptions come to this EL; what the firmware keeps for EL3 is
 * the firmware's answer, not the probe's. */
#include "probe.h"

#define HCR_VALUE (1ul << 31 | 1ul << 5 | 1ul << 4 | 1ul << 3) /* EL1 is AArch64; SError, IRQ and FIQ come to EL2 */
#define CPTR_VALUE 0x32fful                                    /* RES1 bits; SVE and FP are not trapped */

extern char stack_top[];

/* Called by the survival code; it halts the PE afterwards. */
void fatal_report(uint64_t esr, uint64_t elr, uint64_t far)
{
    fatal_send(esr, elr, far);
}

/* What the parts that are shared with the root personality ask for and is not here: code below the probe's own EL, its
 * watchdog, other PEs, windows. */
void lower_leave(void)
{
}

void run_lower(const struct batch *batch, const struct record *record, struct result *result)
{
    (void)batch;
    report(record, result, STATUS_UNSUPPORTED, 0);
}

uint64_t lower_base(void)
{
    return 0;
}

void watchdog_stop(void)
{
}

uint32_t pes_run(const struct job *job)
{
    (void)job;
    return BAD_PE;
}

unsigned pes_online(void)
{
    return 1;
}

uint64_t mmu_window_table(void)
{
    return 0;
}

int main(void)
{
    WRITE(hcr_el2, HCR_VALUE);
    WRITE(cptr_el2, CPTR_VALUE);
    ISB();
    uart_init();
    survival->stack_top = (uint64_t)stack_top;
    survival->boot.sctlr = READ(sctlr_el2);
    operations_init();
    serve_init();
    announce();
    __asm__ volatile("msr daifclr, #4"); /* SError is recorded like any other exception */
    serve();
}
