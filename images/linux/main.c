/* The tool of a hypervisor that means harm, and of one that does not:
 *
 *     attack read PA            attack write PA VALUE        one access to a physical address
 *     attack guest              attack guest-read PA         an ordinary KVM guest; one that reads a physical page
 *
 * Every command answers with one line, `attack: WORD key=value ... end`.  Numbers are hexadecimal. */
#include "attack.h"

int main(long count, char **arguments);

int main(long count, char **arguments)
{
    uint64_t pa, value;
    if (count == 3 && same(arguments[1], "read") && parse_number(arguments[2], &pa)) {
        return attack_memory(false, pa, 0);
    }
    if (count == 4 && same(arguments[1], "write") && parse_number(arguments[2], &pa) &&
        parse_number(arguments[3], &value)) {
        return attack_memory(true, pa, value);
    }
    if (count == 2 && same(arguments[1], "guest")) {
        return attack_guest();
    }
    if (count == 3 && same(arguments[1], "guest-read") && parse_number(arguments[2], &pa)) {
        return attack_guest_memory(pa);
    }
    line_begin("attack: usage");
    line_end();
    return 3;
}
