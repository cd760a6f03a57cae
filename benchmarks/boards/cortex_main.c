/* Runs a net on inputs in flash on a Cortex-M0 (nRF51822, QEMU's microbit) or a Cortex-M4 (QEMU's mps2-an386): prints the
   outputs by semihosting, then the instructions an input (with -icount shift=0, a tick of 16 MHz is 62.5, one of 25 MHz
   is 40), the stack, and the RAM that is left. */
#include <stdint.h>

#include "inputs.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#if defined(__ARM_ARCH_6M__)
#define TIMER 0x40008000u
#define PREPARE() (REGISTER(TIMER + 0x508) = 3, REGISTER(TIMER + 0x510) = 0)
#define START() (REGISTER(TIMER + 0x00C) = 1, REGISTER(TIMER + 0x000) = 1)
#define STOP() (REGISTER(TIMER + 0x040) = 1, ticks = REGISTER(TIMER + 0x540), REGISTER(TIMER + 0x004) = 1)
#define HALVES 125u
#else
#define TIMER 0x40000000u
#define PREPARE() (REGISTER(TIMER + 0x8) = 0xFFFFFFFFu)
#define START() (REGISTER(TIMER + 0x4) = 0xFFFFFFFFu, REGISTER(TIMER) = 1)
#define STOP() (ticks = 0xFFFFFFFFu - REGISTER(TIMER + 0x4), REGISTER(TIMER) = 0)
#define HALVES 80u
#endif

extern uint8_t _end, _stack;
extern uint32_t _data, _data_end, _data_load, _bss, _bss_end;
void reset(void);
void fault(void);

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &_stack, (void *)reset, (void *)fault, (void *)fault,
};

static void call(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static char line[16];

static void print(int32_t number, char end)
{
    uint32_t left = number < 0 ? (uint32_t)-number : (uint32_t)number;
    char *place = line + 15;
    *place = 0;
    *--place = end;
    do {
        *--place = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    if (number < 0) {
        *--place = '-';
    }
    call(4, place);
}

void fault(void)
{
    call(4, "fault\n");
    call(0x18, (const void *)0x20023);
}

static INPUT_TYPE input;
static OUTPUT_TYPE output;

void reset(void)
{
    uint32_t i, j, ticks = 0;
    uint32_t *from = &_data_load, *to;
    uint8_t *place;
    for (to = &_data; to != &_data_end; ++to, ++from) {
        *to = *from;
    }
    for (to = &_bss; to != &_bss_end; ++to) {
        *to = 0;
    }
    for (place = &_end; place < (uint8_t *)&i - 64; ++place) {
        *(volatile uint8_t *)place = 0xC5;
    }
    PREPARE();
    for (i = 0; i != COUNT; ++i) {
        for (j = 0; j != SIZE; ++j) {
            ((uint8_t *)&input)[j] = inputs[i][j];
        }
        START();
        RUN(&input, &output);
        STOP();
        for (j = 0; j != OUTPUTS; ++j) {
            print(output.OUTPUT_FIELD[j], ' ');
        }
        call(4, "\n");
    }
    for (place = &_end; *(volatile uint8_t *)place == 0xC5; ++place) {
    }
    call(4, "# ");
    print((int32_t)((ticks * HALVES) >> 1), ' ');
    print((int32_t)(&_stack - place), ' ');
    print((int32_t)(place - &_end), '\n');
    call(0x18, (const void *)0x20026);
}
