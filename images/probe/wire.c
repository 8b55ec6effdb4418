/* Framed ASCII lines over the UART: docs/reference/probe-protocol.md is the definition.
 *
 *     @SS COMMAND LLLL HEX CCCCCCCC\n      a request        !SS COMMAND LLLL HEX CCCCCCCC\n      an answer
 *
 * SS sequence number, LLLL bytes of payload, CCCCCCCC CRC-32 of the characters between the marker and itself.  A
 * request is carried out once: the same sequence number again gets the last answer again. */
#include "probe.h"

#define CHUNK 1024u
#define PAYLOAD_MAX (CHUNK + 16)
#define LINE_MAX (2 * PAYLOAD_MAX + 48)
#define ANSWER_MAX (CHUNK + 16)
#define COMMAND_MAX 8u
#define FRAME_END 9u /* " CCCCCCCC" */

extern void stub_write(void);
extern void stub_copy(void);
extern void stub_fill(void);

static char line[LINE_MAX];
static size_t line_length;
static bool in_frame;

static uint8_t payload[PAYLOAD_MAX] __attribute__((aligned(8)));
static uint8_t answer[ANSWER_MAX] __attribute__((aligned(8)));
static size_t answer_length;
static const char *answer_command;
static int answered_sequence = -1;

struct request {
    uint8_t sequence;
    char command[COMMAND_MAX + 1];
    size_t length;
};

static uint32_t send_hashed(uint32_t crc, char byte)
{
    uart_put(byte);
    return crc32(crc, &byte, 1);
}

static uint32_t send_hex(uint32_t crc, uint64_t value, unsigned digits)
{
    while (digits--) {
        crc = send_hashed(crc, "0123456789abcdef"[(value >> (4 * digits)) & 15]);
    }
    return crc;
}

void wire_send(uint8_t sequence, const char *command, const void *data, size_t length)
{
    const uint8_t *byte = data;
    uart_put('!');
    uint32_t crc = send_hashed(send_hex(0, sequence, 2), ' ');
    while (*command) {
        crc = send_hashed(crc, *command++);
    }
    crc = send_hashed(send_hex(send_hashed(crc, ' '), length, 4), ' ');
    while (length--) {
        crc = send_hex(crc, *byte++, 2);
    }
    crc = send_hashed(crc, ' ');
    send_hex(0, crc, 8);
    uart_text("\r\n");
}

static void send_nak(uint8_t sequence, const char *reason)
{
    size_t length = 0;
    while (reason[length]) {
        length++;
    }
    wire_send(sequence, "NAK", reason, length);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return -1;
}

static bool parse_hex(size_t at, unsigned digits, uint64_t *value)
{
    *value = 0;
    while (digits--) {
        int digit = at < line_length ? hex_digit(line[at++]) : -1;
        if (digit < 0) {
            return false;
        }
        *value = *value << 4 | (uint64_t)digit;
    }
    return true;
}

static bool space_at(size_t at)
{
    return at < line_length && line[at] == ' ';
}

/* Take the frame in `line` apart; the reason it is bad, or NULL. */
static const char *parse(struct request *request)
{
    uint64_t value;
    size_t at = 3, name = 0;
    request->sequence = 0;
    if (!parse_hex(0, 2, &value) || !space_at(2)) {
        return "SEQUENCE";
    }
    request->sequence = (uint8_t)value;
    if (line_length < FRAME_END || !parse_hex(line_length - 8, 8, &value) || !space_at(line_length - FRAME_END)) {
        return "TRUNCATED";
    }
    if (crc32(0, line, line_length - 8) != (uint32_t)value) {
        return "CRC";
    }
    while (at < line_length && line[at] != ' ' && name < COMMAND_MAX) {
        request->command[name++] = line[at++];
    }
    request->command[name] = 0;
    if (!space_at(at) || !parse_hex(at + 1, 4, &value) || !space_at(at + 5)) {
        return "LENGTH";
    }
    at += 6;
    if (value > PAYLOAD_MAX || line_length != at + 2 * value + FRAME_END) {
        return "LENGTH";
    }
    request->length = value;
    for (size_t i = 0; i < request->length; i++) {
        if (!parse_hex(at + 2 * i, 2, &value)) {
            return "PAYLOAD";
        }
        payload[i] = (uint8_t)value;
    }
    return NULL;
}

