// Paged flash attention of prefill chunks: TILE_ROWS consecutive queries of one sequence against its cached keys, causal (the query
// at position p sees the keys at 0 to p, or the latest of them), with an online softmax. attention.wgsl and attention_cache.wgsl stand in
// front.
//
//   qkv            f32 [rows, heads + 2 * kv_heads, head_dim]     only q is read
//   keys, values   [block, BLOCK_TOKENS, kv_heads, head]          formats in attention.wgsl
//   attended       f32 [rows, heads, head_dim]                    only the rows of the tiles are written
//
// Grid: x = kv_heads * groups_per_kv_head, y = query tiles of the step. The keys are walked in tiles of tile_tokens, at most one cache
// block, up to the last query of the tile. Where the tiles begin does not depend on the queries, and a tile that a row does not see
// leaves its bits alone: a row's arithmetic does not depend on how its prompt was cut.
//
// A workgroup serves up to four query heads of one KV head: every key and value is read once for all of them. The queries of a head
// go in fours, the components of a vec4: a quad. For the scores an invocation owns two tokens, which share every load of q, and a
// quad; keys are staged in workgroup memory, since neighbours own different tokens, with a column of padding so that they hit
// different banks. For the output it owns four elements of the head and the quads of the same rows of lane_heads heads, which share
// every load of a value; neighbours read neighbouring values, which need no staging. The running maximum crosses invocations as an
// atomic on order-preserving bits, exact in any order, so scores stay in registers. Three barriers per tile.

const TILE_ROWS = 16u;
const ROW_QUADS = TILE_ROWS / 4u;
override has_sinks: u32; // 1: every head has a logit that takes part in the softmax and has no value
override group_heads: u32; // query heads per workgroup, 1 to 4
override groups_per_kv_head: u32;
override lane_heads: u32; // of them, whose output one invocation sums up
override tile_tokens: u32; // divides BLOCK_TOKENS
override invocations: u32; // at least group_heads / lane_heads * head_dim and group_heads * ROW_QUADS * tile_tokens / 2

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
// Softmax weights [tile_tokens, group_heads, ROW_QUADS], a query per component.
var<workgroup> weights: array<vec4<f32>, tile_tokens * group_heads * ROW_QUADS>;
// Largest score so far of each query [group_heads, TILE_ROWS], as order-preserving bits.
var<workgroup> running_max: array<atomic<u32>, group_heads * TILE_ROWS>;

// The softmax of a quad so far: an output column per query.
struct Softmax {
  highest: vec4<f32>,
  sum: vec4<f32>,
  output: mat4x4<f32>,
}

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

fn empty_softmax() -> Softmax {
  return Softmax(vec4<f32>(LOWEST), vec4<f32>(), mat4x4<f32>());
}

fn scale_columns(output: mat4x4<f32>, factor: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(output[0] * factor.x, output[1] * factor.y, output[2] * factor.z, output[3] * factor.w);
}

fn raise(softmax: ptr<function, Softmax>, highest: vec4<f32>) {
  let correction = exp((*softmax).highest - highest);
  (*softmax).highest = highest;
  (*softmax).sum *= correction;
  (*softmax).output = scale_columns((*softmax).output, correction);
}

fn add_value(softmax: ptr<function, Softmax>, weight: vec4<f32>, value: vec4<f32>) {
  (*softmax).sum += weight;
  (*softmax).output += mat4x4<f32>(weight.x * value, weight.y * value, weight.z * value, weight.w * value);
}

// What sums of weighted values are multiplied by in the end.
fn output_factor(sum: vec4<f32>, highest: vec4<f32>, head: u32) -> vec4<f32> {
  if (has_sinks == 0u) {
    return 1.0 / sum;
  }
  return sink_factor(sum, highest, vec4<f32>(sinks[head]));
}

