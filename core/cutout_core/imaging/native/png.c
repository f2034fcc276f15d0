/* Filters rows of an image and packs them as deflate blocks (RFC 1951), for png.py.
 *
 * Rows take the filter Paeth (PNG Specification, Third Edition, section 9.4). What is left of a photo then is noise in
 * which a search for repeats finds next to nothing, so every byte is coded by itself, by one Huffman code a call that
 * is made from a sample of its rows; only runs of zeros, which the empty parts of a cut-out are, become matches.
 */

#include "huffman.h"

enum {
    PAETH = 4,
    END_OF_BLOCK = 256,
    FIRST_LENGTH = 257,
    LONGEST_MATCH = 258,
    SHORTEST_RUN = 8,   /* bytes that are worth a match */
    SAMPLED_ROWS = 24,  /* of a call, for the Huffman code */
    SAMPLE_WEIGHT = 16, /* of what was seen, against 1 for what was not and still needs a code */
    ADLER_MODULUS = 65521,
    PAD = 16, /* zeros before and after a row */
};

/* The symbol of a match's length, 3..258, and the bits that follow it (RFC 1951, section 3.2.5). */
static int length_symbol(ptrdiff_t length, Code *extra) {
    if (length == LONGEST_MATCH) {
        *extra = (Code){0, 0};
        return SYMBOLS - 1;
    }
    uint32_t above = (uint32_t)length - 3, extra_bits = 0;
    while (above >> (extra_bits + 3)) extra_bits++;
    *extra = (Code){above & ((1u << extra_bits) - 1), extra_bits};
    return FIRST_LENGTH + 4 * (int)extra_bits + (int)(above >> extra_bits);
}

/* --- Rows --- */

typedef struct {
    const uint8_t *color, *alpha; /* [height, width, 3]; [height, width] or NULL */
    ptrdiff_t width, channels;
} Image;

typedef struct {
    ptrdiff_t from, to;
} Span;

typedef struct {
    uint8_t *rows[2], *filtered; /* with PAD zeros before and after each */
    Span shown[2];               /* pixels of `rows`; all others are zeros */
    int now;
} Window;

static ptrdiff_t zeros_before(const uint8_t *end, ptrdiff_t count) {
    uint64_t words[4];
    ptrdiff_t run = 0;
    for (; run + 32 <= count; run += 32) {
        memcpy(words, end - run - 32, 32);
        if (words[0] | words[1] | words[2] | words[3]) break;
    }
    while (run < count && !end[-run - 1]) run++;
    return run;
}

INLINED ptrdiff_t zeros_from(const uint8_t *bytes, ptrdiff_t count) {
    return count && !*bytes ? pure_run(bytes, count) : 0;
}

/* The pixels of row y that are not all zeros. */
static Span visible(const Image *image, ptrdiff_t y) {
    ptrdiff_t width = image->width;
    const uint8_t *color = image->color + 3 * y * width;
    Span found = {zeros_from(color, 3 * width) / 3, width - zeros_before(color + 3 * width, 3 * width) / 3};
    if (image->alpha) {
        const uint8_t *alpha = image->alpha + y * width;
        ptrdiff_t from = zeros_from(alpha, width), to = width - zeros_before(alpha + width, width);
        found = (Span){from < found.from ? from : found.from, to > found.to ? to : found.to};
    }
    return found.from < found.to ? found : (Span){0, 0};
}

PER_PROCESSOR static void copy_samples(const Image *image, ptrdiff_t y, Span span, uint8_t *row) {
    const uint8_t *color = image->color + 3 * y * image->width;
    if (!image->alpha) {
        memcpy(row + 3 * span.from, color + 3 * span.from, 3 * (span.to - span.from));
        return;
    }
    const uint8_t *alpha = image->alpha + y * image->width;
    ptrdiff_t x = span.from;
    for (; x < span.to - 1; x++) { /* reads the next pixel's first byte too, which the last has not */
        uint32_t pixel;
        memcpy(&pixel, color + 3 * x, 4);
        pixel = (pixel & 0xffffff) | (uint32_t)alpha[x] << 24;
        memcpy(row + 4 * x, &pixel, 4);
    }
    for (; x < span.to; x++) {
        memcpy(row + 4 * x, color + 3 * x, 3);
        row[4 * x + 3] = alpha[x];
    }
}

