/* BLAKE2b-512 (RFC 7693), unkeyed, for the keys of named streams. */
#include "internal.h"

typedef struct {
    uint64_t h[8], length;
    uint8_t block[128];
    size_t filled;
} blake2b;

static const uint64_t iv[8] = {
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
};

/* Rounds 10 and 11 use the permutations of rounds 0 and 1. */
static const uint8_t sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotate_right(uint64_t x, int n) { return x >> n | x << (64 - n); }

static uint64_t load_le(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static void mix(uint64_t v[16], int a, int b, int c, int d, uint64_t x, uint64_t y)
{
    v[a] += v[b] + x;
    v[d] = rotate_right(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotate_right(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 63);
}

static void compress(blake2b *s, int final)
{
    uint64_t v[16], m[16];
    for (int i = 0; i < 16; i++)
        m[i] = load_le(s->block + 8 * i);
    memcpy(v, s->h, sizeof s->h);
    memcpy(v + 8, iv, sizeof iv);
    v[12] ^= s->length; /* names are shorter than 2^64 bytes: the upper length word is 0 */
    if (final)
        v[14] = ~v[14];
    for (int round = 0; round < 12; round++) {
        const uint8_t *p = sigma[round % 10];
        for (int i = 0; i < 4; i++)
            mix(v, i, 4 + i, 8 + i, 12 + i, m[p[2 * i]], m[p[2 * i + 1]]);
        for (int i = 0; i < 4; i++)
            mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[p[8 + 2 * i]], m[p[9 + 2 * i]]);
    }
    for (int i = 0; i < 8; i++)
        s->h[i] ^= v[i] ^ v[8 + i];
}

static void update(blake2b *s, const uint8_t *p, size_t n)
{
    for (; n; p++, n--) {
        if (s->filled == sizeof s->block) {
            compress(s, 0);
            s->filled = 0;
        }
        s->block[s->filled++] = *p;
        s->length++;
    }
}

uint64_t fastinit_stream_key(uint64_t seed, const void *name, size_t length)
{
    if (!length)
        return seed;
    uint8_t seed_bytes[8];
    for (int i = 0; i < 8; i++)
        seed_bytes[i] = (uint8_t)(seed >> 8 * i);
    blake2b s = {.filled = 0};
    memcpy(s.h, iv, sizeof iv);
    s.h[0] ^= 0x01010000 ^ 64; /* parameter block: fan-out 1, depth 1, no key, 64-byte digest */
    update(&s, seed_bytes, sizeof seed_bytes);
    update(&s, name, length);
    memset(s.block + s.filled, 0, sizeof s.block - s.filled);
    compress(&s, 1);
    return s.h[0];
}
