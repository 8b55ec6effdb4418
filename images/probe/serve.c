/* Waiting for work from the mailbox and the wire. */
#include "probe.h"

#define ID_WFXT_MASK 0xful
#define POLLS_PER_UART_LOOK 64u
#define SPIN_POLLS 40000u
#define SHORT_NAPS 100u
#define SHORT_NAPS_PER_SECOND 20000u
#define LONG_NAPS_PER_SECOND 2000u

static char text[1024];
static bool has_wfxt;

void serve_init(void)
{
    has_wfxt = (READ(S3_0_C0_C6_2) & ID_WFXT_MASK) != 0;
    *mailbox() = (struct mailbox){.magic = MAILBOX_MAGIC, .version = RECORD_VERSION};
}

void announce(void)
{
    uart_text("\r\nrealmcheck probe, personality " PERSONALITY "\r\n");
    wire_send(0, "BANNER", text, banner_text(text, sizeof(text)));
}

void fatal_send(uint64_t esr, uint64_t elr, uint64_t far)
{
    size_t length = text_pair(text, sizeof(text), 0, "ESR_EL" STRING(CURRENT_EL), esr);
    length = text_pair(text, sizeof(text), length, "ELR_EL" STRING(CURRENT_EL), elr);
    length = text_pair(text, sizeof(text), length, "FAR_EL" STRING(CURRENT_EL), far);
    length = text_pair(text, sizeof(text), length, "index", survival->current);
    length = text_pair(text, sizeof(text), length, "pe", survival->pe);
    uart_text("\r\n");
    wire_send(0, "FATAL", text, length);
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

void serve(void)
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
