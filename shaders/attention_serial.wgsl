// Paged flash attention for software adapters, of single rows and of prefill chunks: one invocation walks the keys for up to four
// (row, query head) pairs of one KV head, alone. There is no workgroup memory and no barrier, which is what costs these adapters
// most; every key and value that is loaded, the next most, serves four queries. attention.wgsl stands in front.
//
//   qkv            f32 [rows, heads + 2 * kv_heads, head_dim]        only q is read
//   keys, values   [block, BLOCK_TOKENS, kv_heads, head_dim]         formats in attention.wgsl
//   output         parts = 1: f32 [rows, heads, head_dim], attended, only the rows of the tiles are written;
//                  else: f32 [tiles, max_parts, heads, head_dim], sums of weight * value of a part of the keys of a tile of one row
//   stats          parts > 1: f32 [tiles, max_parts, heads, 2]       largest score, sum of weights
//
// Grid: x = ceil(kv_heads * quads * parts / LANES), y = tiles. A tile is up to tile_rows consecutive rows of one sequence; its rows times
// the heads of a KV head are taken four at a time, a quad. Single rows are cut along their keys, so that neighbours have work:
// part p takes the blocks p, p + parts, … and attention_reduce merges the parts.
//
// The walk goes in steps of STEP_TOKENS with an online softmax. Their scores stay in registers, as matrices of four tokens by four
// queries; what is summed up lives in `output`, since a head is too wide for registers.

const STEP_TOKENS = 8u;
const LANES = 8u;

override has_sinks: u32; // 1: every head has a logit that takes part in the softmax and has no value
override tile_rows: u32; // of the largest tile
override parts: u32;
override column_words: u32; // of four elements of a head in the cache

// Sizes of this forward pass.
@group(0) @binding(0) var<uniform> step: Step;
// q normed and rotated, in vec4s.
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keys: array<u32>;
@group(0) @binding(3) var<storage, read> values: array<u32>;
// [sequences, block_table_stride]: cache blocks of each sequence, in order.
@group(0) @binding(4) var<storage, read> block_tables: array<u32>;
// Per tile: first row, rows in the tile, sequence, position of the first row.
@group(0) @binding(5) var<storage, read> tiles: array<vec4<u32>>;
// f32 [heads]; unused without has_sinks.
@group(0) @binding(6) var<storage, read> sinks: array<f32>;
@group(0) @binding(7) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> stats: array<vec2<f32>>;

// A column is four elements of a head; its index is that of its first word.
fn key_column(index: u32) -> vec4<f32> {
  if (cache_format == CACHE_F32) {
    return bitcast<vec4<f32>>(vec4<u32>(keys[index], keys[index + 1u], keys[index + 2u], keys[index + 3u]));
  }
  if (cache_format == CACHE_F16) {
    return vec4<f32>(unpack2x16float(keys[index]), unpack2x16float(keys[index + 1u]));
  }
  return unpack_codes(keys[index]);
}

fn value_column(index: u32) -> vec4<f32> {
  if (cache_format == CACHE_F32) {
    return bitcast<vec4<f32>>(vec4<u32>(values[index], values[index + 1u], values[index + 2u], values[index + 3u]));
  }
  if (cache_format == CACHE_F16) {
    return vec4<f32>(unpack2x16float(values[index]), unpack2x16float(values[index + 1u]));
  }
  return unpack_codes(values[index]);
}

// Four tokens against four queries, from the first words of their columns: column t has the scores of token t.
fn dot_four(tokens: vec4<u32>, queries: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    key_column(tokens.x) * queries,
    key_column(tokens.y) * queries,
    key_column(tokens.z) * queries,
    key_column(tokens.w) * queries,
  );
}

// What four tokens add to four queries' columns, by weights [token][query].
fn weigh_four(tokens: vec4<u32>, weights: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    value_column(tokens.x),
    value_column(tokens.y),
    value_column(tokens.z),
    value_column(tokens.w),
  ) * weights;
}

