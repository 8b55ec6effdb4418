/* One record: choose the stub, run it, report.  lower.c does so below EL3.  The plain case (no registers, no flags) is
 * kept short: it is what the probe does hundreds of thousands of times a second. */
#include "operations.h"
#include "probe.h"

#define DECLARE(operation, how, name, outputs, prepared) DECLARE_##how(stub, name)
COMMON_OPERATIONS(DECLARE)
DECLARE_SAME(stub, sys)
DECLARE_SAME(stub, mrs)
DECLARE_SAME(stub, msr)
DECLARE_SAME(stub, write)
DECLARE_SAME(stub, copy)
DECLARE_SAME(stub, fill)
DECLARE_SAME(stub, tlbi_paall)

#define X0 0u
#define CRN_AT 7
#define ATOMIC_LSE 2

struct operation {
    stub_t stub[4];  /* by size_log2 */
    uint8_t outputs; /* how many of data0, data1 mean something */
    bool prepared;   /* needs prepare() first */
};

#define ENTRY(operation, how, name, outputs, prepared) [OP_##operation] = {STUBS_##how(stub, name), outputs, prepared},
static const struct operation operations[OP_COUNT] = {[OP_SYS] = {STUBS_SAME(stub, sys), 0, true},
                                                      [OP_MRS] = {STUBS_SAME(stub, mrs), 1, true},
                                                      [OP_MSR] = {STUBS_SAME(stub, msr), 0, true},
                                                      [OP_MEM_WRITE] = {STUBS_SAME(stub, write), 0, true},
                                                      [OP_MEM_READ] = {STUBS_SAME(stub, copy), 0, true},
                                                      [OP_MEM_FILL] = {STUBS_SAME(stub, fill), 0, true},
                                                      [OP_TLBI_PAALL] = {STUBS_SAME(stub, tlbi_paall), 0, false},
                                                      COMMON_OPERATIONS(ENTRY)};

static bool has_lse;

void operations_init(void)
{
    has_lse = ((READ(ID_AA64ISAR0_EL1) >> 20) & 0xf) >= ATOMIC_LSE;
}

/* Whether a record is to be run where the probe itself runs. */
static bool is_own(const struct record *record)
{
    return record->state == CURRENT_WORLD && record->el == CURRENT_EL;
}

static bool supported_here(const struct record *record)
{
    bool below = HAS_LOWER && record->state <= WORLD_REALM && record->state != CURRENT_WORLD && record->el < CURRENT_EL;
    return record->pe == survival->pe && record->requester <= REQUESTER_PE_FETCH && (is_own(record) || below);
}

bool is_smc_like(uint32_t op)
{
    return op == OP_SMC || op == OP_HVC || op == OP_SVC;
}

static bool inside(const struct batch *batch, uint64_t offset, uint64_t length)
{
    return offset <= batch->size && length <= batch->size - offset;
}

static void copy_words(uint64_t *to, const uint64_t *from, unsigned words)
{
    for (unsigned i = 0; i < words; i++) {
        to[i] = from[i];
    }
}

void report(const struct record *record, struct result *result, enum status status, unsigned outputs)
{
    uint64_t *word = (uint64_t *)result; /* in words: a call to memset for each record would be felt */
    for (unsigned i = 0; i < sizeof(*result) / sizeof(*word); i++) {
        word[i] = 0;
    }
    result->id = record->id;
    result->status = status;
    result->pe = record->pe;
    result->group = record->group;
    if (likely(survival->taken == 0)) {
        if (outputs > 0) {
            result->data0 = survival->data[0];
        }
        if (outputs > 1) {
            result->data1 = survival->data[1];
        }
        return;
    }
    result->taken = survival->taken > 255 ? 255 : (uint8_t)survival->taken;
    result->target_el = CURRENT_EL;
    result->vector = (uint16_t)survival->vector;
    result->esr = survival->esr;
    result->far = survival->far;
    result->hpfar = survival->hpfar;
    result->mfar = survival->mfar;
    result->elr = survival->elr;
    result->spsr = survival->spsr;
    result->scr = survival->scr;
    survival->taken = 0;
}

