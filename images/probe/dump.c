/* A register dump: what the operation left in x0-x30, then SIMD and system registers.
 * System registers are read after the record's own have been put back; a record that wants to see them sets KEEP_REGS.
 */
#include "probe.h"

extern void dump_simd(uint64_t (*q)[2]);

enum {
#define REGISTER(name, op0, op1, crn, crm, op2) INDEX_##name,
#include "dump_registers.h"
#undef REGISTER
    REGISTER_COUNT
};
_Static_assert(REGISTER_COUNT <= DUMP_PAIRS, "the dump holds every register listed");

void dump_store(struct dump *dump, uint64_t pc, uint64_t pstate)
{
    for (unsigned i = 0; i < 31; i++) {
        dump->x[i] = survival->gpr[i];
    }
    dump->sp = survival->gpr[31];
    dump->pc = pc;
    dump->pstate = pstate;
    dump_simd(dump->q);
    dump->fpsr = READ(fpsr);
    dump->fpcr = READ(fpcr);
    for (unsigned i = 0; i < DUMP_PAIRS; i++) {
        dump->pairs[i][0] = 0;
        dump->pairs[i][1] = 0;
    }
#define REGISTER(name, op0, op1, crn, crm, op2)                                                                        \
    dump->pairs[INDEX_##name][0] = ENCODING(op0, op1, crn, crm, op2);                                                  \
    dump->pairs[INDEX_##name][1] = READ(S##op0##_##op1##_C##crn##_C##crm##_##op2);
#include "dump_registers.h"
#undef REGISTER
}
