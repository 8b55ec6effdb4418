/* What the tool's parts offer one another. */
#ifndef ATTACK_H
#define ATTACK_H

#include "syscalls.h"

/* text.c: lines of `key=value` words; one line is one write, so that kernel messages do not get into it. */
void line_begin(const char *text);
void line_number(const char *key, uint64_t value);
void line_word(const char *key, const char *value);
void line_bytes(const char *key, const char *bytes, size_t length);
void line_end(void);
bool parse_number(const char *text, uint64_t *value);
bool same(const char *a, const char *b);

/* memory.c */
int attack_memory(bool write, uint64_t pa, uint64_t value);

/* guest.c */
int attack_guest(void);
int attack_guest_memory(uint64_t pa);

#endif