static bool encoding_ok(const struct record *record)
{
    uint64_t op0 = record->aux >> 14;
    return record->aux >> 16 == 0 && (record->op == OP_SYS ? op0 == 1 : op0 >= 2);
}

static void patch_encoding(const struct record *record)
{
    uint32_t encoding = (uint32_t)record->aux;
    if (record->op == OP_MRS) {
        patch_instruction(LOCAL(slot_mrs), mrs_x0(encoding) | X0);
    } else {
        patch_instruction(record->op == OP_SYS ? LOCAL(slot_sys) : LOCAL(slot_msr), msr_x0(encoding) | X0);
    }
    patch_sync();
}

static enum status prepare_memory(const struct batch *batch, const struct record *record, struct operands *operands)
{
    if (record->op == OP_MEM_FILL) {
        return STATUS_DONE;
    }
    if (!inside(batch, record->value0, record->aux)) {
        return STATUS_REFUSED;
    }
    uint64_t buffer = batch->base + record->value0;
    operands->address = record->op == OP_MEM_WRITE ? record->address : buffer;
    operands->value0 = record->op == OP_MEM_WRITE ? buffer : record->address;
    return STATUS_DONE;
}

/* aux of an SMC: offset of a fill, which only the host personality's stub knows; 0: none. */
static enum status prepare_fill(const struct batch *batch, const struct record *record, struct operands *operands)
{
    if (!record->aux) {
        return STATUS_DONE;
    }
    if (!HAS_FILL || record->op != OP_SMC) {
        return STATUS_UNSUPPORTED;
    }
    if (record->aux % 16 || !inside(batch, record->aux, DUMP_SIZE)) {
        return STATUS_REFUSED;
    }
    operands->aux = batch->base + record->aux;
    return STATUS_DONE;
}

static enum status prepare_arguments(const struct batch *batch, const struct record *record, struct operands *operands)
{
    const uint64_t size = sizeof(survival->args);
    if (!inside(batch, record->value0, size) || !inside(batch, record->value1, size) || record->value0 % 8 ||
        record->value1 % 8) {
        return STATUS_REFUSED;
    }
    copy_words(survival->args, (const uint64_t *)(batch->base + record->value0), SMC_REGISTERS);
    return prepare_fill(batch, record, operands);
}

void return_arguments(const struct batch *batch, const struct record *record)
{
    copy_words((uint64_t *)(batch->base + record->value1), survival->gpr, SMC_REGISTERS);
}

static enum status prepare(const struct batch *batch, const struct record *record, struct operands *operands)
{
    switch (record->op) {
    case OP_ATOMIC_ADD:
    case OP_ATOMIC_SWAP:
    case OP_ATOMIC_CAS:
        return has_lse ? STATUS_DONE : STATUS_UNSUPPORTED;
    case OP_SYS:
    case OP_MRS:
    case OP_MSR:
        if (!encoding_ok(record)) {
            return STATUS_REFUSED;
        }
        if (is_own(record)) { /* lower.c has slots of its own */
            patch_encoding(record);
        }
        return STATUS_DONE;
    case OP_SMC:
    case OP_HVC:
    case OP_SVC:
        return prepare_arguments(batch, record, operands);
    default:
        return prepare_memory(batch, record, operands);
    }
}