PER_PROCESSOR static void paeth(uint8_t *restrict filtered, const uint8_t *restrict row, const uint8_t *restrict above,
                                ptrdiff_t count, ptrdiff_t channels) {
    for (ptrdiff_t i = 0; i < count; i++) {
        int16_t left = row[i - channels], up = above[i], corner = above[i - channels];
        int16_t to_left = up - corner, to_up = left - corner, to_corner = to_left + to_up;
        to_left = to_left < 0 ? -to_left : to_left;
        to_up = to_up < 0 ? -to_up : to_up;
        to_corner = to_corner < 0 ? -to_corner : to_corner;
        int16_t other = to_up <= to_corner ? up : corner, to_other = to_up <= to_corner ? to_up : to_corner;
        filtered[i] = (uint8_t)(row[i] - (to_left <= to_other ? left : other));
    }
}

/* Filters row y into `filtered`, after the row before it. Returns the bytes that it wrote; all others are zeros in
 * truth, and anything in the buffer. */
static Span filter_row(const Image *image, ptrdiff_t y, Window *window) {
    int now = window->now ^= 1;
    uint8_t *row = window->rows[now], *above = window->rows[!now];
    ptrdiff_t channels = image->channels;
    Span old = window->shown[now], before = window->shown[!now], shown = visible(image, y);
    memset(row + channels * old.from, 0, channels * (old.to - old.from));
    copy_samples(image, y, shown, row);
    window->shown[now] = shown;
    Span both = before.to == 0 ? shown : shown.to == 0 ? before : (Span){
        shown.from < before.from ? shown.from : before.from, shown.to > before.to ? shown.to : before.to};
    if (both.to && both.to < image->width) both.to++; /* the pixel after the last has one to its left */
    Span bytes = {channels * both.from, channels * both.to};
    paeth(window->filtered + bytes.from, row + bytes.from, above + bytes.from, bytes.to - bytes.from, channels);
    return bytes;
}

/* --- Adler-32 (RFC 1950) --- */

PER_PROCESSOR static void sums(const uint8_t *bytes, ptrdiff_t count, uint32_t *plain, uint32_t *weighted) {
    uint32_t sum = 0, falling = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        sum += bytes[i];
        falling += bytes[i] * (uint32_t)(count - i);
    }
    *plain = sum, *weighted = falling;
}

static uint32_t adler_of_bytes(uint32_t adler, const uint8_t *bytes, ptrdiff_t count) {
    uint64_t low = adler & 0xffff, high = adler >> 16;
    for (ptrdiff_t part; count; bytes += part, count -= part) {
        uint32_t plain, weighted;
        part = count < 4096 ? count : 4096; /* the sums fit 32 bits */
        sums(bytes, part, &plain, &weighted);
        high = (high + low * part + weighted) % ADLER_MODULUS;
        low = (low + plain) % ADLER_MODULUS;
    }
    return (uint32_t)(high << 16 | low);
}

static uint32_t adler_of_zeros(uint32_t adler, ptrdiff_t count) {
    uint32_t low = adler & 0xffff, high = adler >> 16;
    return (uint32_t)((high + (uint64_t)(count % ADLER_MODULUS) * low) % ADLER_MODULUS) << 16 | low;
}

/* --- Writing --- */

typedef struct {
    uint8_t *out;
    uint64_t bits;
    uint32_t count; /* of bits that wait, fewer than 8 between calls */
} Writer;

typedef struct {
    Code literals[SYMBOLS], matches[LONGEST_MATCH + 1]; /* a match: length, extra bits, distance 1 */
    uint64_t before_zero[256];                          /* a byte and a zero after it: bits << 5 | length */
} Codes;

/* At most 56 bits. Writes 8 bytes, of which it keeps the full ones. */
INLINED void put(Writer *writer, uint64_t bits, uint32_t length) {
    writer->bits |= bits << writer->count;
    writer->count += length;
    memcpy(writer->out, &writer->bits, 8);
    writer->out += writer->count >> 3;
    writer->bits >>= writer->count & 56;
    writer->count &= 7;
}

