/* A Huffman code of limited length (RFC 1951, section 3.2.2), for png.c. */

#include "huffman.h"

static void sort_by_count(const uint32_t *counts, uint16_t *order) {
    for (int i = 0; i < SYMBOLS; i++) order[i] = (uint16_t)i;
    for (int gap = 121; gap; gap /= 3)
        for (int i = gap; i < SYMBOLS; i++) {
            uint16_t symbol = order[i];
            int place = i;
            for (; place >= gap && counts[order[place - gap]] > counts[symbol]; place -= gap)
                order[place] = order[place - gap];
            order[place] = symbol;
        }
}

void code_lengths(uint32_t *counts, uint8_t *lengths) {
    enum { NODES = 2 * SYMBOLS - 1 };
    uint16_t order[SYMBOLS];
    uint64_t weight[NODES];
    int parent[NODES], depth[NODES];
    for (;;) {
        sort_by_count(counts, order);
        for (int i = 0; i < SYMBOLS; i++) weight[i] = counts[order[i]];
        for (int node = SYMBOLS, leaf = 0, inner = SYMBOLS; node < NODES; node++) {
            weight[node] = 0;
            for (int child = 0; child < 2; child++) {
                int is_leaf = leaf < SYMBOLS && (inner == node || weight[leaf] <= weight[inner]);
                int taken = is_leaf ? leaf++ : inner++;
                weight[node] += weight[taken];
                parent[taken] = node;
            }
        }
        depth[NODES - 1] = 0;
        for (int node = NODES - 2; node >= 0; node--) depth[node] = depth[parent[node]] + 1;
        for (int i = 0; i < SYMBOLS; i++) lengths[order[i]] = (uint8_t)depth[i];
        if (depth[0] <= LONGEST_CODE) return;
        for (int i = 0; i < SYMBOLS; i++) counts[i] = counts[i] / 2 + 1;
    }
}

uint32_t reversed(uint32_t bits, int length) {
    uint32_t result = 0;
    for (; length; length--, bits >>= 1) result = result << 1 | (bits & 1);
    return result;
}

void assign_codes(const uint8_t *lengths, Code *codes) {
    uint32_t next = 0;
    for (int length = 1; length <= LONGEST_CODE; length++, next <<= 1)
        for (int symbol = 0; symbol < SYMBOLS; symbol++)
            if (lengths[symbol] == length) codes[symbol] = (Code){reversed(next++, length), (uint32_t)length};
}
