/** CRC-32 as in zip and Ethernet, four bytes at a time. It finds faults, not forgeries: those need no damage. */
const POLYNOMIAL = 0xedb88320;
const TABLES = makeTables();

/** @param checksum of the bytes before these; 0 for the first. @returns u32. */
export function crc32(bytes: Uint8Array, checksum = 0): number {
  const [near, second, third, far] = TABLES;
  const wordsEnd = bytes.length - (bytes.length % 4);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let crc = ~checksum;
  let offset = 0;
  for (; offset < wordsEnd; offset += 4) {
    crc ^= view.getInt32(offset, true);
    crc =
      (far[crc & 0xff] ?? 0) ^
      (third[(crc >>> 8) & 0xff] ?? 0) ^
      (second[(crc >>> 16) & 0xff] ?? 0) ^
      (near[crc >>> 24] ?? 0);
  }
  for (; offset < bytes.length; offset += 1) {
    crc = (crc >>> 8) ^ (near[(crc ^ (bytes[offset] ?? 0)) & 0xff] ?? 0);
  }
  return ~crc >>> 0;
}

/** The n-th table is what a byte does to the checksum once n more have come. */
function makeTables(): readonly [Int32Array, Int32Array, Int32Array, Int32Array] {
  const near = new Int32Array(256);
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    near[byte] = crc;
  }
  const shift = (table: Int32Array) => table.map((crc) => (crc >>> 8) ^ (near[crc & 0xff] ?? 0));
  const second = shift(near);
  const third = shift(second);
  return [near, second, third, shift(third)];
}
