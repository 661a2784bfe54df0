/* TestU01's batteries (L'Ecuyer and Simard, "TestU01: a C library for empirical testing of random number generators",
 * 2007) on the kernel's words.
 *
 *     ./testu01 SmallCrush|Crush|BigCrush|Rabbit stream|streams|seeds|domains|attempts [SEED [reversed]]
 *
 * The batteries look at the high bits of words more than at the low ones: `reversed` turns the order round.
 */
#include <testu01/bbattery.h>
#include <testu01/swrite.h>
#include <testu01/unif01.h>

#include "words.h"

static source *fill;
static int reversed;

static uint32_t reverse(uint32_t w)
{
    w = (w >> 1 & 0x55555555) | (w & 0x55555555) << 1;
    w = (w >> 2 & 0x33333333) | (w & 0x33333333) << 2;
    w = (w >> 4 & 0x0F0F0F0F) | (w & 0x0F0F0F0F) << 4;
    w = (w >> 8 & 0x00FF00FF) | (w & 0x00FF00FF) << 8;
    return w >> 16 | w << 16;
}

static unsigned int next_word(void)
{
    static uint32_t words[WORDS];
    static uint64_t step;
    static unsigned at = WORDS;
    if (at == WORDS) {
        fill(step++, words);
        at = 0;
    }
    const uint32_t w = words[at++];
    return reversed ? reverse(w) : w;
}

int main(int argc, char **argv)
{
    fill = argc >= 3 ? find_source(argv[2], argv[3]) : NULL;
    if (!fill)
        return 2;
    reversed = argc == 5;
    swrite_Basic = FALSE;
    unif01_Gen *generator = unif01_CreateExternGenBits(argv[2], next_word);
    int known = 1;
    if (strcmp(argv[1], "SmallCrush") == 0)
        bbattery_SmallCrush(generator);
    else if (strcmp(argv[1], "Crush") == 0)
        bbattery_Crush(generator);
    else if (strcmp(argv[1], "BigCrush") == 0)
        bbattery_BigCrush(generator);
    else if (strcmp(argv[1], "Rabbit") == 0)
        bbattery_Rabbit(generator, 0x1p32);
    else
        known = 0;
    unif01_DeleteExternGenBits(generator);
    return known ? 0 : 2;
}