// @param rows of the quad that exist. @param column of the first row's head, in vec4s.
fn write_quad(softmax: Softmax, head: u32, rows: u32, column: u32) {
  let output = scale_columns(softmax.output, output_factor(softmax.sum, softmax.highest, head));
  let stride = heads * (head_dim / 4u);
  attended[column] = output[0];
  if (rows > 1u) {
    attended[column + stride] = output[1];
  }
  if (rows > 2u) {
    attended[column + 2u * stride] = output[2];
  }
  if (rows > 3u) {
    attended[column + 3u * stride] = output[3];
  }
}

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = prefill_info[workgroup.y];
  let first_row = tile.x;
  let row_count = tile.y;
  let first_position = tile.w;
  let table = tile.z * step.block_table_stride;
  let key_end = first_position + row_count;

  let columns = head_dim / 4u; // vec4s in a head
  let heads_per_kv_head = heads / kv_heads;
  let kv_head = workgroup.x / groups_per_kv_head;
  let first_in_kv_head = (workgroup.x % groups_per_kv_head) * group_heads;
  let first_head = kv_head * heads_per_kv_head + first_in_kv_head;
  // The last group of a KV head may be short. It computes on its last head again, and writes that once.
  let head_count = min(group_heads, heads_per_kv_head - first_in_kv_head);
  let token_stride = kv_heads * (head_words / 2u);

  // As owner of two tokens and a quad. Queries past the tile's last repeat it; they are not written.
  let token_a = lane % (tile_tokens / 2u);
  let token_b = token_a + tile_tokens / 2u;
  let score_quad = lane / (tile_tokens / 2u);
  let first_of_quad = 4u * (score_quad % ROW_QUADS);
  let score_head = first_head + min(score_quad / ROW_QUADS, head_count - 1u);
  let row_columns = (heads + 2u * kv_heads) * columns;
  let quad_rows = first_row + min(vec4<u32>(0u, 1u, 2u, 3u) + first_of_quad, vec4<u32>(row_count - 1u));
  let queries = quad_rows * row_columns + score_head * columns;
  let query_positions = vec4<u32>(0u, 1u, 2u, 3u) + (first_position + first_of_quad);
  let quads = group_heads * ROW_QUADS;

  // As owner of a column and the same rows of some heads. A head past the group's last repeats it; it is not written.
  let column = lane % columns;
  let row_quad = (lane / columns) % ROW_QUADS;
  let lane_head = (lane / columns) / ROW_QUADS * lane_heads;
  let output_quads = min(vec4<u32>(0u, 1u, 2u, 3u) + lane_head, vec4<u32>(group_heads - 1u)) * ROW_QUADS + row_quad;
  var softmax0 = empty_softmax();
  var softmax1 = empty_softmax();
  var softmax2 = empty_softmax();
  var softmax3 = empty_softmax();

  for (var query = lane; query < group_heads * TILE_ROWS; query += invocations) {
    atomicStore(&running_max[query], ordered_bits(LOWEST));
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
    if (score_quad < quads && token_a < tile_count) {
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
    if (score_quad < quads) {
      let new_highest = load_running_max(score_quad);
      weights[token_a * quads + score_quad] = select(vec4<f32>(), exp(score_a - new_highest), visible_a);
      weights[token_b * quads + score_quad] = select(vec4<f32>(), exp(score_b - new_highest), visible_b);
    }
    workgroupBarrier();

    if (lane_head < group_heads) {
      raise(&softmax0, load_running_max(output_quads.x));
      if (lane_heads > 1u) {
        raise(&softmax1, load_running_max(output_quads.y));
      }
      if (lane_heads > 2u) {
        raise(&softmax2, load_running_max(output_quads.z));
      }
      if (lane_heads > 3u) {
        raise(&softmax3, load_running_max(output_quads.w));
      }
      for (var token = 0u; token < tile_count; token += 1u) {
        let value = value_column(first_pair + token * token_stride, column);
        let first_weight = token * quads;
        add_value(&softmax0, weights[first_weight + output_quads.x], value);
        if (lane_heads > 1u) {
          add_value(&softmax1, weights[first_weight + output_quads.y], value);
        }
        if (lane_heads > 2u) {
          add_value(&softmax2, weights[first_weight + output_quads.z], value);
        }
        if (lane_heads > 3u) {
          add_value(&softmax3, weights[first_weight + output_quads.w], value);
        }
      }
    }
  }

  if (4u * row_quad >= row_count || lane_head >= head_count) {
    return;
  }
  let rows = row_count - 4u * row_quad;
  let written_heads = min(lane_heads, head_count - lane_head);
  let head = first_head + lane_head;
  let target_column = ((first_row + 4u * row_quad) * heads + head) * columns + column;
  write_quad(softmax0, head, rows, target_column);
  if (lane_heads > 1u && written_heads > 1u) {
    write_quad(softmax1, head + 1u, rows, target_column + columns);
  }
  if (lane_heads > 2u && written_heads > 2u) {
    write_quad(softmax2, head + 2u, rows, target_column + 2u * columns);
  }
  if (lane_heads > 3u && written_heads > 3u) {
    write_quad(softmax3, head + 3u, rows, target_column + 3u * columns);
  }
}
