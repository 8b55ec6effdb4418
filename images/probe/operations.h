/* The operations that exist at EL3 and below it: one stub each, or one for each size of an element, with a name that
 * begins with `stub_` at EL3 and with `lower_` below. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

/* ROW(operation, SAME or SIZES, stub, how many of data0 and data1 mean something, needs prepare() first at EL3) */
#define COMMON_OPERATIONS(ROW)                                                                                         \
    ROW(NOP, SAME, nop, 0, false)                                                                                      \
    ROW(LOAD, SIZES, load, 1, false)                                                                                   \
    ROW(STORE, SIZES, store, 0, false)                                                                                 \
    ROW(LOAD_PAIR, SAME, load_pair, 2, false)                                                                          \
    ROW(STORE_PAIR, SAME, store_pair, 0, false)                                                                        \
    ROW(LOAD_EXCLUSIVE, SIZES, load_exclusive, 1, false)                                                               \
    ROW(STORE_EXCLUSIVE, SIZES, store_exclusive, 2, false)                                                             \
    ROW(ATOMIC_ADD, SIZES, add, 1, true)                                                                               \
    ROW(ATOMIC_SWAP, SIZES, swap, 1, true)                                                                             \
    ROW(ATOMIC_CAS, SIZES, cas, 1, true)                                                                               \
    ROW(FETCH, SAME, fetch, 0, false)                                                                                  \
    ROW(DC_ZVA, SAME, dc_zva, 0, false)                                                                                \
    ROW(SMC, SAME, smc, 0, true)                                                                                       \
    ROW(HVC, SAME, hvc, 0, true)                                                                                       \
    ROW(SVC, SAME, svc, 0, true)                                                                                       \
    ROW(LOAD_SIMD, SAME, load_simd, 2, false)                                                                          \
    ROW(STORE_SIMD, SAME, store_simd, 0, false)                                                                        \
    ROW(LOAD_SIMD_PAIR, SAME, load_simd_pair, 2, false)                                                                \
    ROW(STORE_SIMD_PAIR, SAME, store_simd_pair, 0, false)                                                              \
    ROW(LOAD_UNPRIVILEGED, SIZES, load_unprivileged, 1, false)                                                         \
    ROW(STORE_UNPRIVILEGED, SIZES, store_unprivileged, 0, false)                                                       \
    ROW(PREFETCH, SAME, prefetch, 0, false)

#define DECLARE_SAME(prefix, name) extern void prefix##_##name(void);
#define DECLARE_SIZES(prefix, name)                                                                                    \
    DECLARE_SAME(prefix, name##0)                                                                                      \
    DECLARE_SAME(prefix, name##1)                                                                                      \
    DECLARE_SAME(prefix, name##2)                                                                                      \
    DECLARE_SAME(prefix, name##3)

/* By size_log2. */
#define STUBS_SAME(prefix, name) {prefix##_##name, prefix##_##name, prefix##_##name, prefix##_##name}
#define STUBS_SIZES(prefix, name) {prefix##_##name##0, prefix##_##name##1, prefix##_##name##2, prefix##_##name##3}

#endif
