// Weights of a linear map or an embedding table: row-major [out_features, in_features], in_features a multiple of 8.
// Placed in front of every kernel that reads weights, followed by the file of the storage format (weights_float, weights_u4, weights_u8,
// weights_e4m3), which alone knows how weights lie in memory and gives:
//
//   weights       binding 0
//   CODE_LO, CODE_HI, load_codes(octet)
//                 the codes of elements [8 · octet, 8 · octet + 8) of the table, times powers of two: code = loaded · CODE_LO (or HI).
//                 Who sums many of them multiplies the other factor once and leaves the codes as they are.
//   QUANTIZED     codes are still to be scaled: weight = scale · (code − zero) + offset, with one scale for group_octets octets
//
// Masks and products take codes apart, not shifts: SwiftShader shifts lane by lane, and multiplies all lanes at once.

// 8 consecutive elements of a row.
struct Octet {
  lo: vec4<f32>,
  hi: vec4<f32>,
}