/* A run of zeros after the byte `last`, written, or counted where `writer` is NULL. */
static void put_zeros(Writer *writer, const Codes *codes, uint32_t *counts, uint8_t last, ptrdiff_t count) {
    Code extra;
    for (ptrdiff_t part; count; count -= part, last = 0) {
        part = last || count < 3 ? 1 : count <= LONGEST_MATCH ? count : LONGEST_MATCH;
        if (count > LONGEST_MATCH && count < LONGEST_MATCH + 3 && !last) part = count - 3;
        if (!writer) counts[part == 1 ? 0 : length_symbol(part, &extra)]++;
        else if (part == 1) put(writer, codes->literals[0].bits, codes->literals[0].length);
        else put(writer, codes->matches[part].bits, codes->matches[part].length);
    }
}

/* The byte before the first that was filtered. */
INLINED uint8_t byte_before(const uint8_t *filtered, Span span, ptrdiff_t at) {
    return at > span.from ? filtered[at - 1] : at ? 0 : PAETH;
}

/* Whole pixels of zeros from `at` on, where they are worth a match. */
INLINED ptrdiff_t empty_pixels(const uint8_t *filtered, Span span, ptrdiff_t at, ptrdiff_t channels) {
    uint64_t ahead;
    memcpy(&ahead, filtered + at, 8); /* the buffer goes on behind the row */
    if (ahead) return 0;
    ptrdiff_t run = pure_run(filtered + at, span.to - at);
    run -= run % channels;
    return run < SHORTEST_RUN ? 0 : run;
}

static void count_row(const uint8_t *filtered, Span span, ptrdiff_t stride, ptrdiff_t channels, uint32_t *counts) {
    counts[PAETH]++;
    put_zeros(NULL, NULL, counts, PAETH, span.from);
    for (ptrdiff_t at = span.from, run; at < span.to;) {
        if ((run = empty_pixels(filtered, span, at, channels))) {
            put_zeros(NULL, NULL, counts, byte_before(filtered, span, at), run);
            at += run;
            continue;
        }
        for (ptrdiff_t end = at + channels; at < end; at++) counts[filtered[at]]++;
    }
    put_zeros(NULL, NULL, counts, byte_before(filtered, span, span.to), stride - span.to);
}

INLINED void write_pixels(Writer *writer, const Codes *codes, const uint8_t *filtered, Span span, ptrdiff_t channels) {
    Writer w = *writer; /* in registers */
    for (ptrdiff_t at = span.from, run; at < span.to; at += channels) {
        if ((run = empty_pixels(filtered, span, at, channels))) {
            *writer = w;
            put_zeros(writer, codes, NULL, byte_before(filtered, span, at), run);
            w = *writer;
            at += run - channels;
            continue;
        }
        const uint8_t *pixel = filtered + at;
        Code red = codes->literals[pixel[0]], green = codes->literals[pixel[1]], blue = codes->literals[pixel[2]];
        uint64_t low = red.bits | (uint64_t)green.bits << red.length, high = blue.bits;
        uint32_t low_length = red.length + green.length, high_length = blue.length;
        if (channels == 4 && pixel[3] == 0) { /* inside the subject and outside, alpha hardly ever changes */
            high = codes->before_zero[pixel[2]] >> 5;
            high_length = codes->before_zero[pixel[2]] & 31;
        } else if (channels == 4) {
            high |= (uint64_t)codes->literals[pixel[3]].bits << blue.length;
            high_length += codes->literals[pixel[3]].length;
        }
        if (low_length + high_length <= 56) {
            put(&w, low | high << low_length, low_length + high_length);
        } else {
            put(&w, low, low_length);
            put(&w, high, high_length);
        }
    }
    *writer = w;
}

PER_PROCESSOR static void write_rgba(Writer *writer, const Codes *codes, const uint8_t *filtered, Span span) {
    write_pixels(writer, codes, filtered, span, 4);
}

PER_PROCESSOR static void write_rgb(Writer *writer, const Codes *codes, const uint8_t *filtered, Span span) {
    write_pixels(writer, codes, filtered, span, 3);
}

