/* The root personality: set up EL3, announce itself, then wait for work from the mailbox and the wire. */
#include "probe.h"

#define SCR_VALUE (SCR_NS | SCR_EA | SCR_RES1 | SCR_HCE | SCR_RW | SCR_EEL2)
#define ID_RME_SHIFT 52
#define ID_WFXT_MASK 0xful
#define POLLS_PER_UART_LOOK 64u
#define SPIN_POLLS 40000u
#define SHORT_NAPS 100u
#define SHORT_NAPS_PER_SECOND 20000u
#define LONG_NAPS_PER_SECOND 2000u

static char text[1024];
static bool has_wfxt;
extern char stack_top[];

static void announce(void)
{
    uart_text("\r\nrealmcheck probe, personality " PERSONALITY "\r\n");
    wire_send(0, "BANNER", text, banner_text(text, sizeof(text)));
}

/* Called by the survival code with GPC as at boot; it halts the PE afterwards. */
void fatal_report(uint64_t esr, uint64_t elr, uint64_t far)
{
    size_t length = text_pair(text, sizeof(text), 0, "ESR_EL3", esr);
    length = text_pair(text, sizeof(text), length, "ELR_EL3", elr);
    length = text_pair(text, sizeof(text), length, "FAR_EL3", far);
    length = text_pair(text, sizeof(text), length, "index", survival->current);
    length = text_pair(text, sizeof(text), length, "pe", survival->pe);
    uart_text("\r\n");
    wire_send(0, "FATAL", text, length);
    standalone_fatal();
    pes_lost();
}

/* Sleep a little, so that an idle probe leaves the core to the harness. */
void nap(uint64_t ticks)
{
    if (!has_wfxt) {
        __asm__ volatile("yield");
        return;
    }
    ISB();
    __asm__ volatile("mov x9, %0\n .inst 0xd5031009" ::"r"(READ(cntvct_el0) + ticks) : "x9", "memory"); /* WFIT x9 */
}

static bool mailbox_poll(volatile struct mailbox *box)
{
    uint32_t doorbell = box->doorbell;
    uint32_t reason;
    if (doorbell == box->ack) {
        return false;
    }
    __asm__ volatile("dmb sy" ::: "memory");
    run_batch(box->batch, false, &reason);
    __asm__ volatile("dmb sy" ::: "memory");
    box->reserved0 = reason;
    box->ack = doorbell;
    return true;
}

static __attribute__((noreturn)) void serve(void)
{
    volatile struct mailbox *box = mailbox();
    const uint64_t frequency = READ(cntfrq_el0);
    uint32_t polls = 0, naps = 0;
    for (;;) {
        bool look = polls % POLLS_PER_UART_LOOK == 0 || naps;
        if (mailbox_poll(box) || (look && wire_poll())) {
            polls = naps = 0;
        } else if (polls < SPIN_POLLS) {
            polls++;
        } else {
            /* Work comes in bursts: short naps for a while, then naps that cost next to nothing. */
            bool soon = naps < SHORT_NAPS;
            naps += soon;
            box->heartbeat++;
            nap(frequency / (soon ? SHORT_NAPS_PER_SECOND : LONG_NAPS_PER_SECOND));
        }
    }
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
    has_wfxt = (READ(S3_0_C0_C6_2) & ID_WFXT_MASK) != 0;
    mmu_build();
    el3_init();
    survival_init(stack_top);
    operations_init();
    lower_init(0);
    pes_start();
    struct mailbox *box = mailbox();
    *box = (struct mailbox){.magic = MAILBOX_MAGIC, .version = RECORD_VERSION};
    if (!standalone()) {
        announce();
    }
    __asm__ volatile("msr daifclr, #4"); /* SError is recorded like any other exception */
    if (standalone()) {
        standalone_run();
    }
    serve();
}
