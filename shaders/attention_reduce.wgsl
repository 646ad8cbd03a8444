// Paged flash attention of single rows, second half: merges the partial softmaxes that attention_decode left for the splits of a
// row, in order, and divides by the sum of weights.
//
//   partials       f32 [decode rows, max_splits, heads, head_dim]
//   partial_stats  f32 [decode rows, max_splits, heads, 2]     largest score, sum of weights
//   attended       f32 [rows, heads, head_dim]                 only the decode rows are written
//
// Grid: x = ceil(heads * head_dim / 4 / WORKGROUP), y = decode rows. An invocation owns four elements of a head and walks the
// splits itself: there are few of them, and so no barrier is needed.

const WORKGROUP = 64u;

override heads: u32;
override head_dim: u32;
override split_tokens: u32;
override max_splits: u32;

// Per decode row: row, number of keys it attends to.
@group(0) @binding(0) var<storage, read> decode_info: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> partial_stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> attended: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let columns = head_dim / 4u; // vec4s in a head
  let item = workgroup.x * WORKGROUP + lane; // vec4 in the row
  if (item >= heads * columns) {
    return;
  }
  let decode_row = workgroup.y;
  let row = decode_info[decode_row].x;
  let key_count = decode_info[decode_row].y;
  let splits = (key_count + split_tokens - 1u) / split_tokens;
  let first = decode_row * max_splits;
  let head = item / columns;

  var highest = partial_stats[first * heads + head].x;
  for (var split = 1u; split < splits; split += 1u) {
    highest = max(highest, partial_stats[(first + split) * heads + head].x);
  }
  var sum = 0.0;
  var output = vec4<f32>();
  for (var split = 0u; split < splits; split += 1u) {
    let stats = partial_stats[(first + split) * heads + head];
    let correction = exp(stats.x - highest);
    sum += correction * stats.y;
    output += correction * partials[(first + split) * heads * columns + item];
  }
  attended[row * heads * columns + item] = output / sum;
}
