/* Stage 1 of EL3: a VA names memory type and PAS in bits [47:39] and PA below, so that a stimulus is one address.
 * Slot = memtype << 2 | pas; pas: 0 Root, 1 Realm, 2 Secure, 3 Non-secure; memtype: 0 Normal write-back, 1 Normal
 * non-cacheable, 2 Device-nGnRE.  Slot 16 is the window: its level 1 table is written by the harness. */
#include "probe.h"

#define ENTRIES 512
#define SLOTS 12
#define WINDOW_SLOT 16
#define MEMTYPE_DEVICE 2

#define DESC_BLOCK 1ul
#define DESC_TABLE 3ul
#define DESC_ATTR(index) ((uint64_t)(index) << 2)
#define DESC_NS (1ul << 5)
#define DESC_AP1 (1ul << 6) /* RES1 in a single-privilege regime */
#define DESC_SH_INNER (3ul << 8)
#define DESC_AF (1ul << 10)
#define DESC_NSE (1ul << 11)
#define DESC_XN (1ul << 54)

#define MAIR_VALUE 0x0444fful /* index = memtype */
#define TCR_T0SZ_48 16ul
#define TCR_IRGN0_WB (1ul << 8)
#define TCR_ORGN0_WB (1ul << 10)
#define TCR_SH0_INNER (3ul << 12)
#define TCR_PS(range) ((uint64_t)(range) << 16)
#define TCR_RES1 (1ul << 31 | 1ul << 23)
#define TCR_DS (1ul << 32)
#define PARANGE_48 5
#define SCTLR_M_C_I (1ul << 0 | 1ul << 2 | 1ul << 12)

static uint64_t level0[ENTRIES] __attribute__((aligned(4096)));
static uint64_t level1[SLOTS][ENTRIES] __attribute__((aligned(4096)));
static uint64_t window[ENTRIES] __attribute__((aligned(4096), section(".bss.window")));

uint64_t mmu_window_table(void)
{
    return (uint64_t)window;
}

static uint64_t pas_bits(unsigned pas)
{
    /* pas is {NSE, NS} with the upper bit inverted, so that Root is 0 and VA == PA is Root. */
    uint64_t bits = (pas & 1) ? DESC_NS : 0;
    return (pas & 2) ? bits : bits | DESC_NSE;
}

static void fill_slot(unsigned slot, bool lpa2)
{
    uint64_t pas = pas_bits(slot & 3);
    for (uint64_t gigabyte = 0; gigabyte < ENTRIES; gigabyte++) {
        /* Gigabyte 0 is the machine's devices: never Normal, never executed, whatever the slot says. */
        uint64_t memtype = gigabyte ? slot >> 2 : MEMTYPE_DEVICE;
        uint64_t descriptor = gigabyte << 30 | DESC_BLOCK | DESC_ATTR(memtype) | DESC_AP1 | DESC_AF | pas;
        if (!lpa2) {
            descriptor |= DESC_SH_INNER;
        }
        if (memtype == MEMTYPE_DEVICE) {
            descriptor |= DESC_XN;
        }
        level1[slot][gigabyte] = descriptor;
    }
    level0[slot] = (uint64_t)level1[slot] | DESC_TABLE;
}

static bool has_lpa2(uint64_t mmfr0)
{
    return ((mmfr0 >> 28) & 0xf) == 1; /* TGran4: 52-bit addresses with 4 KB granules */
}

void mmu_build(void)
{
    bool lpa2 = has_lpa2(READ(ID_AA64MMFR0_EL1));
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        fill_slot(slot, lpa2);
    }
    level0[WINDOW_SLOT] = (uint64_t)window | DESC_TABLE;
}

void mmu_enable(void)
{
    uint64_t mmfr0 = READ(ID_AA64MMFR0_EL1);
    uint64_t range = mmfr0 & 0xf;
    bool lpa2 = has_lpa2(mmfr0);
    if (!lpa2 && range > PARANGE_48) {
        range = PARANGE_48;
    }
    WRITE(mair_el3, MAIR_VALUE);
    WRITE(tcr_el3,
          TCR_T0SZ_48 | TCR_IRGN0_WB | TCR_ORGN0_WB | TCR_SH0_INNER | TCR_PS(range) | TCR_RES1 | (lpa2 ? TCR_DS : 0));
    WRITE(ttbr0_el3, (uint64_t)level0);
    DSB();
    ISB();
    survive_invalidate();
    WRITE(sctlr_el3, READ(sctlr_el3) | SCTLR_M_C_I);
    ISB();
}
