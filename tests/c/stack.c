/* How much stack fills take: prints the most, in KiB, of all instruction sets, dtypes and samplers.
 *
 * A thread of its own, whose stack is painted before and looked at afterwards. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastinit.h"

enum { STACK = 1 << 20, SIDE = 90 };

typedef struct {
    fastinit_dtype dtype;
    int sampler;
    double *out;
} work;

static void *fill(void *argument)
{
    const work *w = argument;
    fastinit_distribution d;
    if (w->sampler == 0)
        fastinit_uniform(&d, w->dtype, 0, 4.1);
    else
        fastinit_truncated_normal(&d, w->dtype, 0, 1, w->sampler == 1 ? -2 : 3, 5);
    fastinit_fill(&d, 1, 3, SIDE * SIDE, w->out);
    const uint64_t count[] = {SIDE, SIDE};
    const int64_t rows[] = {SIDE, 1}, columns[] = {1, SIDE}, bytes[] = {8 * SIDE, 8};
    fastinit_fill_region(&d, 1, &(fastinit_region){2, count, rows, bytes, 5}, 0, SIDE * SIDE, w->out);
    fastinit_fill_region(&d, 1, &(fastinit_region){2, count, columns, bytes, 5}, 0, SIDE * SIDE, w->out);
    return NULL;
}

static size_t stack_of(work *w, unsigned char *stack)
{
    pthread_attr_t attributes;
    pthread_t thread;
    memset(stack, 0xA5, STACK);
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, STACK) || pthread_create(&thread, &attributes, fill, w))
        exit(1);
    pthread_join(thread, NULL);
    size_t untouched = 0;
    while (untouched < STACK && stack[untouched] == 0xA5)
        untouched++;
    return STACK - untouched;
}

int main(void)
{
    unsigned char *stack = aligned_alloc(4096, STACK);
    work w = {.out = malloc(SIDE * SIDE * sizeof(double))};
    size_t most = 0;
    for (size_t i = 0; fastinit_available_isa(i); i++) {
        fastinit_set_isa(fastinit_available_isa(i));
        for (int dtype = FASTINIT_FLOAT32; dtype <= FASTINIT_FLOAT8_E5M2; dtype++)
            for (w.sampler = 0; w.sampler < 3; w.sampler++) {
                w.dtype = (fastinit_dtype)dtype;
                const size_t taken = stack_of(&w, stack);
                most = taken > most ? taken : most;
            }
    }
    printf("%zu\n", most / 1024);
    free(w.out);
    free(stack);
    return 0;
}
