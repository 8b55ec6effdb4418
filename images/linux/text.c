/* Output and arguments. */
#include "attack.h"

static char line[512];
static size_t length;

static void put(char byte)
{
    if (length < sizeof(line) - 1) {
        line[length++] = byte;
    }
}

static void put_text(const char *text)
{
    while (*text) {
        put(*text++);
    }
}

void line_begin(const char *text)
{
    length = 0;
    put('\n'); /* a kernel message may stand unfinished on the terminal */
    put_text(text);
}

void line_word(const char *key, const char *value)
{
    put(' ');
    put_text(key);
    put('=');
    put_text(value);
}

void line_number(const char *key, uint64_t value)
{
    char digits[17];
    unsigned first = 16;
    digits[16] = 0;
    do {
        digits[--first] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    line_word(key, "0x");
    put_text(digits + first);
}

void line_bytes(const char *key, const char *bytes, size_t count)
{
    line_word(key, "");
    while (count--) {
        put(*bytes > ' ' && *bytes < 127 ? *bytes : '.');
        bytes++;
    }
}

void line_end(void)
{
    put_text(" end\n");
    call3(SYS_WRITE, 1, (long)line, (long)length);
}

bool same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* Hexadecimal, with or without 0x. */
bool parse_number(const char *text, uint64_t *value)
{
    if (text[0] == '0' && text[1] == 'x') {
        text += 2;
    }
    *value = 0;
    for (unsigned digits = 0; *text; digits++, text++) {
        char c = *text;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16;
        if (digit > 15 || digits == 16) {
            return false;
        }
        *value = *value << 4 | digit;
        if (!text[1]) {
            return true;
        }
    }
    return false;
}
