/* A virtual machine of one page and a few instructions: an ordinary KVM guest, by /dev/kvm alone. */
#include "attack.h"

#define PAGE 4096ul
#define GUEST_RAM 0x40000000ul
#define GUEST_CONSOLE 0x10000000ul /* no memory there: a store leaves the guest with KVM_EXIT_MMIO */
#define GUEST_STOP (GUEST_CONSOLE + 8)
#define GUEST_FAULT (GUEST_CONSOLE + 16)
#define GUEST_EXTRA 0x50000000ul /* memory of the host's choice */
#define EXITS_MAX 256u

#define KVM_CREATE_VM 0xae01l
#define KVM_GET_VCPU_MMAP_SIZE 0xae04l
#define KVM_CREATE_VCPU 0xae41l
#define KVM_RUN 0xae80l
#define KVM_SET_USER_MEMORY_REGION 0x4020ae46l
#define KVM_SET_ONE_REG 0x4010aeacl
#define KVM_ARM_VCPU_INIT 0x4020aeael
#define KVM_ARM_PREFERRED_TARGET 0x8020aeafl
#define KVM_EXIT_MMIO 6u
#define KVM_REG_PC 0x6030000000100040ul /* struct kvm_regs, 64 bits each: word 32 */
#define KVM_REG_X1 0x6030000000100002ul

extern const char guest_code[], guest_code_end[];

struct region {
    uint32_t slot;
    uint32_t flags;
    uint64_t guest;
    uint64_t size;
    uint64_t host;
};

/* The head of struct kvm_run, as far as an MMIO exit needs it. */
struct run {
    uint8_t pad0[8];
    uint32_t exit_reason;
    uint8_t pad1[20];
    uint64_t address;
    uint8_t data[8];
    uint32_t length;
    uint8_t is_write;
};
_Static_assert(offsetof(struct run, address) == 32 && offsetof(struct run, is_write) == 52, "as in linux/kvm.h");

struct guest {
    long vm;
    long vcpu;
    volatile struct run *run;
};

static long failed(const char *what, long error)
{
    line_begin("attack: guest");
    line_word("outcome", "failed");
    line_word("at", what);
    line_number("errno", (uint64_t)-error);
    line_end();
    return error;
}

static long set_register(const struct guest *guest, uint64_t id, uint64_t value)
{
    const uint64_t pair[2] = {id, (uint64_t)&value};
    return call3(SYS_IOCTL, guest->vcpu, KVM_SET_ONE_REG, (long)pair);
}

static long add_memory(const struct guest *guest, uint32_t slot, uint64_t at, long host)
{
    const struct region region = {slot, 0, at, PAGE, (uint64_t)host};
    return call3(SYS_IOCTL, guest->vm, KVM_SET_USER_MEMORY_REGION, (long)&region);
}

static long make_vcpu(struct guest *guest, long kvm)
{
    uint32_t target[8] = {0};
    long size = call3(SYS_IOCTL, kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    long result = call3(SYS_IOCTL, guest->vm, KVM_ARM_PREFERRED_TARGET, (long)target);
    guest->vcpu = call3(SYS_IOCTL, guest->vm, KVM_CREATE_VCPU, 0);
    if (is_error(result) || is_error(guest->vcpu) || is_error(size)) {
        return is_error(result) ? result : is_error(size) ? size : guest->vcpu;
    }
    result = call3(SYS_IOCTL, guest->vcpu, KVM_ARM_VCPU_INIT, (long)target);
    long run = syscall6(SYS_MMAP, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
    guest->run = (volatile struct run *)run;
    return is_error(result) ? result : is_error(run) ? run : set_register(guest, KVM_REG_PC, GUEST_RAM);
}

static long make_guest(struct guest *guest)
{
    long kvm = call3(SYS_OPENAT, AT_FDCWD, (long)"/dev/kvm", O_RDWR);
    if (is_error(kvm)) {
        return failed("open", kvm);
    }
    guest->vm = call3(SYS_IOCTL, kvm, KVM_CREATE_VM, 0);
    long page = syscall6(SYS_MMAP, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (is_error(guest->vm) || is_error(page)) {
        return failed("create", is_error(page) ? page : guest->vm);
    }
    char *to = (char *)page;
    for (const char *from = guest_code; from < guest_code_end; from++) {
        *to++ = *from;
    }
    long result = add_memory(guest, 0, GUEST_RAM, page);
    if (is_error(result)) {
        return failed("memory", result);
    }
    result = make_vcpu(guest, kvm);
    return is_error(result) ? failed("vcpu", result) : 0;
}

/* Run until the guest says that it is done; what it printed and, at its end, the word that it read. */
static long run_guest(const struct guest *guest)
{
    char said[64];
    size_t length = 0;
    for (unsigned exits = 0; exits < EXITS_MAX; exits++) {
        long result = call3(SYS_IOCTL, guest->vcpu, KVM_RUN, 0);
        if (is_error(result)) {
            return failed("run", result);
        }
        volatile struct run *run = guest->run;
        if (run->exit_reason != KVM_EXIT_MMIO || !run->is_write) {
            return failed("exit", -(long)run->exit_reason);
        }
        if (run->address == GUEST_CONSOLE && length < sizeof(said)) {
            said[length++] = (char)run->data[0];
        } else if (run->address == GUEST_STOP || run->address == GUEST_FAULT) {
            uint64_t value = 0;
            for (unsigned i = 8; i-- > 0;) {
                value = value << 8 | run->data[i];
            }
            line_begin("attack: guest");
            line_word("outcome", run->address == GUEST_STOP ? "done" : "fault");
            line_bytes("said", said, length);
            line_number(run->address == GUEST_STOP ? "value" : "esr", value);
            line_number("exits", exits + 1);
            line_end();
            return 0;
        }
    }
    return failed("exits", -(long)EXITS_MAX);
}

int attack_guest(void)
{
    struct guest guest;
    long result = make_guest(&guest);
    return is_error(result) || is_error(run_guest(&guest)) ? 1 : 0;
}

/* A guest whose stage 2 maps a physical page of the host's choice, and reads its first word. */
int attack_guest_memory(uint64_t pa)
{
    struct guest guest;
    long file = call3(SYS_OPENAT, AT_FDCWD, (long)"/dev/mem", O_RDWR | O_SYNC);
    long page = is_error(file) ? file : syscall6(SYS_MMAP, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, (long)pa);
    if (is_error(page)) {
        failed("map", page);
        return 1;
    }
    long result = make_guest(&guest);
    if (is_error(result)) {
        return 1;
    }
    result = add_memory(&guest, 1, GUEST_EXTRA, page);
    if (is_error(result)) {
        failed("memory", result);
        return 1;
    }
    result = set_register(&guest, KVM_REG_X1, GUEST_EXTRA);
    if (is_error(result)) {
        failed("register", result);
        return 1;
    }
    return is_error(run_guest(&guest)) ? 1 : 0;
}
