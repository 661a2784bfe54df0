/* One fill, for tools that count its instructions:
 *
 *     fill_once ISA DTYPE N LAW P1 P2 [P3 P4]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastinit.h"

int main(int argc, char **argv)
{
    if (argc != 7 && argc != 9)
        return 2;
    const fastinit_dtype dtype = strcmp(argv[2], "float32") == 0   ? FASTINIT_FLOAT32
                                 : strcmp(argv[2], "float64") == 0 ? FASTINIT_FLOAT64
                                                                   : FASTINIT_BFLOAT16;
    const size_t n = strtoul(argv[3], NULL, 10);
    double p[4] = {0};
    for (int i = 5; i < argc; i++)
        p[i - 5] = strtod(argv[i], NULL);
    fastinit_distribution d;
    fastinit_status status = fastinit_set_isa(argv[1]);
    if (status == FASTINIT_OK)
        status = strcmp(argv[4], "uniform") == 0  ? fastinit_uniform(&d, dtype, p[0], p[1])
                 : strcmp(argv[4], "normal") == 0 ? fastinit_normal(&d, dtype, p[0], p[1])
                                                  : fastinit_truncated_normal(&d, dtype, p[0], p[1], p[2], p[3]);
    void *out = malloc(n * sizeof(double));
    /* The check of the build, which the first fill makes, is not counted: it is another function that makes it here. */
    const uint64_t one = 1;
    const int64_t step = 1;
    if (status == FASTINIT_OK)
        status = fastinit_fill_region(&d, 1, &(fastinit_region){1, &one, &step, &step, 0}, 0, 1, out);
    if (status == FASTINIT_OK)
        status = fastinit_fill(&d, 1, 0, n, out);
    free(out);
    if (status != FASTINIT_OK)
        fprintf(stderr, "%s\n", fastinit_status_message(status));
    return status != FASTINIT_OK;
}