/* The header of a block with Huffman codes of its own (RFC 1951, section 3.2.7), and the codes. */
static void write_header(Writer *writer, uint32_t *counts, Codes *codes) {
    uint8_t lengths[SYMBOLS];
    code_lengths(counts, lengths);
    assign_codes(lengths, codes->literals);
    for (ptrdiff_t length = 3; length <= LONGEST_MATCH; length++) {
        Code extra, code = codes->literals[length_symbol(length, &extra)];
        codes->matches[length] = (Code){code.bits | extra.bits << code.length, code.length + extra.length + 1};
    }
    Code zero = codes->literals[0];
    for (int byte = 0; byte < 256; byte++) {
        Code code = codes->literals[byte];
        codes->before_zero[byte] = (code.bits | (uint64_t)zero.bits << code.length) << 5 | (code.length + zero.length);
    }
    put(writer, 4, 3); /* not the last block; codes of its own */
    put(writer, SYMBOLS - FIRST_LENGTH, 5);
    put(writer, 2 - 1, 5);  /* two distances, of one bit each: 1, the only one used, and 2 */
    put(writer, 19 - 4, 4); /* lengths are sent in four bits each, without the symbols 16 to 18 for their runs */
    for (int i = 0; i < 19; i++) put(writer, i < 3 ? 0 : 4, 3);
    for (int symbol = 0; symbol < SYMBOLS; symbol++) put(writer, reversed(lengths[symbol], 4), 4);
    for (int distance = 0; distance < 2; distance++) put(writer, reversed(1, 4), 4);
}

/* color [height, width, 3], alpha [height, width] or NULL: rows top..bottom, filtered and packed as blocks that end on
 * a whole byte, none of them the stream's last. out: room for 2 × (bottom - top) × (1 + width × channels) + 1024 bytes.
 * adler: the checksum of the filtered rows. Returns the bytes written, or -1 where memory is short. */
EXPORTED ptrdiff_t cutout_pack_rows(const uint8_t *color, const uint8_t *alpha, ptrdiff_t width, ptrdiff_t top,
                                    ptrdiff_t bottom, uint8_t *out, uint32_t *adler) {
    Image image = {color, alpha, width, alpha ? 4 : 3};
    ptrdiff_t channels = image.channels, stride = width * channels, room = stride + 2 * PAD;
    uint8_t *memory = calloc(3, room);
    Codes *codes = calloc(1, sizeof *codes);
    if (!memory || !codes) {
        free(memory), free(codes);
        return -1;
    }
    Window window = {{memory + PAD, memory + room + PAD}, memory + 2 * room + PAD, {{0, 0}, {0, 0}}, 0};
    uint32_t counts[SYMBOLS] = {0};
    ptrdiff_t step = (bottom - top + SAMPLED_ROWS - 1) / SAMPLED_ROWS;
    for (ptrdiff_t y = top; y < bottom; y += step) {
        if (y) filter_row(&image, y - 1, &window);
        Span span = filter_row(&image, y, &window);
        count_row(window.filtered, span, stride, channels, counts);
    }
    for (int symbol = 0; symbol < SYMBOLS; symbol++) counts[symbol] = counts[symbol] * SAMPLE_WEIGHT + 1;
    Writer writer = {out, 0, 0};
    write_header(&writer, counts, codes);
    memset(memory, 0, 3 * room);
    window.shown[0] = window.shown[1] = (Span){0, 0};
    if (top) filter_row(&image, top - 1, &window);
    uint8_t type = PAETH;
    *adler = 1;
    for (ptrdiff_t y = top; y < bottom; y++) {
        Span span = filter_row(&image, y, &window);
        *adler = adler_of_bytes(*adler, &type, 1);
        *adler = adler_of_zeros(*adler, span.from);
        *adler = adler_of_bytes(*adler, window.filtered + span.from, span.to - span.from);
        *adler = adler_of_zeros(*adler, stride - span.to);
        put(&writer, codes->literals[PAETH].bits, codes->literals[PAETH].length);
        put_zeros(&writer, codes, NULL, PAETH, span.from);
        (channels == 4 ? write_rgba : write_rgb)(&writer, codes, window.filtered, span);
        put_zeros(&writer, codes, NULL, byte_before(window.filtered, span, span.to), stride - span.to);
    }
    put(&writer, codes->literals[END_OF_BLOCK].bits, codes->literals[END_OF_BLOCK].length);
    put(&writer, 0, 3); /* an empty block without codes ends on a whole byte */
    if (writer.count) put(&writer, 0, 8 - writer.count);
    put(&writer, 0xffff0000u, 32);
    free(memory), free(codes);
    return writer.out - out;
}
