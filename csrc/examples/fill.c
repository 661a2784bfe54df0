/* Fill one layer's weights and print what they look like.
 *
 *     cc -O3 -std=c11 -ffp-contract=off -Isrc/fastinit/include csrc/examples/fill.c csrc/[a-z]*.c -lm -o fill && ./fill
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fastinit.h"

int main(void)
{
    /* He initialisation of a 4096 x 1024 layer: the standard deviation sqrt(2 / fan_in) is that
     * of the values, so the normal before truncation is wider by 1 / 0.8796. */
    const uint64_t fan_in = 4096, fan_out = 1024, n = fan_in * fan_out;
    const double stddev = sqrt(2.0 / (double)fan_in) / 0.87962566103423978;
    const uint64_t key = fastinit_stream_key(0, "layers.0.mlp.up", 15);

    fastinit_distribution distribution;
    fastinit_status status = fastinit_truncated_normal(&distribution, FASTINIT_FLOAT32, 0, stddev, -2, 2);
    float *weights = malloc(n * sizeof *weights);
    if (status == FASTINIT_OK)
        status = weights ? fastinit_fill(&distribution, key, 0, n, weights) : FASTINIT_ERR_NULL;
    if (status != FASTINIT_OK) {
        fprintf(stderr, "fill: %s\n", fastinit_status_message(status));
        free(weights);
        return 1;
    }

    double squares = 0, largest = 0;
    for (uint64_t i = 0; i < n; i++) {
        squares += (double)weights[i] * weights[i];
        largest = fmax(largest, fabs(weights[i]));
    }
    printf("%s: first %a %a, std %.6f (expected %.6f), largest %.6f (bound %.6f)\n", fastinit_isa(), weights[0], weights[1],
           sqrt(squares / (double)n), sqrt(2.0 / (double)fan_in), largest, 2 * stddev);

    /* A shard is made alone, and equals the slice: the last 100 elements. */
    float shard[100];
    status = fastinit_fill(&distribution, key, n - 100, 100, shard);
    int equal = status == FASTINIT_OK;
    for (int i = 0; i < 100; i++)
        equal = equal && shard[i] == weights[n - 100 + (uint64_t)i];
    printf("shard equals slice: %s\n", equal ? "yes" : "no");
    free(weights);
    return !equal;
}
