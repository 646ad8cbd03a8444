/** One engine with one model loaded: what the bench asks of each. Greedy, one sequence, positions from 0. */
export interface Decoder {
  readonly name: string;
  /** Starts over with a prompt. @returns the token after it. */
  prefill(ids: readonly number[]): Promise<number>;
  /** Adds one token. @param position of the token: how many there are before it. @returns the token after it. */
  decode(id: number, position: number): Promise<number>;
  /** Starts over. @returns f32 [vocab] after the last id. */
  logits(ids: readonly number[]): Promise<Float32Array>;
  dispose(): Promise<void>;
}
