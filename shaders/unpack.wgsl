// Two halves of a word, lower first: core WGSL, for GPUs without `shader-f16`.
fn unpack_halves(word: u32) -> vec2<f32> {
  return unpack2x16float(word);
}
