// Paged flash attention of single rows against long caches, first half: every workgroup attends to one split of a row's keys and
// leaves a partial softmax; attention_reduce merges them.
//
//   qkv            f32 [rows, heads + 2 * kv_heads, head_dim]        only q is read
//   keys, values   [block, BLOCK_TOKENS, kv_heads, head_dim]         f32, or halves packed two per u32
//   partials       f32 [decode rows, max_splits, heads, head_dim]    sum of weight * value, not divided by the sum of weights
//   partial_stats  f32 [decode rows, max_splits, heads, 2]           largest score, sum of weights
//
// Grid: x = splits of the longest row, y = kv_heads * groups_per_kv_head, z = decode rows. A split is a fixed number of tokens, so
// a row's arithmetic is the same in any company; a workgroup whose split begins past the row's keys leaves at once.
//
// A workgroup serves up to four query heads of one KV head, one per component of a vec4: every key and value is read once for all
// of them. It walks its split in tiles with an online softmax. For the scores an invocation owns two tokens of the tile, so the
// running maximum is the only thing that crosses invocations (an atomic on order-preserving bits, exact in any order) and scores
// stay in registers; for the output it owns four elements of the head and every parts-th token. Two barriers per tile.
// Two tokens share every load of q, and 32 invocations are one warp: more cost software adapters dearly at barriers.

const BLOCK_TOKENS = 16u;
const CACHE_F16 = 1u;
// Below any score and far from overflow: exp(LOWEST - maximum) is 0.
const LOWEST = -1e30;

override heads: u32;
override kv_heads: u32;
override head_dim: u32;
override cache_format: u32; // 0 f32, 1 f16
override scale: f32; // of the scores, usually 1 / sqrt(head_dim)
override split_tokens: u32;
override max_splits: u32; // of the longest sequence the buffers are made for
override group_heads: u32; // query heads per workgroup, 1 to 4
override groups_per_kv_head: u32;
override invocations: u32; // at least head_dim / 4

struct Step {
  rows: u32,
  block_table_stride: u32,
}

// Sizes of this forward pass.
@group(0) @binding(0) var<uniform> step: Step;
// q normed and rotated, in vec4s.
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
// The layer's cache; a vec2 is two f32 or four halves.
@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>;
// [sequences, block_table_stride]: cache blocks of each sequence, in order.
@group(0) @binding(4) var<storage, read> block_tables: array<u32>;
// Per row: sequence, position.
@group(0) @binding(5) var<storage, read> row_info: array<vec2<u32>>;
// Per decode row: row, number of keys it attends to.
@group(0) @binding(6) var<storage, read> decode_info: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> partial_stats: array<vec2<f32>>;

// Largest score so far of each head, as order-preserving bits; 0 is below all of them.
var<workgroup> running_max: array<atomic<u32>, 4>;
// Of the tile: softmax weights, one head per component, and where the token's head begins in the cache, in vec4s.
var<workgroup> weights: array<vec4<f32>, 2u * invocations>;
var<workgroup> token_columns: array<u32, 2u * invocations>;
// What the invocations summed up: [group_heads, invocations] and [invocations].
var<workgroup> part_outputs: array<vec4<f32>, invocations * group_heads>;
var<workgroup> part_sums: array<vec4<f32>, invocations>;

