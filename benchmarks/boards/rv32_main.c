/* Runs a net on inputs on RV32EC, the instructions of a CH32V003 (QEMU's virt): prints the outputs to the serial line,
   then the instructions an input, the stack, and what is left of 2 KiB of RAM. */
#include <stdint.h>

#include "inputs.h"

#define SERIAL (*(volatile uint8_t *)0x10000000u)
#define FINISH (*(volatile uint32_t *)0x00100000u)

extern uint8_t _end, _stack;
extern uint32_t _bss, _bss_end;

/* the only functions that compilers call here by themselves */
void *memcpy(void *to, const void *from, __SIZE_TYPE__ size)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    while (size-- != 0) {
        *out++ = *in++;
    }
    return to;
}

void *memset(void *to, int value, __SIZE_TYPE__ size)
{
    uint8_t *out = to;
    while (size-- != 0) {
        *out++ = (uint8_t)value;
    }
    return to;
}

/* RV32EC has no multiplication; --smallest takes one */
uint32_t __mulsi3(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a != 0; a >>= 1, b <<= 1) {
        if (a & 1) {
            product += b;
        }
    }
    return product;
}

static void print(int32_t number, char end)
{
    char line[12], *place = line + 12;
    uint32_t left = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    do {
        uint32_t tens = 0;
        while (left >= 10) { /* no division */
            uint32_t step = 10, count = 1;
            while (step <= left / 2) {
                step <<= 1;
                count <<= 1;
            }
            left -= step;
            tens += count;
        }
        *--place = (char)('0' + left);
        left = tens;
    } while (left != 0);
    if (number < 0) {
        *--place = '-';
    }
    while (place != line + 12) {
        SERIAL = (uint8_t)*place++;
    }
    SERIAL = (uint8_t)end;
}

static uint32_t instructions(void)
{
    uint32_t found;
    __asm__ volatile("csrr %0, minstret" : "=r"(found));
    return found;
}

static INPUT_TYPE input;
static OUTPUT_TYPE output;

__attribute__((section(".start"), naked, used)) void start(void)
{
    __asm__ volatile("la sp, _stack\n j go");
}

__attribute__((used)) void go(void)
{
    uint32_t i, j, before = 0, spent = 0;
    uint32_t *to;
    uint8_t *place;
    register uint8_t *top __asm__("sp");
    for (to = &_bss; to != &_bss_end; ++to) {
        *to = 0;
    }
    for (place = &_stack - 1024; place < top; ++place) {
        *(volatile uint8_t *)place = 0xC5;
    }
    for (i = 0; i != COUNT; ++i) {
        for (j = 0; j != SIZE; ++j) {
            ((uint8_t *)&input)[j] = inputs[i][j];
        }
        before = instructions();
        RUN(&input, &output);
        spent = instructions() - before;
        for (j = 0; j != OUTPUTS; ++j) {
            print(output.OUTPUT_FIELD[j], ' ');
        }
        SERIAL = '\n';
    }
    for (place = &_stack - 1024; *(volatile uint8_t *)place == 0xC5; ++place) {
    }
    SERIAL = '#';
    SERIAL = ' ';
    print((int32_t)spent, ' ');
    print((int32_t)(&_stack - place), ' ');
    print((int32_t)(2048 - (&_stack - place) - (&_bss_end - &_bss) * 4), '\n');
    FINISH = 0x5555;
    for (;;) {
    }
}