// A dot product as it goes into the softmax; LOWEST for queries that do not see the token.
fn finish_score(product: vec4<f32>, first_word: u32, token: u32, positions: vec4<u32>) -> vec4<f32> {
  var score = product * scale;
  if (cache_format == CACHE_INT8) {
    score *= bitcast<f32>(keys[first_word + head_dim / 4u]);
  }
  return select(vec4<f32>(LOWEST), cap_score(score), sees(positions, token));
}

fn finish_four(
  products: mat4x4<f32>,
  first_words: vec4<u32>,
  token: u32,
  positions: vec4<u32>,
) -> mat4x4<f32> {
  return mat4x4<f32>(
    finish_score(products[0], first_words.x, token, positions),
    finish_score(products[1], first_words.y, token + 1u, positions),
    finish_score(products[2], first_words.z, token + 2u, positions),
    finish_score(products[3], first_words.w, token + 3u, positions),
  );
}

fn largest_of_four(scores: mat4x4<f32>) -> vec4<f32> {
  return max(max(scores[0], scores[1]), max(scores[2], scores[3]));
}

// Until a query sees a token these are the weights of none; the first score above LOWEST takes them back out of all sums.
fn weights_of_four(scores: mat4x4<f32>, highest: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    exp(scores[0] - highest),
    exp(scores[1] - highest),
    exp(scores[2] - highest),
    exp(scores[3] - highest),
  );
}

fn sum_of_four(weights: mat4x4<f32>) -> vec4<f32> {
  return (weights[0] + weights[1]) + (weights[2] + weights[3]);
}

// As weigh_four wants them: by query first, and of int8 values in units of their scales.
fn value_weights(weights: mat4x4<f32>, first_words: vec4<u32>) -> mat4x4<f32> {
  if (cache_format != CACHE_INT8) {
    return transpose(weights);
  }
  return transpose(mat4x4<f32>(
    weights[0] * bitcast<f32>(values[first_words.x + head_dim / 4u]),
    weights[1] * bitcast<f32>(values[first_words.y + head_dim / 4u]),
    weights[2] * bitcast<f32>(values[first_words.z + head_dim / 4u]),
    weights[3] * bitcast<f32>(values[first_words.w + head_dim / 4u]),
  ));
}

fn add_to(index: u32, correction: f32, added: vec4<f32>) {
  output[index] = output[index] * correction + added;
}

