/* Threads that fill at once, the first choice of an instruction set among them: for a thread sanitizer.
 *
 *     test_concurrent
 *
 * Every round is a process of its own, in which no instruction set has been chosen yet: all threads meet at a barrier
 * and then fill parts of one buffer, buffers of their own and regions of a third, while others change the instruction
 * set. What one thread makes of the same elements afterwards must be there.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fastinit.h"

enum { FILLERS = 8, CHANGERS = 2, ROUNDS = 20, PART = 4099, REPEATS = 4 }; /* parts that end within chunks and lines of memory */

static const struct {
    fastinit_dtype dtype;
    size_t size;
} dtypes[] = {{FASTINIT_FLOAT32, 4},  {FASTINIT_FLOAT64, 8},       {FASTINIT_FLOAT16, 2},
              {FASTINIT_BFLOAT16, 2}, {FASTINIT_FLOAT8_E4M3FN, 1}, {FASTINIT_FLOAT8_E5M2, 1}};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static unsigned char shared[FILLERS * PART * 8], woven[FILLERS * PART * 8], own[FILLERS][PART * 8], expected[FILLERS * PART * 8];
static fastinit_distribution distribution;
static size_t item;
static pthread_barrier_t barrier;
static const uint64_t key = 20261124;

/* Thread i has the elements [i * PART, (i + 1) * PART), in one buffer; and in another one every FILLERS-th element from i on. */
static int fill_parts(size_t i)
{
    const uint64_t count = PART;
    const int64_t index_step = FILLERS, out_step = (int64_t)(FILLERS * item);
    const fastinit_region region = {1, &count, &index_step, &out_step, i};
    int failed = 0;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        failed |= fastinit_fill(&distribution, key, i * PART, PART, shared + i * PART * item) != FASTINIT_OK;
        failed |= fastinit_fill_region(&distribution, key, &region, 0, PART, woven + i * item) != FASTINIT_OK;
        failed |= fastinit_fill(&distribution, key, 0, PART, own[i]) != FASTINIT_OK;
    }
    return failed;
}

static void *fill(void *number)
{
    pthread_barrier_wait(&barrier);
    return fill_parts((size_t)number) ? "a fill failed" : NULL;
}

/* The first one only asks, which makes the choice too. */
static void *change_isa(void *number)
{
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < 100; i++) {
        const char *name = number ? fastinit_available_isa(i % 4) : fastinit_isa();
        if (name && fastinit_set_isa(name) != FASTINIT_OK)
            return "an available instruction set was refused";
    }
    return NULL;
}

static const char *run_threads(void)
{
    pthread_t threads[FILLERS + CHANGERS];
    const char *error = NULL;
    pthread_barrier_init(&barrier, NULL, FILLERS + CHANGERS);
    for (size_t i = 0; i < FILLERS + CHANGERS; i++)
        if (pthread_create(&threads[i], NULL, i < FILLERS ? fill : change_isa, (void *)(i < FILLERS ? i : i - FILLERS)) != 0)
            return "a thread did not start";
    for (size_t i = 0; i < FILLERS + CHANGERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        error = result ? result : error;
    }
    pthread_barrier_destroy(&barrier);
    return error;
}

static const char *run_round(size_t dtype)
{
    item = dtypes[dtype].size;
    if (fastinit_truncated_normal(&distribution, dtypes[dtype].dtype, 0, 1, -1.5, 2) != FASTINIT_OK)
        return "the distribution was refused";
    const char *error = run_threads();
    if (error)
        return error;
    fastinit_set_isa("scalar");
    fastinit_fill(&distribution, key, 0, FILLERS * PART, expected);
    if (memcmp(shared, expected, FILLERS * PART * item) != 0)
        return "parts differ from the whole";
    if (memcmp(woven, expected, FILLERS * PART * item) != 0)
        return "regions differ from the whole";
    for (size_t i = 0; i < FILLERS; i++)
        if (memcmp(own[i], expected, PART * item) != 0)
            return "buffers differ from the whole";
    return NULL;
}

static int fails_in_child(size_t dtype)
{
    const pid_t child = fork();
    if (child == 0) {
        const char *error = run_round(dtype);
        if (error)
            fprintf(stderr, "dtype %zu: %s\n", dtype, error);
        exit(error != NULL);
    }
    int status = -1;
    return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}

int main(void)
{
    int failed = 0;
    for (size_t round = 0; round < ROUNDS; round++)
        failed += fails_in_child(round % DTYPES);
    printf("%d rounds of %d threads, %d failed\n", ROUNDS, FILLERS + CHANGERS, failed);
    return failed != 0;
}