static enum status validate(const struct batch *batch, const struct record *record)
{
    uint64_t list = (uint64_t)record->regs_count * sizeof(struct register_entry);
    if (record->op >= OP_COUNT || record->size_log2 > 3 || record->reserved0 || record->reserved1 ||
        record->flags & ~FLAG_ALL || record->regs_count > REGS_MAX || record->regs_offset % 8 ||
        !inside(batch, record->regs_offset, list)) {
        return STATUS_REFUSED;
    }
    const struct register_entry *registers = (const struct register_entry *)(batch->base + record->regs_offset);
    if (registers_first_invalid(registers, record->regs_count) < record->regs_count) {
        return STATUS_REFUSED;
    }
    if (record->flags & FLAG_DUMP && (record->dump_offset % 8 || !inside(batch, record->dump_offset, DUMP_SIZE))) {
        return STATUS_REFUSED;
    }
    if (record->flags & FLAG_PAN && is_own(record)) {
        return STATUS_REFUSED;
    }
    if (!supported_here(record) || !operations[record->op].stub[0]) {
        return STATUS_UNSUPPORTED;
    }
    return STATUS_DONE;
}

bool is_address_translation(const struct record *record)
{
    uint64_t crm = (record->aux >> 3) & 0xf;
    return ((record->aux >> 7) & 0xf) == CRN_AT && (crm == 8 || crm == 9);
}

/* Run a stub with the record's registers in force. */
void run_stub(const struct batch *batch, const struct record *record, const struct operands *operands, stub_t stub)
{
    if (record->flags & FLAG_TLBI_BEFORE) {
        survive_invalidate();
    }
    registers_prepare((const struct register_entry *)(batch->base + record->regs_offset), record->regs_count,
                      record->flags & FLAG_KEEP_REGS);
    if (record->flags & FLAG_TLBI_AFTER_REGS) {
        survival->invalidate |= INVALIDATE_AFTER_SET;
    }
    survival->want_all = is_smc_like(record->op) || record->flags & FLAG_DUMP;
    survive_record(operands->address, operands->value0, operands->value1, stub, operands->aux);
    survival->want_all = 0;
}

static void run_general(const struct batch *batch, const struct record *record, struct result *result)
{
    struct operands operands = {record->address, record->value0, record->value1, record->aux};
    if (is_own(record)) {
        lower_leave();
    }
    enum status status = validate(batch, record);
    if (status == STATUS_DONE && operations[record->op].prepared) {
        status = prepare(batch, record, &operands);
    }
    if (status != STATUS_DONE) {
        report(record, result, status, 0);
        return;
    }
    if (!is_own(record)) {
        run_lower(batch, record, result);
        return;
    }
    run_stub(batch, record, &operands, operations[record->op].stub[record->size_log2]);
    bool taken = survival->taken != 0;
    uint64_t pc = taken ? survival->elr : survival->gpr[32];
    uint64_t pstate = taken ? survival->spsr : survival->gpr[33] | READ(daif) | PSTATE_OWN;
    if (survival->reg_fault) {
        survival->reg_fault = 0;
        report(record, result, STATUS_REG_FAULT, 0);
        return;
    }
    report(record, result, STATUS_DONE, operations[record->op].outputs);
    if (record->op == OP_SYS && !taken && is_address_translation(record)) {
        result->par = READ(par_el1);
    }
    if (is_smc_like(record->op)) {
        return_arguments(batch, record);
    }
    if (record->flags & FLAG_DUMP) {
        dump_store((struct dump *)(batch->base + record->dump_offset), pc, pstate);
    }
}

void run_record(const struct batch *batch, const struct record *record, struct result *result)
{
    bool plain = record->flags == 0 && record->regs_count == 0 && is_own(record) && supported_here(record) &&
                 record->op < OP_COUNT && record->size_log2 <= 3 && !record->reserved0 && !record->reserved1 &&
                 !survival->drop.lowered;
    const struct operation *operation = &operations[plain ? record->op : 0];
    stub_t stub = operation->stub[record->size_log2 & 3];
    if (unlikely(!plain || operation->prepared || !stub)) {
        run_general(batch, record, result);
        return;
    }
    survive_op(record->address, record->value0, record->value1, stub, record->aux);
    report(record, result, STATUS_DONE, operation->outputs);
}
