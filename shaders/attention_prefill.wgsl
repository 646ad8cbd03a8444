// Paged flash attention of prefill chunks: TILE_ROWS consecutive queries of one sequence against its cached keys, causal (the query
// at position p sees the keys at 0 to p, or the latest of them), with an online softmax. attention.wgsl and attention_cache.wgsl stand in
// front.
//
//   qkv            f32 [rows, heads + 2 * kv_heads, head_dim]     only q is read
//   keys, values   [block, BLOCK_TOKENS, kv_heads, head]          formats in attention.wgsl
//   attended       f32 [rows, heads, head_dim]                    only the rows of the tiles are written
//
// Grid: x = heads, y = query tiles of the step. The keys are walked in tiles of tile_tokens, at most one cache block, up to the
// last query of the tile. Where the tiles begin does not depend on the queries, and a tile that a row does not see leaves its bits
// alone: a row's arithmetic does not depend on how its prompt was cut.
//
// Queries go in fours, the components of a vec4. For the scores an invocation owns two tokens, which share every load of q, and four
// queries; keys are staged in workgroup memory, since neighbours own different tokens, with a column of padding so that they hit
// different banks. For the output it owns four elements of the head and four queries; neighbours read neighbouring values, which
// need no staging. The running maximum crosses invocations as an atomic on order-preserving bits, exact in any order, so scores stay
// in registers. Three barriers per tile.

const TILE_ROWS = 16u;
const QUADS = TILE_ROWS / 4u;
override has_sinks: u32; // 1: every head has a logit that takes part in the softmax and has no value
override tile_tokens: u32; // divides BLOCK_TOKENS
override invocations: u32; // at least head_dim and QUADS * tile_tokens / 2

// Sizes of this forward pass.
@group(0) @binding(0) var<uniform> step: Step;
// q normed and rotated, in vec4s.
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
// The layer's cache, in pairs of words.
@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>;
// [sequences, block_table_stride]: cache blocks of each sequence, in order.
@group(0) @binding(4) var<storage, read> block_tables: array<u32>;
// Per query tile: first row, rows in the tile, sequence, position of the first row.
@group(0) @binding(5) var<storage, read> prefill_info: array<vec4<u32>>;
// f32 [heads]; unused without has_sinks.
@group(0) @binding(6) var<storage, read> sinks: array<f32>;
@group(0) @binding(7) var<storage, read_write> attended: array<vec4<f32>>;

// [tile_tokens, head_dim / 4 + 1]
var<workgroup> key_tile: array<vec4<f32>, tile_tokens * (head_dim / 4u + 1u)>;
// Softmax weights [tile_tokens, QUADS], a query per component.
var<workgroup> weights: array<vec4<f32>, tile_tokens * QUADS>;
// Largest score so far of each query, as order-preserving bits.
var<workgroup> running_max: array<atomic<u32>, TILE_ROWS>;

fn raise_running_max(quad: u32, score: vec4<f32>) {
  atomicMax(&running_max[4u * quad], ordered_bits(score.x));
  atomicMax(&running_max[4u * quad + 1u], ordered_bits(score.y));
  atomicMax(&running_max[4u * quad + 2u], ordered_bits(score.z));
  atomicMax(&running_max[4u * quad + 3u], ordered_bits(score.w));
}

fn load_running_max(quad: u32) -> vec4<f32> {
  return vec4<f32>(
    from_ordered_bits(atomicLoad(&running_max[4u * quad])),
    from_ordered_bits(atomicLoad(&running_max[4u * quad + 1u])),
    from_ordered_bits(atomicLoad(&running_max[4u * quad + 2u])),
    from_ordered_bits(atomicLoad(&running_max[4u * quad + 3u])),
  );
}

