/* Words without end on standard output, for batteries that read them there.
 *
 *     ./words stream|streams|seeds|domains|attempts [SEED] | dieharder -a -g 200
 */
#include "words.h"

int main(int argc, char **argv)
{
    source *fill = argc >= 2 ? find_source(argv[1], argv[2]) : NULL;
    if (!fill)
        return 2;
    static uint32_t words[WORDS];
    for (uint64_t step = 0;; step++) {
        fill(step, words);
        if (fwrite(words, sizeof words, 1, stdout) != 1)
            return 0;
    }
}
