/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11). */
#ifndef FASTINIT_PHILOX_H
#define FASTINIT_PHILOX_H

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

FASTINIT_INLINE fastinit_philox_keys philox_keys(uint64_t key)
{
    fastinit_philox_keys keys;
    for (uint32_t round = 0; round < 10; round++) {
        keys.k0[round] = (uint32_t)key + round * PHILOX_W0;
        keys.k1[round] = (uint32_t)(key >> 32) + round * PHILOX_W1;
    }
    return keys;
}

#endif
