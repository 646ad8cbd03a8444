// Paged flash attention of single rows, second half: merges the partial softmaxes that attention_decode left for the splits of a
// row, or attention_serial for its parts, in order, and divides by the sum of weights.
//
//   partials       f32 [decode rows, max_splits, heads, head_dim]
//   partial_stats  f32 [decode rows, max_splits, heads, 2]     largest score, sum of weights
//   attended       f32 [rows, heads, head_dim]                 only decode rows are written
//
// Grid: x = ceil(heads * head_dim / 4 / WORKGROUP), y = decode rows. An invocation owns four elements of a head and walks the
// splits itself: there are few of them, and so no barrier is needed.

const WORKGROUP = 64u;
const BLOCK_TOKENS = 16u;

override heads: u32;
override head_dim: u32;
override window: u32; // a row sees this many of the latest keys; 0: all
override has_sinks: u32; // 1: every head has a logit that takes part in the softmax and has no value
override split_tokens: u32; // a split is that many neighbouring tokens, of all from position 0
override parts: u32; // if not 0: part p is every parts-th block of BLOCK_TOKENS of those that the row sees, from the p-th
override max_splits: u32;
override ends_rows: u32; // 1: attention_decode has written the rows of one split

// Per decode row: row, 1, sequence, position.
@group(0) @binding(0) var<storage, read> decode_info: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> partial_stats: array<vec2<f32>>;
// f32 [heads]; unused without has_sinks.
@group(0) @binding(3) var<storage, read> sinks: array<f32>;
@group(0) @binding(4) var<storage, read_write> attended: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let columns = head_dim / 4u; // vec4s in a head
  let item = workgroup.x * WORKGROUP + lane; // vec4 in the row
  if (item >= heads * columns) {
    return;
  }
  let decode_row = workgroup.y;
  let row = decode_info[decode_row].x;
  let key_end = decode_info[decode_row].w + 1u;
  let first_key = select(0u, max(key_end, window) - window, window > 0u);
  var first_split = first_key / split_tokens;
  var split_end = (key_end + split_tokens - 1u) / split_tokens;
  if (parts > 0u) {
    first_split = 0u;
    split_end = min(parts, (key_end - 1u) / BLOCK_TOKENS - first_key / BLOCK_TOKENS + 1u);
  }
  if (ends_rows == 1u && split_end - first_split == 1u) {
    return;
  }
  let first = decode_row * max_splits;
  let head = item / columns;

  var highest = partial_stats[(first + first_split) * heads + head].x;
  for (var split = first_split + 1u; split < split_end; split += 1u) {
    highest = max(highest, partial_stats[(first + split) * heads + head].x);
  }
  var sum = 0.0;
  var output = vec4<f32>();
  if (has_sinks == 1u) {
    highest = max(highest, sinks[head]);
    sum = exp(sinks[head] - highest);
  }
  for (var split = first_split; split < split_end; split += 1u) {
    let stats = partial_stats[(first + split) * heads + head];
    let correction = exp(stats.x - highest);
    sum += correction * stats.y;
    output += correction * partials[(first + split) * heads * columns + item];
  }
  attended[row * heads * columns + item] = output / sum;
}
