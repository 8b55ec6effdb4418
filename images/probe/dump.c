/* A register dump: what the operation left in x0-x30, then SIMD and system registers.
 * System registers are read after the record's own have been put back; a record that wants to see them sets KEEP_REGS. */
#include "probe.h"

#define MFAR_EL3 S3_6_C6_C0_5
#define PSTATE_EL3H 0xdul

extern void dump_simd(uint64_t (*q)[2]);

#define EL3(X) \
    X(3, 6, 1, 1, 0) /* SCR_EL3 */ X(3, 6, 1, 0, 0) /* SCTLR_EL3 */ X(3, 6, 1, 1, 2) /* CPTR_EL3 */ \
    X(3, 6, 1, 3, 1) /* MDCR_EL3 */ X(3, 6, 2, 0, 0) /* TTBR0_EL3 */ X(3, 6, 2, 0, 2) /* TCR_EL3 */ \
    X(3, 6, 10, 2, 0) /* MAIR_EL3 */ X(3, 6, 12, 0, 0) /* VBAR_EL3 */ X(3, 6, 5, 2, 0) /* ESR_EL3 */ \
    X(3, 6, 6, 0, 0) /* FAR_EL3 */ X(3, 6, 4, 0, 1) /* ELR_EL3 */ X(3, 6, 4, 0, 0) /* SPSR_EL3 */ \
    X(3, 6, 13, 0, 2) /* TPIDR_EL3 */ X(3, 6, 2, 1, 6) /* GPCCR_EL3 */ X(3, 6, 2, 1, 4) /* GPTBR_EL3 */ \
    X(3, 6, 6, 0, 5) /* MFAR_EL3 */
#define EL2(X) \
    X(3, 4, 1, 1, 0) /* HCR_EL2 */ X(3, 4, 1, 0, 0) /* SCTLR_EL2 */ X(3, 4, 1, 1, 2) /* CPTR_EL2 */ \
    X(3, 4, 1, 1, 1) /* MDCR_EL2 */ X(3, 4, 1, 1, 3) /* HSTR_EL2 */ X(3, 4, 2, 0, 0) /* TTBR0_EL2 */ \
    X(3, 4, 2, 0, 2) /* TCR_EL2 */ X(3, 4, 2, 1, 0) /* VTTBR_EL2 */ X(3, 4, 2, 1, 2) /* VTCR_EL2 */ \
    X(3, 4, 5, 2, 0) /* ESR_EL2 */ X(3, 4, 6, 0, 0) /* FAR_EL2 */ X(3, 4, 6, 0, 4) /* HPFAR_EL2 */ \
    X(3, 4, 10, 2, 0) /* MAIR_EL2 */ X(3, 4, 12, 0, 0) /* VBAR_EL2 */ X(3, 4, 4, 0, 1) /* ELR_EL2 */ \
    X(3, 4, 4, 0, 0) /* SPSR_EL2 */ X(3, 4, 13, 0, 2) /* TPIDR_EL2 */ X(3, 4, 0, 0, 0) /* VPIDR_EL2 */ \
    X(3, 4, 0, 0, 5) /* VMPIDR_EL2 */ X(3, 4, 14, 1, 0) /* CNTHCTL_EL2 */ X(3, 4, 14, 0, 3) /* CNTVOFF_EL2 */
#define EL1(X) \
    X(3, 0, 1, 0, 0) /* SCTLR_EL1 */ X(3, 0, 1, 0, 2) /* CPACR_EL1 */ X(3, 0, 2, 0, 0) /* TTBR0_EL1 */ \
    X(3, 0, 2, 0, 1) /* TTBR1_EL1 */ X(3, 0, 2, 0, 2) /* TCR_EL1 */ X(3, 0, 5, 2, 0) /* ESR_EL1 */ \
    X(3, 0, 6, 0, 0) /* FAR_EL1 */ X(3, 0, 10, 2, 0) /* MAIR_EL1 */ X(3, 0, 12, 0, 0) /* VBAR_EL1 */ \
    X(3, 0, 4, 0, 1) /* ELR_EL1 */ X(3, 0, 4, 0, 0) /* SPSR_EL1 */ X(3, 0, 7, 4, 0) /* PAR_EL1 */ \
    X(3, 0, 13, 0, 1) /* CONTEXTIDR_EL1 */ X(3, 0, 13, 0, 4) /* TPIDR_EL1 */ X(3, 0, 14, 1, 0) /* CNTKCTL_EL1 */ \
    X(3, 0, 4, 1, 0) /* SP_EL0 */ X(3, 4, 4, 1, 0) /* SP_EL1 */ X(3, 6, 4, 1, 0) /* SP_EL2 */ \
    X(3, 3, 13, 0, 2) /* TPIDR_EL0 */ X(3, 3, 13, 0, 3) /* TPIDRRO_EL0 */

#define COUNT(op0, op1, crn, crm, op2) +1
_Static_assert(0 EL3(COUNT) EL2(COUNT) EL1(COUNT) <= DUMP_PAIRS, "the dump holds every register listed");

#define STORE(op0, op1, crn, crm, op2) \
    pair[0] = ENCODING(op0, op1, crn, crm, op2); \
    pair[1] = READ(S##op0##_##op1##_C##crn##_C##crm##_##op2); \
    pair += 2;

void dump_store(struct dump *dump, bool taken)
{
    for (unsigned i = 0; i < 31; i++) {
        dump->x[i] = survival.gpr[i];
    }
    dump->sp = survival.gpr[31];
    dump->pc = taken ? survival.elr : survival.gpr[32];
    dump->pstate = taken ? survival.spsr : survival.gpr[33] | READ(daif) | PSTATE_EL3H;
    dump_simd(dump->q);
    dump->fpsr = READ(fpsr);
    dump->fpcr = READ(fpcr);
    for (unsigned i = 0; i < DUMP_PAIRS; i++) {
        dump->pairs[i][0] = 0;
        dump->pairs[i][1] = 0;
    }
    uint64_t *pair = dump->pairs[0];
    EL3(STORE) EL2(STORE) EL1(STORE)
}
