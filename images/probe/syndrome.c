/* Which exception a record below EL3 took.
 *
 * An exception to EL1 or EL2 finds a vector that hands over to EL3 by an SMC, so what EL3 sees is a chain: its own
 * exception, then what made EL2's vector run, then what made EL1's.  Each link is told by where it was taken from: an
 * address in a vector page, or the stub's own return instruction. */
#include "probe.h"

#define EC_ILLEGAL 0x0eu
#define EC_SVC 0x15u
#define EC_SMC 0x17u
#define EC_GPC 0x1eu
#define EC_INSTRUCTION_LOWER 0x20u
#define EC_INSTRUCTION 0x21u
#define GPC_ISS_IND (1u << 20)
#define IMMEDIATE 0xffffu
#define VECTORS_END 0x800u
#define VECTOR_STEP 0x80u
#define VECTOR_FIQ 0x500u
#define TAKEN_MANY 255u

struct level {
    uint8_t el;
    uint16_t vector;
    struct lower_syndrome at;
};

static unsigned ec(uint64_t esr)
{
    return (esr >> 26) & 0x3f;
}

static uint8_t el_of(uint64_t spsr)
{
    return (spsr >> 2) & 3;
}

/* The EL whose vector page `pc` is in, at the very start of a vector or just after its SMC; 0 when it is in none. */
static uint8_t vector_owner(const struct pages *pages, uint64_t pc)
{
    for (uint8_t el = 1; el <= 2; el++) {
        if (pc - pages->vectors[el] < VECTORS_END) {
            return el;
        }
    }
    return 0;
}

static bool handed_over(const struct level *level, const struct pages *pages)
{
    uint64_t number = (level->at.esr & IMMEDIATE) - SMC_HANDOVER;
    return ec(level->at.esr) == EC_SMC && number < VECTORS_END / VECTOR_STEP && vector_owner(pages, level->at.elr);
}

static bool came_back(const struct level *level, const struct pages *pages)
{
    unsigned class = ec(level->at.esr);
    return (class == EC_SVC || class == EC_SMC) && (level->at.esr & IMMEDIATE) == SMC_RETURN &&
           level->at.elr - pages->stubs < VECTORS_END;
}

static bool is_fetch(uint64_t esr)
{
    unsigned class = ec(esr);
    return class == EC_INSTRUCTION_LOWER || class == EC_INSTRUCTION || (class == EC_GPC && esr & GPC_ISS_IND);
}

static struct level next(const struct level *level, uint8_t el, const struct pages *pages)
{
    uint64_t offset = (level->at.elr - pages->vectors[el]) & ~(uint64_t)(VECTOR_STEP - 1);
    return (struct level){el, (uint16_t)offset, survival->lower[el - 1]};
}

/* An exception that hit a vector before it could hand over: what that vector had been entered for came first, and is
 * returned. */
static struct level nested(struct verdict *verdict, struct level level, const struct pages *pages)
{
    uint8_t el;
    while ((el = vector_owner(pages, level.at.elr)) != 0 && !handed_over(&level, pages)) {
        verdict->flags |= RESULT_NESTED;
        if (el >= level.el) { /* the same EL again and again: its registers hold only the latest */
            verdict->flags |= RESULT_ENDLESS;
            survival->taken = TAKEN_MANY;
            break;
        }
        survival->taken++;
        level = next(&level, el, pages);
        verdict->first_esr = level.at.esr;
        verdict->first_far = level.at.far;
    }
    return level;
}

/* Read the chain.  On return `survival` holds the syndrome of the exception that the record took, and `taken` how many
 * it took: 0 when the stub came back by way of a vector. */
struct verdict syndrome_unwind(const struct record *record, const struct pages *pages, uint64_t entry)
{
    struct verdict verdict = {.status = STATUS_DONE};
    struct level level = {3, (uint16_t)survival->vector, {survival->esr, survival->far, survival->elr, survival->spsr}};
    uint8_t el;
    if (level.vector == VECTOR_FIQ) {
        el = vector_owner(pages, level.at.elr);
        if (el != 0 && vector_owner(pages, survival->lower[el - 1].elr) == el) {
            level = next(&level, el, pages);
        } else {
            verdict.status = STATUS_HUNG;
            level.at.esr = 0; /* an interrupt has no syndrome */
        }
        survival->mfar = survival->hpfar = 0;
    }
    while (verdict.status == STATUS_DONE && handed_over(&level, pages) &&
           (el = vector_owner(pages, level.at.elr)) < level.el) {
        level = next(&level, el, pages);
    }
    verdict.el = level.el;
    struct level first = nested(&verdict, level, pages);
    bool illegal = first.el == 3 && ec(first.at.esr) == EC_ILLEGAL && el_of(first.at.spsr) == 3;
    if (came_back(&first, pages)) { /* whatever the way back met, the operation had ended */
        survival->taken = 0;
    } else if (illegal || (first.at.elr == entry && el_of(first.at.spsr) == record->el && is_fetch(first.at.esr))) {
        verdict.status = STATUS_NOT_ENTERED;
    }
    survival->vector = level.vector;
    survival->esr = level.at.esr;
    survival->far = level.at.far;
    survival->elr = level.at.elr;
    survival->spsr = level.at.spsr;
    return verdict;
}

/* Forget what EL1 and EL2 recorded, so that it cannot pass for the syndrome of a later exception. */
void syndrome_clear(void)
{
    WRITE(esr_el1, 0);
    WRITE(far_el1, 0);
    WRITE(elr_el1, 0);
    WRITE(esr_el2, 0);
    WRITE(far_el2, 0);
    WRITE(elr_el2, 0);
}
