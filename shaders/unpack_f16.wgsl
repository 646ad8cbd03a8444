// Two halves of a word, lower first: with `shader-f16`, whose conversion is one instruction where unpack2x16float is many.
fn unpack_halves(word: u32) -> vec2<f32> {
  return vec2<f32>(bitcast<vec2<f16>>(word));
}
