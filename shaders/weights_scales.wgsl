// Scales of quantised weights: [rows, groups of a row], follows the file of the codes.

override scale_format: u32; // 0 f32, 1 f16, 2 f32 pairs of scale and offset
override group_octets: u32; // octets that share a scale
override zero: f32; // the code of zero

// One f32, two f16, or half a pair per word.
@group(0) @binding(1) var<storage, read> scales: array<u32>;

const QUANTIZED = true;

// (scale, offset). Groups are numbered through the whole table.
fn group_scale(group: u32) -> vec2<f32> {
  if (scale_format == 1u) {
    let pair = unpack_halves(scales[group >> 1u]);
    return vec2<f32>(select(pair.x, pair.y, (group & 1u) == 1u), 0.0);
  }
  if (scale_format == 2u) {
    return vec2<f32>(bitcast<f32>(scales[2u * group]), bitcast<f32>(scales[2u * group + 1u]));
  }
  return vec2<f32>(bitcast<f32>(scales[group]), 0.0);
}

// The weights at elements [8 * octet, 8 * octet + 8), exactly.
fn load_octet(octet: u32) -> Octet {
  let codes = load_codes(octet);
  let group = group_scale(octet / group_octets);
  let lo = group.x * (codes.lo * CODE_LO - zero);
  let hi = group.x * (codes.hi * CODE_HI - zero);
  if (scale_format == 2u) {
    return Octet(lo + group.y, hi + group.y);
  }
  return Octet(lo, hi);
}
