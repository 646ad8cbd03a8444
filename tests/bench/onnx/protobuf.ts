/** What a field of a message holds: a varint, a 32-bit float, or anything with a length (text, bytes, packed numbers, a message). */
export type FieldValue =
  | { readonly kind: 'integer'; readonly value: number | bigint }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'bytes'; readonly value: Uint8Array };

export type Field = readonly [number: number, value: FieldValue];

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

export const integer = (value: number | bigint): FieldValue => ({ kind: 'integer', value });
export const float = (value: number): FieldValue => ({ kind: 'float', value });
export const bytes = (value: Uint8Array): FieldValue => ({ kind: 'bytes', value });
export const text = (value: string): FieldValue => bytes(new TextEncoder().encode(value));
export const message = (fields: readonly Field[]): FieldValue => bytes(encodeMessage(fields));

/** A message of the protocol buffers wire format (https://protobuf.dev/programming-guides/encoding/), fields in the given order. */
export function encodeMessage(fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const parts = fields.map(([number, value]) => encodeField(number, value));
  const encoded = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    encoded.set(part, offset);
    offset += part.length;
  }
  return encoded;
}

function encodeField(number: number, field: FieldValue): Uint8Array {
  switch (field.kind) {
    case 'integer':
      return Uint8Array.from([...varint((number << 3) | VARINT), ...varint(field.value)]);
    case 'float':
      return Uint8Array.from([
        ...varint((number << 3) | FIXED_32),
        ...new Uint8Array(Float32Array.of(field.value).buffer),
      ]);
    case 'bytes': {
      const head = [...varint((number << 3) | LENGTH_DELIMITED), ...varint(field.value.length)];
      const encoded = new Uint8Array(head.length + field.value.length);
      encoded.set(head);
      encoded.set(field.value, head.length);
      return encoded;
    }
  }
}

/** Seven bits per byte, lowest first; negative numbers as 64-bit two's complement. */
function varint(value: number | bigint): number[] {
  const encoded: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest >= 0x80n) {
    encoded.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  encoded.push(Number(rest));
  return encoded;
}
