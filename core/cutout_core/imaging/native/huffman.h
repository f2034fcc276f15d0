/* The Huffman code of deflate's literals and lengths (RFC 1951, section 3.2.2). */
#ifndef CUTOUT_HUFFMAN_H
#define CUTOUT_HUFFMAN_H

#include "common.h"

enum { SYMBOLS = 286, LONGEST_CODE = 15 };

typedef struct {
    uint32_t bits, length; /* in the order in which deflate sends them */
} Code;

/* Lengths of the codes of all symbols; every count is at least 1. Counts are halved until no code is too long. */
void code_lengths(uint32_t *counts, uint8_t *lengths);

/* The codes of these lengths. */
void assign_codes(const uint8_t *lengths, Code *codes);

/* The last `length` bits the other way round: Huffman codes are sent from their first bit on, all else in deflate from
 * the last. */
uint32_t reversed(uint32_t bits, int length);

#endif
