// hidden[row] = weights[token_ids[row]] for every row of the step; f32 [rows, in_features].
//
// A table above the GPU's binding limit is cut into parts of whole rows: each part has its own dispatch, which writes the rows whose
// token lies in [first_token, first_token + part_tokens) and leaves the others to the other parts.
// Grid: x covers the row in steps of 64 octets, y is the row. A copy: one octet per invocation is all there is to gain.

override in_features: u32; // hidden size
override first_token: u32; // token id of the first row of this part
override part_tokens: u32; // rows of this part

// Token id per row.
@group(0) @binding(2) var<storage, read> token_ids: array<u32>;
// Residual stream, f32 [rows, in_features].
@group(0) @binding(3) var<storage, read_write> hidden: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let octets = in_features / 8u;
  let octet = id.x;
  let row = id.y;
  if (octet >= octets) {
    return;
  }
  // Wraps to a huge number for tokens of an earlier part.
  let part_row = token_ids[row] - first_token;
  if (part_row >= part_tokens) {
    return;
  }
  let values = load_octet(part_row * octets + octet);
  let first = 2u * (row * octets + octet);
  hidden[first] = values.lo;
  hidden[first + 1u] = values.hi;
}
