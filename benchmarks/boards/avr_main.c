/* Runs a net on inputs in flash on an ATmega328P: prints the outputs, cycles an input, and the stack that was left. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>
#include <stdint.h>

#include "inputs.h"

extern uint8_t _end;
static volatile uint16_t overflows;

ISR(TIMER1_OVF_vect) { ++overflows; }

static void put(char letter)
{
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = (uint8_t)letter;
}

static void print(int32_t number)
{
    char digits[12];
    uint8_t count = 0;
    uint32_t left = number < 0 ? (uint32_t)-number : (uint32_t)number;
    if (number < 0) {
        put('-');
    }
    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    while (count != 0) {
        put(digits[--count]);
    }
}

static INPUT_TYPE input;
static OUTPUT_TYPE output;

int main(void)
{
    uint8_t *place;
    uint16_t i, j, last;
    uint32_t cycles = 0;
    UBRR0 = 0;
    UCSR0B = 1 << TXEN0;
    for (place = &_end; place < (uint8_t *)SP - 16; ++place) {
        *place = 0xC5;
    }
    TIMSK1 = 1 << TOIE1;
    sei();
    for (i = 0; i != COUNT; ++i) {
        for (j = 0; j != SIZE; ++j) {
            ((uint8_t *)&input)[j] = pgm_read_byte(&inputs[i][j]);
        }
        overflows = 0;
        TCNT1 = 0;
        TIFR1 = 1 << TOV1;
        TCCR1B = 1 << CS10;
        RUN(&input, &output);
        last = TCNT1; /* of a stopped timer it would be 0 in simavr */
        TCCR1B = 0;
        cycles = ((uint32_t)overflows << 16) + last;
        for (j = 0; j != OUTPUTS; ++j) {
            print(output.OUTPUT_FIELD[j]);
            put(' ');
        }
        put('\n');
    }
    for (place = &_end; *place == 0xC5; ++place) {
    }
    put('#');
    put(' ');
    print((int32_t)cycles);
    put(' ');
    print((int32_t)(RAMEND + 1 - (uint16_t)place));
    put(' ');
    print((int32_t)(place - &_end));
    put('\n');
    cli();
    sleep_mode();
    return 0;
}
