/* Probe record format v1 in C: the same bytes that harness/probe/records.py defines; a test compares the two.
 * Little-endian, naturally aligned.  Plain C11, so that a host program can include it. */
#ifndef RECORD_H
#define RECORD_H

#include <stddef.h>
#include <stdint.h>

#define RECORD_VERSION 1
#define BATCH_MAGIC 0x31424352u
#define MAILBOX_MAGIC 0x424d4352u
#define DUMP_SIZE 2048
#define DUMP_PAIRS 78
#define REGS_MAX 32
#define SMC_REGISTERS 18

enum op {
    OP_NOP = 0,
    OP_LOAD = 1,
    OP_STORE = 2,
    OP_LOAD_PAIR = 3,
    OP_STORE_PAIR = 4,
    OP_LOAD_EXCLUSIVE = 5,
    OP_STORE_EXCLUSIVE = 6,
    OP_ATOMIC_ADD = 7,
    OP_ATOMIC_SWAP = 8,
    OP_ATOMIC_CAS = 9,
    OP_FETCH = 10,
    OP_DC_ZVA = 11,
    OP_SYS = 12,
    OP_MRS = 13,
    OP_MSR = 14,
    OP_SMC = 15,
    OP_HVC = 16,
    OP_MEM_WRITE = 17,
    OP_MEM_READ = 18,
    OP_MEM_FILL = 19,
    OP_TLBI_PAALL = 20,
    OP_SVC = 21,
    OP_LOAD_SIMD = 22,
    OP_STORE_SIMD = 23,
    OP_LOAD_SIMD_PAIR = 24,
    OP_STORE_SIMD_PAIR = 25,
    OP_LOAD_UNPRIVILEGED = 26,
    OP_STORE_UNPRIVILEGED = 27,
    OP_PREFETCH = 28,
    OP_COUNT = 29
};

enum record_flag {
    FLAG_DUMP = 1 << 0,
    FLAG_TLBI_BEFORE = 1 << 1,
    FLAG_TLBI_AFTER_REGS = 1 << 2,
    FLAG_KEEP_REGS = 1 << 3,
    FLAG_DESTRUCTIVE = 1 << 4,
    FLAG_PAN = 1 << 5,
    FLAG_ALL = (1 << 6) - 1
};

enum requester { REQUESTER_PE_DATA = 0, REQUESTER_PE_FETCH = 1 };

enum world { WORLD_SECURE = 0, WORLD_NON_SECURE = 1, WORLD_ROOT = 2, WORLD_REALM = 3 };

enum status {
    STATUS_NOT_RUN = 0,
    STATUS_DONE = 1,
    STATUS_UNSUPPORTED = 2,
    STATUS_REFUSED = 3,
    STATUS_REG_FAULT = 4,
    STATUS_NOT_ENTERED = 5,
    STATUS_HUNG = 6
};

enum result_flag { RESULT_NESTED = 1 << 0, RESULT_ENDLESS = 1 << 1 };

enum batch_flag { BATCH_FLAG_PES = 1 << 0 };

enum batch_status { BATCH_IDLE = 0, BATCH_RUNNING = 1, BATCH_DONE = 2, BATCH_BAD = 3 };

/* Why a batch is BAD: low half of batch_header.reserved; the high half is an index where one helps. */
#define BAD_INDEX_SHIFT 16
enum bad_reason {
    BAD_NONE = 0,
    BAD_ADDRESS = 1,
    BAD_MAGIC = 2,
    BAD_LAYOUT = 3,
    BAD_CRC = 4,
    BAD_CONTEXT = 5,
    BAD_PE = 6
};

struct record {
    uint32_t id;
    uint16_t op;
    uint8_t size_log2;
    uint8_t pe;
    uint16_t group;
    uint8_t requester;
    uint8_t state;
    uint8_t el;
    uint8_t reserved0;
    uint16_t flags;
    uint64_t address;
    uint64_t value0;
    uint64_t value1;
    uint64_t aux;
    uint32_t regs_offset;
    uint16_t regs_count;
    uint16_t reserved1;
    uint64_t dump_offset;
};

struct result {
    uint32_t id;
    uint16_t status;
    uint8_t taken;
    uint8_t target_el;
    uint16_t vector;
    uint16_t flags;
    uint32_t reserved0;
    uint64_t esr;
    uint64_t far;
    uint64_t hpfar;
    uint64_t mfar;
    uint64_t par;
    uint64_t elr;
    uint64_t spsr;
    uint64_t data0;
    uint64_t data1;
    uint64_t elapsed;
    uint64_t scr;
    uint32_t pe;
    uint32_t group;
    uint64_t first_esr;
    uint64_t first_far;
};

struct register_entry {
    uint32_t encoding;
    uint32_t reserved;
    uint64_t value;
};

struct batch_header {
    uint32_t magic;
    uint16_t version;
    uint16_t header_size;
    uint32_t record_count;
    uint32_t records_offset;
    uint32_t results_offset;
    uint32_t pool_offset;
    uint32_t pool_size;
    uint32_t context_offset;
    uint32_t context_count;
    uint32_t batch_id;
    uint32_t flags;
    uint32_t crc32;
    uint32_t completed;
    uint32_t status;
    uint64_t reserved;
};

struct mailbox {
    uint32_t magic;
    uint32_t version;
    uint32_t doorbell;
    uint32_t ack;
    uint32_t heartbeat;
    uint32_t current;
    uint64_t batch;
    uint64_t reserved0;
    uint64_t reserved1;
};

/* Register dump: the general registers as the operation left them, then SIMD state, then (encoding, value) pairs. */
struct dump {
    uint64_t x[31];
    uint64_t sp;
    uint64_t pc;
    uint64_t pstate;
    uint64_t q[32][2];
    uint64_t fpsr;
    uint64_t fpcr;
    uint64_t pairs[DUMP_PAIRS][2];
};

_Static_assert(sizeof(struct record) == 64, "record is 64 bytes");
_Static_assert(offsetof(struct record, flags) == 14 && offsetof(struct record, address) == 16, "record head");
_Static_assert(offsetof(struct record, regs_offset) == 48 && offsetof(struct record, dump_offset) == 56, "record tail");
_Static_assert(sizeof(struct result) == 128, "result is 128 bytes");
_Static_assert(offsetof(struct result, esr) == 16 && offsetof(struct result, pe) == 104, "result");
_Static_assert(sizeof(struct register_entry) == 16, "register entry is 16 bytes");
_Static_assert(sizeof(struct batch_header) == 64, "batch header is 64 bytes");
_Static_assert(offsetof(struct batch_header, crc32) == 44, "batch header");
_Static_assert(sizeof(struct mailbox) <= 4096, "mailbox fits its page");
_Static_assert(sizeof(struct dump) == DUMP_SIZE, "dump is 2048 bytes");

#endif
