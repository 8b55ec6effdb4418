/* The banner: KEY=VALUE words that tell the harness what it talks to.  Values are hexadecimal but for the words. */
#include "probe.h"

#define MECIDR_EL2 S3_4_C10_C8_7

static size_t append(char *out, size_t room, size_t at, const char *text)
{
    while (*text && at < room) {
        out[at++] = *text++;
    }
    return at;
}

size_t text_pair(char *out, size_t room, size_t at, const char *key, uint64_t value)
{
    char digits[17];
    unsigned first = 16;
    digits[16] = 0;
    do {
        digits[--first] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    at = append(out, room, at, at ? " " : "");
    at = append(out, room, at, key);
    at = append(out, room, at, "=");
    return append(out, room, at, digits + first);
}

size_t banner_text(char *out, size_t room)
{
    uint64_t mmfr3 = READ(S3_0_C0_C7_3);
    const struct {
        const char *key;
        uint64_t value;
    } pairs[] = {
        {"record", RECORD_VERSION},
        {"el", CURRENT_EL},
        {"mailbox", MAILBOX_PA},
        {"batch", BATCH_PA},
        {"batch_size", BATCH_SIZE},
        {"windows_l1", mmu_window_table()},
        {"regs_max", REGS_MAX},
        {"lower", lower_base()},
        {"pes", pes_online()},
        {"MIDR_EL1", READ(MIDR_EL1)},
        {"ID_AA64PFR0_EL1", READ(ID_AA64PFR0_EL1)},
        {"ID_AA64PFR1_EL1", READ(ID_AA64PFR1_EL1)},
        {"ID_AA64MMFR0_EL1", READ(ID_AA64MMFR0_EL1)},
        {"ID_AA64MMFR1_EL1", READ(ID_AA64MMFR1_EL1)},
        {"ID_AA64MMFR2_EL1", READ(ID_AA64MMFR2_EL1)},
        {"ID_AA64MMFR3_EL1", mmfr3},
        {"ID_AA64MMFR4_EL1", READ(S3_0_C0_C7_4)},
        {"ID_AA64ISAR0_EL1", READ(ID_AA64ISAR0_EL1)},
        {"ID_AA64ISAR1_EL1", READ(ID_AA64ISAR1_EL1)},
        {"ID_AA64ISAR2_EL1", READ(S3_0_C0_C6_2)},
        {"ID_AA64DFR0_EL1", READ(ID_AA64DFR0_EL1)},
#ifndef PROBE_HOST
        {"GPCCR_EL3", survival->boot.gpccr},
#endif
    };
    size_t at = text_pair(out, room, 0, "protocol", PROTOCOL_VERSION);
    at = append(out, room, at, " personality=" PERSONALITY);
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        at = text_pair(out, room, at, pairs[i].key, pairs[i].value);
    }
    if ((mmfr3 >> 28) & 0xf) { /* FEAT_MEC */
        at = text_pair(out, room, at, "MECIDR_EL2", READ(MECIDR_EL2));
    }
    return at;
}