// Maps floats to integers of the same order.
fn ordered_bits(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn from_ordered_bits(ordered: u32) -> f32 {
  return bitcast<f32>(select(~ordered, ordered & 0x7fffffffu, ordered >= 0x80000000u));
}

// Components past group_heads belong to no head; nobody reads what becomes of them.
fn load_running_max() -> vec4<f32> {
  return vec4<f32>(
    from_ordered_bits(atomicLoad(&running_max[0])),
    from_ordered_bits(atomicLoad(&running_max[1])),
    from_ordered_bits(atomicLoad(&running_max[2])),
    from_ordered_bits(atomicLoad(&running_max[3])),
  );
}

fn key_column(index: u32) -> vec4<f32> {
  if (cache_format == CACHE_F16) {
    let word = keys[index];
    return vec4<f32>(unpack2x16float(word.x), unpack2x16float(word.y));
  }
  return vec4<f32>(bitcast<vec2<f32>>(keys[2u * index]), bitcast<vec2<f32>>(keys[2u * index + 1u]));
}

fn value_column(index: u32) -> vec4<f32> {
  if (cache_format == CACHE_F16) {
    let word = values[index];
    return vec4<f32>(unpack2x16float(word.x), unpack2x16float(word.y));
  }
  return vec4<f32>(bitcast<vec2<f32>>(values[2u * index]), bitcast<vec2<f32>>(values[2u * index + 1u]));
}

// Where the KV head of a token begins in the cache, in vec4s.
fn first_column(table: u32, token: u32, kv_head: u32) -> u32 {
  let block = block_tables[table + token / BLOCK_TOKENS];
  return ((block * BLOCK_TOKENS + token % BLOCK_TOKENS) * kv_heads + kv_head) * (head_dim / 4u);
}

fn raise_running_max(score: vec4<f32>) {
  atomicMax(&running_max[0], ordered_bits(score.x));
  if (group_heads > 1u) {
    atomicMax(&running_max[1], ordered_bits(score.y));
  }
  if (group_heads > 2u) {
    atomicMax(&running_max[2], ordered_bits(score.z));
  }
  if (group_heads > 3u) {
    atomicMax(&running_max[3], ordered_bits(score.w));
  }
}

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let split = workgroup.x;
  let decode_row = workgroup.z;
  let row = decode_info[decode_row].x;
  let key_count = decode_info[decode_row].y;
  let split_start = split * split_tokens;
  if (split_start >= key_count) {
    return;
  }
  let split_end = min(split_start + split_tokens, key_count);

  let columns = head_dim / 4u; // vec4s in a head
  let heads_per_kv_head = heads / kv_heads;
  let kv_head = workgroup.y / groups_per_kv_head;
  let first_in_kv_head = (workgroup.y % groups_per_kv_head) * group_heads;
  let first_head = kv_head * heads_per_kv_head + first_in_kv_head;
  // The last group of a KV head may be short. It computes on what follows its heads in the row, and writes none of it.
  let head_count = min(group_heads, heads_per_kv_head - first_in_kv_head);
  let query = (row * (heads + 2u * kv_heads) + first_head) * columns;
  let table = row_info[row].x * step.block_table_stride;

  let parts = invocations / columns;
  let part = lane / columns;
  let column = lane % columns;

  var highest = vec4<f32>(LOWEST);
  var sum = vec4<f32>();
  var output0 = vec4<f32>();
  var output1 = vec4<f32>();
  var output2 = vec4<f32>();
  var output3 = vec4<f32>();

  for (var tile_start = split_start; tile_start < split_end; tile_start += 2u * invocations) {
    let token_a = tile_start + lane;
    let token_b = token_a + invocations;
    // A token past the end computes on the last one again; nobody reads its weight.
    let columns_a = first_column(table, min(token_a, split_end - 1u), kv_head);
    let columns_b = first_column(table, min(token_b, split_end - 1u), kv_head);
    var score_a = vec4<f32>();
    var score_b = vec4<f32>();
    for (var c = 0u; c < columns; c += 1u) {
      let key_a = key_column(columns_a + c);
      let key_b = key_column(columns_b + c);
      let query0 = qkv[query + c];
      score_a.x += dot(key_a, query0);
      score_b.x += dot(key_b, query0);
      if (group_heads > 1u) {
        let query1 = qkv[query + columns + c];
        score_a.y += dot(key_a, query1);
        score_b.y += dot(key_b, query1);
      }
      if (group_heads > 2u) {
        let query2 = qkv[query + 2u * columns + c];
        score_a.z += dot(key_a, query2);
        score_b.z += dot(key_b, query2);
      }
      if (group_heads > 3u) {
        let query3 = qkv[query + 3u * columns + c];
        score_a.w += dot(key_a, query3);
        score_b.w += dot(key_b, query3);
      }
    }
    score_a *= scale;
    score_b *= scale;
    // The last token counted twice does not change a maximum.
    raise_running_max(max(score_a, score_b));
    // The maximum is complete, and the tile before has been summed up, so its weights may go.
    workgroupBarrier();
    let new_highest = load_running_max();
    weights[lane] = exp(score_a - new_highest);
    weights[lane + invocations] = exp(score_b - new_highest);
    token_columns[lane] = columns_a;
    token_columns[lane + invocations] = columns_b;
    workgroupBarrier();

    let correction = exp(highest - new_highest);
    highest = new_highest;
    sum *= correction;
    output0 *= correction.x;
    output1 *= correction.y;
    output2 *= correction.z;
    output3 *= correction.w;
    let tile_count = min(2u * invocations, split_end - tile_start);
    // Where the columns do not divide the workgroup, some invocations are left over: nobody reads what they sum up.
    for (var t = part; t < tile_count; t += parts) {
      let weight = weights[t];
      let value = value_column(token_columns[t] + column);
      sum += weight;
      output0 += weight.x * value;
      if (group_heads > 1u) {
        output1 += weight.y * value;
      }
      if (group_heads > 2u) {
        output2 += weight.z * value;
      }
      if (group_heads > 3u) {
        output3 += weight.w * value;
      }
    }
  }

  part_sums[lane] = sum;
  part_outputs[lane] = output0;
  if (group_heads > 1u) {
    part_outputs[invocations + lane] = output1;
  }
  if (group_heads > 2u) {
    part_outputs[2u * invocations + lane] = output2;
  }
  if (group_heads > 3u) {
    part_outputs[3u * invocations + lane] = output3;
  }
  workgroupBarrier();

  // All parts have the same maximum, so merging them is adding, in order.
  let first_partial = (decode_row * max_splits + split) * heads + first_head;
  for (var item = lane; item < head_count * columns; item += invocations) {
    let head = item / columns;
    var total = vec4<f32>();
    for (var p = 0u; p < parts; p += 1u) {
      total += part_outputs[head * invocations + p * columns + item % columns];
    }
    partials[first_partial * columns + item] = total;
  }
  if (lane < head_count) {
    var total = 0.0;
    for (var p = 0u; p < parts; p += 1u) {
      total += part_sums[p * columns][lane];
    }
    partial_stats[first_partial + lane] = vec2<f32>(from_ordered_bits(atomicLoad(&running_max[lane])), total);
  }
}
