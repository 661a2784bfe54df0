/* TestU01's batteries (L'Ecuyer and Simard, "TestU01: a C library for empirical testing of random number generators",
 * 2007) on the kernel's words.
 *
 *     ./testu01 SmallCrush|Crush|BigCrush|Rabbit stream|streams|seeds|domains|attempts [SEED [forward|reversed [FIRST LAST]]]
 *
 * The batteries look at the high bits of words more than at the low ones: `reversed` turns the order round. FIRST and
 * LAST choose tests by their numbers, for a battery in parts: each part begins at the first word again. The verdict is
 * in what is printed; the exit status is 2 for arguments that are none of these.
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

enum { TESTS = 200 }; /* more than any battery has: BigCrush ends at 106 */

static void rabbit(unif01_Gen *generator, int repetitions[]) { bbattery_RepeatRabbit(generator, 0x1p32, repetitions); }

static const struct {
    const char *name;
    void (*run)(unif01_Gen *generator, int repetitions[]);
} batteries[] = {
    {"SmallCrush", bbattery_RepeatSmallCrush}, {"Crush", bbattery_RepeatCrush}, {"BigCrush", bbattery_RepeatBigCrush}, {"Rabbit", rabbit}};

static int usage(void)
{
    fputs("usage: testu01 BATTERY ORDER [SEED [forward|reversed [FIRST LAST]]]; see testu01.c\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    fill = argc >= 3 ? find_source(argv[2], argv[3]) : NULL;
    reversed = argc >= 5 && strcmp(argv[4], "reversed") == 0;
    const int first = argc == 7 ? atoi(argv[5]) : 1, last = argc == 7 ? atoi(argv[6]) : TESTS;
    if (!fill || argc == 6 || argc > 7 || (argc >= 5 && !reversed && strcmp(argv[4], "forward") != 0) || first < 1 || last < first)
        return usage();
    int repetitions[TESTS + 1] = {0};
    for (int i = first; i >= 1 && i <= last && i <= TESTS; i++)
        repetitions[i] = 1;
    swrite_Basic = FALSE;
    for (size_t i = 0; i < sizeof batteries / sizeof *batteries; i++) {
        if (strcmp(argv[1], batteries[i].name) != 0)
            continue;
        unif01_Gen *generator = unif01_CreateExternGenBits(argv[2], next_word);
        batteries[i].run(generator, repetitions);
        unif01_DeleteExternGenBits(generator);
        return 0;
    }
    return usage();
}