// What sums of weighted values are multiplied by in the end.
fn output_factor(sum: vec4<f32>, highest: vec4<f32>, head: u32) -> vec4<f32> {
  if (has_sinks == 0u) {
    return 1.0 / sum;
  }
  return sink_factor(sum, highest, vec4<f32>(sinks[head]));
}

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = workgroup.x;
  let tile = prefill_info[workgroup.y];
  let first_row = tile.x;
  let row_count = tile.y;
  let first_position = tile.w;
  let table = tile.z * step.block_table_stride;
  let key_end = first_position + row_count;

  let columns = head_dim / 4u; // vec4s in a head
  let kv_head = head / (heads / kv_heads);
  let token_stride = kv_heads * (head_words / 2u);

  // As owner of two tokens and four queries. Queries past the tile's last repeat it; they are not written.
  let token_a = lane % (tile_tokens / 2u);
  let token_b = token_a + tile_tokens / 2u;
  let score_quad = lane / (tile_tokens / 2u);
  let row_columns = (heads + 2u * kv_heads) * columns;
  let quad_rows = first_row + min(vec4<u32>(0u, 1u, 2u, 3u) + 4u * score_quad, vec4<u32>(row_count - 1u));
  let queries = quad_rows * row_columns + head * columns;
  let query_positions = vec4<u32>(0u, 1u, 2u, 3u) + (first_position + 4u * score_quad);

  // As owner of a column and four queries.
  let column = lane % columns;
  let quad = lane / columns;
  var highest = vec4<f32>(LOWEST);
  var sum = vec4<f32>();
  var output0 = vec4<f32>();
  var output1 = vec4<f32>();
  var output2 = vec4<f32>();
  var output3 = vec4<f32>();

  if (lane < TILE_ROWS) {
    atomicStore(&running_max[lane], ordered_bits(LOWEST));
  }
  let first_tile = first_visible(first_position) / tile_tokens;
  for (var tile_start = first_tile * tile_tokens; tile_start < key_end; tile_start += tile_tokens) {
    let tile_count = min(tile_tokens, key_end - tile_start);
    let block = block_tables[table + tile_start / BLOCK_TOKENS];
    let first_pair = ((block * BLOCK_TOKENS + tile_start % BLOCK_TOKENS) * kv_heads + kv_head) * (head_words / 2u);
    for (var item = lane; item < tile_count * columns; item += invocations) {
      let token = item / columns;
      let c = item % columns;
      key_tile[token * (columns + 1u) + c] = key_column(first_pair + token * token_stride, c);
    }
    workgroupBarrier();

    var score_a = vec4<f32>();
    var score_b = vec4<f32>();
    let visible_a = vec4<bool>(token_a < tile_count) & sees(query_positions, tile_start + token_a);
    let visible_b = vec4<bool>(token_b < tile_count) & sees(query_positions, tile_start + token_b);
    if (score_quad < QUADS && token_a < tile_count) {
      let key_a = token_a * (columns + 1u);
      let key_b = token_b * (columns + 1u);
      for (var c = 0u; c < columns; c += 1u) {
        let a = key_tile[key_a + c];
        let b = key_tile[key_b + c];
        let query0 = qkv[queries.x + c];
        score_a.x += dot(a, query0);
        score_b.x += dot(b, query0);
        let query1 = qkv[queries.y + c];
        score_a.y += dot(a, query1);
        score_b.y += dot(b, query1);
        let query2 = qkv[queries.z + c];
        score_a.z += dot(a, query2);
        score_b.z += dot(b, query2);
        let query3 = qkv[queries.w + c];
        score_a.w += dot(a, query3);
        score_b.w += dot(b, query3);
      }
      score_a = select(vec4<f32>(LOWEST), cap_score(score_a * scale), visible_a);
      score_b = select(vec4<f32>(LOWEST), cap_score(score_b * scale), visible_b);
      raise_running_max(score_quad, max(score_a, score_b));
    }
    workgroupBarrier();
    if (score_quad < QUADS) {
      let new_highest = load_running_max(score_quad);
      weights[token_a * QUADS + score_quad] = select(vec4<f32>(), exp(score_a - new_highest), visible_a);
      weights[token_b * QUADS + score_quad] = select(vec4<f32>(), exp(score_b - new_highest), visible_b);
    }
    workgroupBarrier();

    if (quad < QUADS) {
      let new_highest = load_running_max(quad);
      let correction = exp(highest - new_highest);
      highest = new_highest;
      sum *= correction;
      output0 *= correction.x;
      output1 *= correction.y;
      output2 *= correction.z;
      output3 *= correction.w;
      for (var token = 0u; token < tile_count; token += 1u) {
        let weight = weights[token * QUADS + quad];
        let value = value_column(first_pair + token * token_stride, column);
        sum += weight;
        output0 += weight.x * value;
        output1 += weight.y * value;
        output2 += weight.z * value;
        output3 += weight.w * value;
      }
    }
  }

  let factor = output_factor(sum, highest, head);
  let row = 4u * quad;
  let target_column = (first_row + row) * heads * columns + head * columns + column;
  if (row < row_count && quad < QUADS) {
    attended[target_column] = output0 * factor.x;
  }
  if (row + 1u < row_count && quad < QUADS) {
    attended[target_column + heads * columns] = output1 * factor.y;
  }
  if (row + 2u < row_count && quad < QUADS) {
    attended[target_column + 2u * heads * columns] = output2 * factor.z;
  }
  if (row + 3u < row_count && quad < QUADS) {
    attended[target_column + 3u * heads * columns] = output3 * factor.w;
  }
}
