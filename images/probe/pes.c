/* Several PEs: the first hands a batch to all, each runs the records that name it, and groups are barriers between
 * them.
 *
 * A PE that runs no record for too long while the others wait at a barrier is lost, and with it the crew: the batch is
 * BAD, and so is every later one that asks for several PEs. */
#include "probe.h"

#define ONLINE_TIMEOUT_DIVISOR 4u /* of a second: PEs that have not come up by then are not there */
#define BARRIER_SECONDS 2u
#define SPIN_POLLS 20000u
#define NAPS_PER_SECOND 5000u

/* Read by start.S with the caches off; in .data, because the first PE clears .bss while the others look. */
uint32_t pes_released __attribute__((section(".data"))) = 0;

extern char survival_copies[], pe_stacks[];
void secondary_main(unsigned pe);

static unsigned online = 1;     /* PEs that came up, the first included */
static uint32_t arrived_up = 1; /* ... so far */
static uint32_t bell;           /* number of the job */
static const struct job *job;
static uint32_t trouble; /* first bad_reason of this job */
static uint32_t lost;    /* bit n: PE n is lost */
static uint32_t waiting, generation;
static uint32_t progress[PES_MAX]; /* records that each PE has run */

#define LOAD(variable) __atomic_load_n(&(variable), __ATOMIC_ACQUIRE)
#define STORE(variable, value) __atomic_store_n(&(variable), (value), __ATOMIC_RELEASE)

static void clean(const void *from, size_t size)
{
    for (uint64_t at = (uint64_t)from & ~15ul; at < (uint64_t)from + size; at += 16) {
        __asm__ volatile("dc civac, %0" ::"r"(at) : "memory");
    }
    DSB();
}

/* The survival area of PE n: code as linked, data of its own. */
static void make_area(unsigned pe)
{
    char *area = survival_copies + (pe - 1) * SURVIVAL_SIZE;
    struct survival *data = (struct survival *)(area + SURVIVAL_CODE_SIZE);
    memcpy(area, survive_start, SURVIVAL_CODE_SIZE);
    data->pe = pe;
    data->offset = (uint64_t)area - (uint64_t)survive_start;
    clean(area, SURVIVAL_SIZE);
}

void pes_start(void)
{
    const unsigned present = gic_pes();
    for (unsigned pe = 1; pe < present; pe++) {
        make_area(pe);
    }
    if (present > 1) {
        STORE(pes_released, 1);
        clean(&pes_released, sizeof(pes_released));
        uint64_t end = READ(cntpct_el0) + READ(cntfrq_el0) / ONLINE_TIMEOUT_DIVISOR;
        while (LOAD(arrived_up) < present && READ(cntpct_el0) < end) {
            __asm__ volatile("yield");
        }
    }
    online = LOAD(arrived_up) == present ? present : 1;
}

unsigned pes_online(void)
{
    return online;
}

void pes_lost(void)
{
    __atomic_fetch_or(&lost, 1u << survival->pe, __ATOMIC_ACQ_REL);
}

static void note(uint32_t reason)
{
    uint32_t none = BAD_NONE;
    __atomic_compare_exchange_n(&trouble, &none, reason, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static uint32_t whole_progress(void)
{
    uint32_t sum = 0;
    for (unsigned pe = 0; pe < online; pe++) {
        sum += LOAD(progress[pe]);
    }
    return sum;
}

/* Wait for all PEs; false when one is lost: those that are still on their way run no record for too long. */
static bool barrier(void)
{
    uint32_t now = LOAD(generation);
    DSB(); /* what records stored, whatever its memory type, and their maintenance */
    if (__atomic_add_fetch(&waiting, 1, __ATOMIC_ACQ_REL) == online) {
        STORE(waiting, 0);
        STORE(generation, now + 1);
        return true;
    }
    const uint64_t patience = BARRIER_SECONDS * READ(cntfrq_el0);
    uint64_t end = READ(cntpct_el0) + patience;
    uint32_t seen = whole_progress();
    while (LOAD(generation) == now) {
        uint32_t sum = whole_progress();
        if (sum != seen) {
            seen = sum;
            end = READ(cntpct_el0) + patience;
        }
        if (LOAD(lost) || READ(cntpct_el0) > end) {
            pes_lost();
            return false;
        }
        __asm__ volatile("yield");
    }
    return true;
}

/* Records of no PE that is there are the first's, who says that they are not supported. */
static bool mine(const struct record *record)
{
    return survival->pe == 0 ? record->pe == 0 || record->pe >= online : record->pe == survival->pe;
}

static bool run_groups(const struct batch *batch, struct batch_header *header)
{
    const struct record *records = (const struct record *)(batch->base + header->records_offset);
    struct result *results = (struct result *)(batch->base + header->results_offset);
    const bool first = survival->pe == 0;
    volatile uint32_t *completed = &header->completed;
    volatile uint32_t *current = &mailbox()->current;
    for (uint32_t i = 0; i < header->record_count; i++) {
        if (i && records[i].group != records[i - 1].group) {
            if (!barrier()) {
                return false;
            }
            if (first) {
                *completed = i;
            }
        }
        if (mine(&records[i])) {
            survival->current = i;
            if (first) {
                *current = i;
            }
            run_record(batch, &records[i], &results[i]);
            STORE(progress[survival->pe], progress[survival->pe] + 1);
        }
    }
    return barrier();
}

/* A PE's part of a job: barriers after setting the context, after each group, and after putting the context back. */
static bool work(const struct job *what)
{
    struct batch_header *header = what->header;
    const struct register_entry *context = (const struct register_entry *)(what->batch->base + header->context_offset);
    uint32_t set = context_set(context, header->context_count);
    if (set < header->context_count) {
        note(BAD_CONTEXT | set << BAD_INDEX_SHIFT);
    }
    bool whole = barrier();
    if (whole && LOAD(trouble) == BAD_NONE) {
        whole = run_groups(what->batch, header);
    }
    batch_end();
    return whole && barrier();
}

uint32_t pes_run(const struct job *what)
{
    if (LOAD(lost)) {
        return BAD_PE;
    }
    trouble = BAD_NONE;
    job = what;
    STORE(bell, bell + 1);
    if (!work(what)) {
        return BAD_PE;
    }
    if (trouble == BAD_NONE) {
        *(volatile uint32_t *)&what->header->completed = what->header->record_count;
    }
    return trouble;
}

/* Where start.S sends every PE but the first. */
void secondary_main(unsigned pe)
{
    el3_init();
    survival_init(pe_stacks + pe * PE_STACK_SIZE);
    lower_init(pe);
    __asm__ volatile("msr daifclr, #4"); /* SError is recorded like any other exception */
    const uint64_t pause = READ(cntfrq_el0) / NAPS_PER_SECOND;
    uint32_t done = 0, polls = 0;
    __atomic_add_fetch(&arrived_up, 1, __ATOMIC_ACQ_REL);
    for (;;) {
        if (LOAD(bell) != done) {
            done++;
            polls = 0;
            if (!work(job)) {
                return;
            }
        } else if (polls < SPIN_POLLS) {
            polls++;
        } else {
            nap(pause);
        }
    }
}
