/** A way in which GGUF stores elements: blocks of consecutive ones of a row. Source: the `ggml_type` enumeration of ggml. */
export interface GgufType {
  readonly name: string;
  readonly blockElements: number;
  readonly blockBytes: number;
}

const type = (name: string, blockElements: number, blockBytes: number): GgufType => ({
  name,
  blockElements,
  blockBytes,
});

/** The types that can be read, by their number in the file. */
export const GGUF_TYPES: ReadonlyMap<number, GgufType> = new Map([
  [0, type('F32', 1, 4)],
  [1, type('F16', 1, 2)],
  [2, type('Q4_0', 32, 18)],
  [3, type('Q4_1', 32, 20)],
  [6, type('Q5_0', 32, 22)],
  [7, type('Q5_1', 32, 24)],
  [8, type('Q8_0', 32, 34)],
  [12, type('Q4_K', 256, 144)],
  [13, type('Q5_K', 256, 176)],
  [14, type('Q6_K', 256, 210)],
  [30, type('BF16', 1, 2)],
]);