static uint64_t payload_u64(unsigned index)
{
    return ((const uint64_t *)payload)[index];
}

static bool same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static void refuse(const char *reason)
{
    answer_command = "NAK";
    for (answer_length = 0; reason[answer_length]; answer_length++) {
        answer[answer_length] = (uint8_t)reason[answer_length];
    }
}

/* Memory of Root by a stub that may fault: a bad address is an answer, not the probe's end. */
static bool touch_memory(stub_t stub, uint64_t to, uint64_t from, uint64_t length)
{
    survive_op(to, from, 0, stub, length);
    bool ok = survival->taken == 0;
    survival->taken = 0;
    if (!ok) {
        answer_command = "NAK";
        answer_length = text_pair((char *)answer, ANSWER_MAX, 0, "FAULT", survival->esr);
        answer_length = text_pair((char *)answer, ANSWER_MAX, answer_length, "FAR", survival->far);
    }
    return ok;
}

static bool range_ok(uint64_t pa, uint64_t length)
{
    if (pa < ROOT_PA_LIMIT && length <= ROOT_PA_LIMIT - pa) {
        return true;
    }
    refuse("RANGE");
    return false;
}

static void answer_u32(uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        answer[answer_length++] = (uint8_t)(value >> (8 * i));
    }
}

static void command_read(void)
{
    uint64_t pa = payload_u64(0), length = payload_u64(1);
    if (length > CHUNK) {
        refuse("RANGE");
    } else if (range_ok(pa, length) && touch_memory(stub_copy, (uint64_t)answer, pa, length)) {
        answer_length = length;
    }
}

static void command_write(size_t length)
{
    if (range_ok(payload_u64(0), length - 8)) {
        touch_memory(stub_write, payload_u64(0), (uint64_t)payload + 8, length - 8);
    }
}

static void command_fill(void)
{
    if (range_ok(payload_u64(0), payload_u64(1))) {
        touch_memory(stub_fill, payload_u64(0), payload_u64(2), payload_u64(1));
    }
}

static void command_run(void)
{
    uint32_t reason;
    uint32_t status = run_batch(payload_u64(0), true, &reason);
    uint32_t completed = reason == BAD_ADDRESS ? 0 : ((struct batch_header *)payload_u64(0))->completed;
    answer_u32(status);
    answer_u32(completed);
    answer_u32(reason);
}

static void execute(const struct request *request)
{
    answer_command = "OK";
    answer_length = 0;
    if (same(request->command, "HELLO") && request->length == 0) {
        answer_length = banner_text((char *)answer, ANSWER_MAX);
    } else if (same(request->command, "READ") && request->length == 16) {
        command_read();
    } else if (same(request->command, "WRITE") && request->length > 8 && request->length <= 8 + CHUNK) {
        command_write(request->length);
    } else if (same(request->command, "FILL") && request->length == 24) {
        command_fill();
    } else if (same(request->command, "RUN") && request->length == 8) {
        command_run();
    } else {
        refuse("COMMAND");
    }
}

static void handle_line(void)
{
    struct request request;
    const char *reason = parse(&request);
    if (reason) {
        send_nak(request.sequence, reason);
        return;
    }
    /* HELLO opens a session: a new harness may begin with a number that the last one ended with. */
    if (request.sequence != answered_sequence || same(request.command, "HELLO")) {
        execute(&request);
        answered_sequence = request.sequence;
    }
    wire_send(request.sequence, answer_command, answer, answer_length);
}

static void take(char c)
{
    if (c == '@') {
        in_frame = true;
        line_length = 0;
    } else if (!in_frame || c == '\r') {
        return;
    } else if (c == '\n') {
        in_frame = false;
        handle_line();
    } else if (line_length == LINE_MAX) {
        in_frame = false;
        send_nak(0, "TOO_LONG");
    } else {
        line[line_length++] = c;
    }
}

bool wire_poll(void)
{
    uint8_t byte;
    bool any = false;
    while (uart_get(&byte)) {
        take((char)byte);
        any = true;
    }
    return any;
}
