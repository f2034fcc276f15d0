// A ZIP archive of files that are compressed already: stored, not deflated (PKWARE APPNOTE 6.3, sections 4.3.7 to 4.3.16).

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

async function crc32(blob) {
  let crc = 0xffffffff;
  const reader = blob.stream().getReader();
  for (let part; !(part = await reader.read()).done; ) {
    for (const byte of part.value) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255];
  }
  return ~crc >>> 0;
}

/** Little-endian fields: [value, bytes] pairs. */
function record(...fields) {
  const bytes = new DataView(new ArrayBuffer(fields.reduce((sum, [, width]) => sum + width, 0)));
  let at = 0;
  for (const [value, width] of fields) {
    width === 4 ? bytes.setUint32(at, value, true) : bytes.setUint16(at, value, true);
    at += width;
  }
  return new Uint8Array(bytes.buffer);
}

/** `files`: [{name, blob}]. Names that occur twice get a number. Rejects with an Error above 4 GB. */
export async function zip(files) {
  const parts = [];
  const directory = [];
  const taken = new Set();
  const now = new Date();
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  let offset = 0;
  for (const { name, blob } of files) {
    const path = new TextEncoder().encode(unique(name, taken));
    // Version 2.0, names in UTF-8 (bit 11), stored, then checksum and both sizes, then the lengths of name and extra field.
    const common = [[20, 2], [0x800, 2], [0, 2], [time, 2], [date, 2], [await crc32(blob), 4], [blob.size, 4], [blob.size, 4], [path.length, 2], [0, 2]];
    const header = record([0x04034b50, 4], ...common);
    const entry = record([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]);
    parts.push(header, path, blob);
    directory.push(entry, path);
    offset += header.length + path.length + blob.size;
    if (offset > 0xf0000000) throw new Error("These files are too large for one ZIP: download them one by one.");
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [length, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function unique(name, taken) {
  const dot = name.lastIndexOf(".");
  let candidate = name;
  for (let number = 2; taken.has(candidate); number++) candidate = `${name.slice(0, dot)} ${number}${name.slice(dot)}`;
  taken.add(candidate);
  return candidate;
}