// What sums of weighted values are multiplied by in the end.
fn output_factor(sum: vec4<f32>, highest: vec4<f32>, slot_heads: vec4<u32>) -> vec4<f32> {
  if (has_sinks == 0u) {
    return 1.0 / sum;
  }
  let logits = vec4<f32>(sinks[slot_heads.x], sinks[slot_heads.y], sinks[slot_heads.z], sinks[slot_heads.w]);
  return sink_factor(sum, highest, logits);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = heads / kv_heads;
  let unit = workgroup.x * LANES + lane;
  let part = unit % parts;
  let quads = (tile_rows * group + 3u) / 4u;
  let quad = (unit / parts) % quads;
  let kv_head = unit / parts / quads;
  let tile = tiles[workgroup.y];
  let pairs = tile.y * group;
  let slots = min(4u, tile_rows * group); // of a quad that are ever used
  let columns = head_dim / 4u;
  // Pairs past the last repeat it; they are not written.
  let slot_pairs = min(vec4<u32>(0u, 1u, 2u, 3u) + 4u * quad, vec4<u32>(pairs - 1u));
  let slot_rows = slot_pairs / group;
  let slot_heads = slot_pairs % group + kv_head * group;
  let positions = slot_rows + tile.w;
  let queries = ((slot_rows + tile.x) * (heads + 2u * kv_heads) + slot_heads) * columns;
  var targets = ((slot_rows + tile.x) * heads + slot_heads) * columns;
  if (parts > 1u) {
    targets = ((workgroup.y * parts + part) * heads + slot_heads) * columns;
  }

  let key_end = positions.w + 1u;
  let first_block = first_visible(positions.x) / BLOCK_TOKENS;
  let block_end = (key_end + BLOCK_TOKENS - 1u) / BLOCK_TOKENS;
  let table = tile.z * step.block_table_stride;
  let token_stride = kv_heads * head_words;
  if (kv_head >= kv_heads || 4u * quad >= pairs || first_block + part >= block_end) {
    return;
  }

  // Of the quad's four, those that exist. No constant, so that drivers leave short loops over it as they are: unrolled, they would
  // be most of the kernel and of the time it takes to compile.
  let slot_count = min(4u, pairs - 4u * quad);
  for (var item = 0u; item < slot_count * columns; item += 1u) {
    output[targets[item / columns] + item % columns] = vec4<f32>();
  }

  var highest = vec4<f32>(LOWEST);
  var sum = vec4<f32>();
  for (var index = first_block + part; index < block_end; index += parts) {
    let block = (block_tables[table + index] * BLOCK_TOKENS * kv_heads + kv_head) * head_words;
    let steps_end = min((index + 1u) * BLOCK_TOKENS, key_end);
    for (var start = index * BLOCK_TOKENS; start < steps_end; start += STEP_TOKENS) {
      // Tokens past the last repeat it; no query sees them.
      let last = vec4<u32>((key_end - 1u) % BLOCK_TOKENS + select(0u, BLOCK_TOKENS, index + 1u < block_end));
      let in_block = vec4<u32>(0u, 1u, 2u, 3u) + start % BLOCK_TOKENS;
      let tokens0 = block + min(in_block, last) * token_stride;
      let tokens1 = block + min(in_block + 4u, last) * token_stride;

      var scores0 = mat4x4<f32>();
      var scores1 = mat4x4<f32>();
      for (var c = 0u; c < columns; c += 1u) {
        var query = mat4x4<f32>();
        query[0] = qkv[queries.x + c];
        if (slots > 1u) {
          query[1] = qkv[queries.y + c];
        }
        if (slots > 2u) {
          query[2] = qkv[queries.z + c];
        }
        if (slots > 3u) {
          query[3] = qkv[queries.w + c];
        }
        scores0 += dot_four(tokens0 + c * column_words, query);
        scores1 += dot_four(tokens1 + c * column_words, query);
      }
      scores0 = finish_four(scores0, tokens0, start, positions);
      scores1 = finish_four(scores1, tokens1, start + 4u, positions);

      let new_highest = max(highest, max(largest_of_four(scores0), largest_of_four(scores1)));
      let correction = exp(highest - new_highest);
      highest = new_highest;
      scores0 = weights_of_four(scores0, highest);
      scores1 = weights_of_four(scores1, highest);
      sum = sum * correction + (sum_of_four(scores0) + sum_of_four(scores1));

      let weights0 = value_weights(scores0, tokens0);
      let weights1 = value_weights(scores1, tokens1);
      for (var c = 0u; c < columns; c += 1u) {
        let added = weigh_four(tokens0 + c * column_words, weights0) + weigh_four(tokens1 + c * column_words, weights1);
        add_to(targets.x + c, correction.x, added[0]);
        if (slot_count > 1u) {
          add_to(targets.y + c, correction.y, added[1]);
        }
        if (slot_count > 2u) {
          add_to(targets.z + c, correction.z, added[2]);
        }
        if (slot_count > 3u) {
          add_to(targets.w + c, correction.w, added[3]);
        }
      }
    }
  }

  if (parts > 1u) {
    // attention_reduce divides.
    for (var slot = 0u; slot < slot_count; slot += 1u) {
      stats[targets[slot] / columns] = vec2<f32>(highest[slot], sum[slot]);
    }
    return;
  }
  let factor = output_factor(sum, highest, slot_heads);
  for (var item = 0u; item < slot_count * columns; item += 1u) {
    output[targets[item / columns] + item % columns] *= factor[item / columns];
  }
}
