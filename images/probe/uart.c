/* PL011, polled.  The line's speed is left as found: a board's firmware has set it, QEMU's has none. */
#include "probe.h"

#define REG(offset) (*(volatile uint32_t *)(UART_PA + (offset)))
#define DR REG(0x00)
#define FR REG(0x18)
#define LCR_H REG(0x2c)
#define CR REG(0x30)
#define IMSC REG(0x38)
#define FR_RXFE (1u << 4)
#define FR_TXFF (1u << 5)
#define LCR_H_8BIT_FIFO (3u << 5 | 1u << 4)
#define CR_ENABLE (1u << 0 | 1u << 8 | 1u << 9)

void uart_init(void)
{
    IMSC = 0;
    LCR_H = LCR_H_8BIT_FIFO;
    CR = CR_ENABLE;
}

bool uart_get(uint8_t *byte)
{
    if (FR & FR_RXFE) {
        return false;
    }
    *byte = (uint8_t)DR;
    return true;
}

void uart_put(char byte)
{
    while (FR & FR_TXFF) {
    }
    DR = (uint8_t)byte;
}

void uart_text(const char *text)
{
    while (*text) {
        uart_put(*text++);
    }
}
