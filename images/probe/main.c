/* The root personality: set up EL3, announce itself, then wait for work from the mailbox and the wire. */
#include "probe.h"

#define SCR_VALUE (SCR_NS | SCR_EA | SCR_RES1 | SCR_HCE | SCR_RW | SCR_EEL2)
#define ID_RME_SHIFT 52

extern char stack_top[];

/* Called by the survival code with GPC as at boot; it halts the PE afterwards. */
void fatal_report(uint64_t esr, uint64_t elr, uint64_t far)
{
    fatal_send(esr, elr, far);
    standalone_fatal();
    pes_lost();
}

/* What the survival code needs to report a fault of its own. */
void survival_init(const void *stack_top)
{
    survival->stack_top = (uint64_t)stack_top;
    survival->boot = (struct boot_registers){
        .gpccr = READ(GPCCR_EL3),
        .gptbr = READ(GPTBR_EL3),
        .ttbr0 = READ(ttbr0_el3),
        .tcr = READ(tcr_el3),
        .mair = READ(mair_el3),
        .sctlr = READ(sctlr_el3),
        .scr = READ(scr_el3),
    };
}

/* What every PE does first at EL3, once the tables are built. */
void el3_init(void)
{
    WRITE(scr_el3, SCR_VALUE);
    ISB();
    mmu_enable();
}

int main(void)
{
    uart_init();
    if (((READ(ID_AA64PFR0_EL1) >> ID_RME_SHIFT) & 0xf) == 0) {
        wire_send(0, "FATAL", "no FEAT_RME", 11);
        return 1; /* what follows uses its registers and instructions */
    }
    mmu_build();
    el3_init();
    survival_init(stack_top);
    operations_init();
    lower_init(0);
    pes_start();
    serve_init();
    if (!standalone()) {
        announce();
    }
    __asm__ volatile("msr daifclr, #4"); /* SError is recorded like any other exception */
    if (standalone()) {
        standalone_run();
    }
    serve();
}
