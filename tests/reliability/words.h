/* Philox words as the kernel draws them, in the orders in which they should look independent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/kernel_scalar.c"
#include "fastinit.h"

enum { BLOCKS = 1 << 12, WORDS = 4 * BLOCKS, NAMES = 64 };

static uint64_t seed;

/* One block each of consecutive elements, by counters 1 and 2 and a key. */
static void draw(uint64_t first, uint32_t c2, uint64_t key, unsigned blocks, uint32_t *words)
{
    uint32_t c0[BLOCKS];
    float memory[WORDS];
    const fastinit_philox_keys keys = philox_keys(key);
    for (unsigned i = 0; i < blocks; i++)
        c0[i] = (uint32_t)(first + i);
    f32_block_words(c0, (uint32_t)(first >> 32), c2, &keys, blocks, memory);
    memcpy(words, memory, 4 * blocks * sizeof *words);
}

/* The raw words of one key, in order. */
static void one_stream(uint64_t step, uint32_t *words) { fastinit_random_words(seed, step * WORDS, WORDS, words); }

/* The raw words of 64 named streams of one seed, one of each in turn. */
static void many_streams(uint64_t step, uint32_t *words)
{
    static uint64_t keys[NAMES];
    for (int i = 0; step == 0 && i < NAMES; i++) {
        char name[32];
        keys[i] = fastinit_stream_key(seed, name, (size_t)snprintf(name, sizeof name, "layers.%d.weight", i));
    }
    uint32_t column[WORDS / NAMES];
    for (int i = 0; i < NAMES; i++) {
        fastinit_random_words(keys[i], step * (WORDS / NAMES), WORDS / NAMES, column);
        for (int j = 0; j < WORDS / NAMES; j++)
            words[j * NAMES + i] = column[j];
    }
}

/* The first block of this seed, the next, ...: neighbours differ in few bits. */
static void many_seeds(uint64_t step, uint32_t *words)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        draw(0, 0, seed + step * BLOCKS + i, 1, words + 4 * i);
}

/* Blocks of one number in all domains in turn. */
static void domains(uint64_t step, uint32_t *words)
{
    enum { DOMAINS = 16, PART = BLOCKS / DOMAINS };
    uint32_t row[4 * PART];
    for (uint32_t domain = 0; domain < DOMAINS; domain++) {
        draw(step * PART, domain << 24, seed, PART, row);
        for (unsigned i = 0; i < PART; i++)
            memcpy(words + 4 * (i * DOMAINS + domain), row + 4 * i, 4 * sizeof *words);
    }
}

/* Attempts 1 to 16 of the redraws of each element. */
static void attempts(uint64_t step, uint32_t *words)
{
    enum { ATTEMPTS = 16, PART = BLOCKS / ATTEMPTS };
    uint32_t row[4 * PART];
    for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        draw(step * PART, (uint32_t)FASTINIT_DOMAIN_REDRAW << 24 | (attempt + 1), seed, PART, row);
        for (unsigned i = 0; i < PART; i++)
            memcpy(words + 4 * (i * ATTEMPTS + attempt), row + 4 * i, 4 * sizeof *words);
    }
}

typedef void source(uint64_t step, uint32_t *words);
static const struct {
    const char *name;
    source *fill;
} sources[] = {{"stream", one_stream}, {"streams", many_streams}, {"seeds", many_seeds}, {"domains", domains}, {"attempts", attempts}};

/* NULL, and a complaint, if there is none of the name. The seed is a number in text, 0 without one. */
static inline source *find_source(const char *name, const char *seed_text)
{
    seed = seed_text ? strtoull(seed_text, NULL, 10) : 0;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (strcmp(name, sources[i].name) == 0)
            return sources[i].fill;
    fprintf(stderr, "expected stream, streams, seeds, domains or attempts, got %s\n", name);
    return NULL;
}
