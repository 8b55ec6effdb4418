/* Register lists: system registers named by encoding, set before an operation and put back after it.
 *
 * The instructions are patched into slots of the survival pages, right-aligned so that a list of any length falls out
 * at the end; set slots take the list in its order, restore slots in reverse.  A slot that already holds the wanted
 * instruction is left alone: patching costs far more than running. */
#include "probe.h"

#define SLOT_WORDS (SLOT_SIZE / 4)
#define SLOT_INSTRUCTION_WORD (SLOT_INSTRUCTION / 4)
#define INSTRUCTION_MRS 0xd5200000u
#define INSTRUCTION_MSR 0xd5000000u
#define INSTRUCTION_NOP 0xd503201fu
#define X9 9u

uint32_t mrs_x0(uint32_t encoding)
{
    return INSTRUCTION_MRS | encoding << 5;
}

uint32_t msr_x0(uint32_t encoding)
{
    return INSTRUCTION_MSR | encoding << 5;
}

void patch_instruction(uint32_t *slot, uint32_t instruction)
{
    if (*slot == instruction) {
        return;
    }
    *(volatile uint32_t *)slot = instruction;
    __asm__ volatile("dc cvau, %0\n dsb ish\n ic ivau, %0" ::"r"(slot) : "memory");
    survival->patched = 1;
}

void patch_sync(void)
{
    if (survival->patched) {
        __asm__ volatile("dsb ish\n isb" ::: "memory");
        survival->patched = 0;
    }
}

/* Index of the first entry that names no register, `count` when there is none. */
uint32_t registers_first_invalid(const struct register_entry *list, uint32_t count)
{
    uint32_t j = 0;
    while (j < count && list[j].encoding >> 16 == 0 && list[j].encoding >> 14 >= 2) { /* op0 0 and 1: instructions */
        j++;
    }
    return j;
}

static bool concerns_gpc(const struct register_entry *entry)
{
    return entry->encoding == ENCODING_GPCCR_EL3 || entry->encoding == ENCODING_GPTBR_EL3;
}

/* Read register j of a list by its slot; false when the read takes an exception: then it cannot be put back. */
static bool read_old(uint32_t j, uint64_t *value)
{
    survive_op(0, 0, 0, (stub_t)(void (*)(void))(read_slots + 2 * j), 0);
    bool ok = survival->taken == 0;
    survival->taken = 0;
    *value = survival->data[0];
    return ok;
}

/* Lay a valid list out for survive_record, with the present values as what is put back unless `keep`. */
void registers_prepare(const struct register_entry *list, uint32_t count, bool keep)
{
    uint32_t first = SLOT_COUNT - count;
    for (uint32_t j = 0; j < count; j++) {
        uint32_t *slot = LOCAL(set_slots) + SLOT_WORDS * (first + j);
        patch_instruction(slot + SLOT_INSTRUCTION_WORD, msr_x0(list[j].encoding) | X9);
        patch_instruction(LOCAL(read_slots) + 2 * j, mrs_x0(list[j].encoding));
        survival->set_values[first + j] = list[j].value;
    }
    patch_sync();
    survival->invalidate = 0;
    for (uint32_t j = 0; j < count; j++) {
        uint32_t place = SLOT_COUNT - 1 - j;
        uint32_t *slot = LOCAL(restore_slots) + SLOT_WORDS * place + SLOT_INSTRUCTION_WORD;
        bool readable = read_old(j, &survival->old_values[place]);
        patch_instruction(slot, readable ? msr_x0(list[j].encoding) | X9 : INSTRUCTION_NOP);
        if (concerns_gpc(&list[j])) {
            survival->invalidate |= INVALIDATE_AFTER_RESTORE;
        }
    }
    patch_sync();
    survival->count = count;
    survival->reg_fault = 0;
    survival->restore_values = (uint64_t)&survival->old_values[first];
    survival->restore = (keep || !count) ? 0 : (uint64_t)(LOCAL(restore_slots) + SLOT_WORDS * first);
}

extern void stub_nop(void);

/* Set the registers of a batch: `count`, or the index of one that faults, and then all are as before. */
uint32_t context_set(const struct register_entry *list, uint32_t count)
{
    uint32_t invalid = registers_first_invalid(list, count);
    if (invalid < count) {
        return invalid;
    }
    survive_invalidate();
    survival->undo_count = 0;
    registers_prepare(list, count, true);
    for (uint32_t j = count; j-- > 0;) {
        uint32_t place = SLOT_COUNT - 1 - j;
        if (LOCAL(restore_slots)[SLOT_WORDS * place + SLOT_INSTRUCTION_WORD] != INSTRUCTION_NOP) {
            survival->undo[survival->undo_count++] =
                (struct register_entry){list[j].encoding, 0, survival->old_values[place]};
        }
    }
    survival->invalidate = INVALIDATE_AFTER_SET | INVALIDATE_AFTER_RESTORE;
    survive_record(0, 0, 0, stub_nop, 0);
    survival->taken = 0;
    if (survival->reg_fault) {
        survival->undo_count = 0;
        survival->reg_fault = 0;
        uint32_t slot = (uint32_t)(survival->elr - (uint64_t)LOCAL(set_slots)) / SLOT_SIZE;
        return slot - (SLOT_COUNT - count);
    }
    return count;
}

void context_restore(void)
{
    registers_prepare(survival->undo, (uint32_t)survival->undo_count, true);
    survival->invalidate = INVALIDATE_AFTER_SET;
    survive_record(0, 0, 0, stub_nop, 0);
    survival->taken = 0;
    survival->undo_count = 0;
}
