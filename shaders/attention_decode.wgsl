// Paged flash attention of single rows against long caches, first half: every workgroup attends to one split of a row's keys and
// leaves a partial softmax; attention_reduce merges them. A row whose keys all lie in one split needs no merging, and is written at
// once. attention.wgsl and attention_cache.wgsl stand in front.
//
//   qkv            f32 [rows, heads + 2 * kv_heads, head_dim]        only q is read
//   keys, values   [block, BLOCK_TOKENS, kv_heads, head]             formats in attention.wgsl
//   partials       f32 [decode rows, max_splits, heads, head_dim]    sum of weight * value, not divided by the sum of weights
//   partial_stats  f32 [decode rows, max_splits, heads, 2]           largest score, sum of weights
//   attended       f32 [rows, heads, head_dim]                       only of rows of one split, with ends_rows
//
// Grid: x = splits of the longest row, y = kv_heads * groups_per_kv_head, z = decode rows. A split is a fixed number of tokens, so
// a row's arithmetic is the same in any company; a workgroup whose split has none of the keys that the row sees leaves at once.
//
// A workgroup serves up to four query heads of one KV head, one per component of a vec4: every key and value is read once for all
// of them. It walks its split in tiles with an online softmax. For the scores an invocation owns two tokens of the tile, so the
// running maximum is the only thing that crosses invocations (an atomic on order-preserving bits, exact in any order) and scores
// stay in registers; for the output it owns four elements of the head and every parts-th token. Two barriers per tile.
// Two tokens share every load of q, and 32 invocations are one warp: more cost software adapters dearly at barriers.

override split_tokens: u32;
override max_splits: u32; // of the longest sequence the buffers are made for
override group_heads: u32; // query heads per workgroup, 1 to 4
override groups_per_kv_head: u32;
override invocations: u32; // at least head_dim / 4
override ends_rows: u32; // 1: rows of one split go to attended, and attention_reduce leaves them alone

// Sizes of this forward pass.
@group(0) @binding(0) var<uniform> step: Step;
// q normed and rotated, in vec4s.
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
// The layer's cache, in pairs of words.
@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>;
// [sequences, block_table_stride]: cache blocks of each sequence, in order.
@group(0) @binding(4) var<storage, read> block_tables: array<u32>;
// Per decode row: row, 1, sequence, position.
@group(0) @binding(5) var<storage, read> decode_info: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> partial_stats: array<vec2<f32>>;
@group(0) @binding(8) var<storage, read_write> attended: array<vec4<f32>>;

// Largest score so far of each head, as order-preserving bits; 0 is below all of them.
var<workgroup> running_max: array<atomic<u32>, 4>;
// Of the tile: softmax weights, one head per component, and where the token's head begins in the cache, in pairs of words.
var<workgroup> weights: array<vec4<f32>, 2u * invocations>;
var<workgroup> token_pairs: array<u32, 2u * invocations>;
// What the invocations summed up: [group_heads, invocations] and [invocations].
var<workgroup> part_outputs: array<vec4<f32>, invocations * group_heads>;
var<workgroup> part_sums: array<vec4<f32>, invocations>;

// Components past group_heads belong to no head; nobody reads what becomes of them.
fn load_running_max() -> vec4<f32> {
  return vec4<f32>(
    from_ordered_bits(atomicLoad(&running_max[0])),
    from_ordered_bits(atomicLoad(&running_max[1])),
    from_ordered_bits(atomicLoad(&running_max[2])),
    from_ordered_bits(atomicLoad(&running_max[3])),
  );
}

// Where the KV head of a token begins in the cache, in pairs of words.
fn first_pair(table: u32, token: u32, kv_head: u32) -> u32 {
  let block = block_tables[table + token / BLOCK_TOKENS];
  return ((block * BLOCK_TOKENS + token % BLOCK_TOKENS) * kv_heads + kv_head) * (head_words / 2u);
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

fn weight_sum(head: u32, parts: u32) -> f32 {
  var total = 0.0;
  for (var p = 0u; p < parts; p += 1u) {
    total += part_sums[p * (head_dim / 4u)][head];
  }
  return total;
}

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let split = workgroup.x;
  let decode_row = workgroup.z;
  let info = decode_info[decode_row];
  let row = info.x;
  let position = info.w;
  let split_start = max(split * split_tokens, first_visible(position));
  let split_end = min((split + 1u) * split_tokens, position + 1u);
  if (split_start >= split_end) {
    return;
  }

  let columns = head_dim / 4u; // vec4s in a head
  let heads_per_kv_head = heads / kv_heads;
  let kv_head = workgroup.y / groups_per_kv_head;
  let first_in_kv_head = (workgroup.y % groups_per_kv_head) * group_heads;
  let first_head = kv_head * heads_per_kv_head + first_in_kv_head;
  // The last group of a KV head may be short. It computes on what follows its heads in the row, and writes none of it.
  let head_count = min(group_heads, heads_per_kv_head - first_in_kv_head);
  let query = (row * (heads + 2u * kv_heads) + first_head) * columns;
  let table = info.z * step.block_table_stride;

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
    let pairs_a = first_pair(table, min(token_a, split_end - 1u), kv_head);
    let pairs_b = first_pair(table, min(token_b, split_end - 1u), kv_head);
    var score_a = vec4<f32>();
    var score_b = vec4<f32>();
    for (var c = 0u; c < columns; c += 1u) {
      let key_a = key_column(pairs_a, c);
      let key_b = key_column(pairs_b, c);
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
    score_a = cap_score(score_a * scale);
    score_b = cap_score(score_b * scale);
    // The last token counted twice does not change a maximum.
    raise_running_max(max(score_a, score_b));
    // The maximum is complete, and the tile before has been summed up, so its weights may go.
    workgroupBarrier();
    let new_highest = load_running_max();
    weights[lane] = exp(score_a - new_highest);
    weights[lane + invocations] = exp(score_b - new_highest);
    token_pairs[lane] = pairs_a;
    token_pairs[lane + invocations] = pairs_b;
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
      let value = value_column(token_pairs[t], column);
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
  let is_whole_row = ends_rows == 1u && first_visible(position) / split_tokens == position / split_tokens;
  let first_partial = (decode_row * max_splits + split) * heads + first_head;
  for (var item = lane; item < head_count * columns; item += invocations) {
    let head = item / columns;
    var total = vec4<f32>();
    for (var p = 0u; p < parts; p += 1u) {
      total += part_outputs[head * invocations + p * columns + item % columns];
    }
    if (is_whole_row) {
      attended[(row * heads + first_head) * columns + item] = total / weight_sum(head, parts);
    } else {
      partials[first_partial * columns + item] = total;
    }
  }
  if (lane < head_count && !is_whole_row) {
    let highest_score = from_ordered_bits(atomicLoad(&running_max[lane]));
    partial_stats[first_partial + lane] = vec2<f32>(highest_score, weight_sum(lane, parts));
  }
}
