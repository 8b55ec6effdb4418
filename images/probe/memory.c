/* What the compiler itself may call in freestanding code. */
#include "probe.h"

void *memset(void *to, int value, size_t length);

void *memset(void *to, int value, size_t length)
{
    uint8_t *byte = to;
    while (length--) {
        *byte++ = (uint8_t)value;
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    uint8_t *byte = to;
    const uint8_t *source = from;
    while (length--) {
        *byte++ = *source++;
    }
    return to;
}
