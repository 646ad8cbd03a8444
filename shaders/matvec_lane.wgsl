// A linear map on processors that play a GPU: one invocation computes 4 output features of `input_rows` rows, alone. With no partial
// sums there is nothing to wait for, and the caches do what tiles are for. Such an adapter loads word by word and lane by lane, which
// costs ten times a multiplication: so a weight is loaded once for several rows, and an input value, which all lanes need, once for
// several lanes where the file in front (lane_quads, lane_eights) can hand it around.
//
// The file in front says what an invocation holds of an octet of input values (its `Own` of them) and has the entry point.
// Grid: x and y are the groups of 4 · lanes output features (two-dimensional, since a vocabulary can exceed 65,535 groups), z the groups
// of `input_rows` rows.

override input_rows: u32; // rows computed together: 1, 4 or 8
override lanes: u32; // invocations of a workgroup, a multiple of 4

// Of one row: sums over a group of octets (products with 4 weight rows, inputs), and over the whole row (scaled products, squares).
struct RowSums {
  products: vec4<f32>,
  inputs: f32,
  squares: f32,
  total: vec4<f32>,
}

struct WeightOctets {
  w0: Octet,
  w1: Octet,
  w2: Octet,
  w3: Octet,
}

// `octet` of the input, which is `gains` of the norm's weights.
fn add_octet(sums: RowSums, w: WeightOctets, gains: Own, octet: u32, lane: u32) -> RowSums {
  var own = load_input(octet, lane);
  var next = sums;
  if (normed) {
    next.squares += own_sum(product(own, own));
    own = product(own, gains);
  }
  if (QUANTIZED) {
    next.inputs += own_sum(own);
    own = product(own, own_part(Octet(CODE_LO, CODE_HI), lane));
  }
  let shared_octet = share(own);
  next.products = accumulate(sums.products, w.w0, w.w1, w.w2, w.w3, shared_octet.lo, shared_octet.hi);
  return next;
}

// The end of a group: its sums are scaled once, not weight by weight.
fn end_group(sums: RowSums, scales: vec4<f32>, offsets: vec4<f32>) -> RowSums {
  if (!QUANTIZED) {
    return RowSums(vec4<f32>(), 0.0, sums.squares, sums.products);
  }
  let inputs = sum_of_owns(sums.inputs);
  let scaled = scales * (sums.products - zero * inputs) + offsets * inputs;
  return RowSums(vec4<f32>(), 0.0, sums.squares, sums.total + scaled);
}

fn store_row(row: u32, first_feature: u32, sums: RowSums) {
  var values = sums.total;
  if (normed) {
    values *= norm_scale(sum_of_owns(sums.squares));
  }
  if (row < row_count()) {
    store_quad(row, first_feature, values);
  }
}

fn compute(group: vec3<u32>, groups: vec3<u32>, index: u32, lane: u32) {
  let octets = sizes.in_features / 8u;
  let first_row = group.z * input_rows;
  let first_feature = 4u * ((group.y * groups.x + group.x) * lanes + index);
  let rows = quad_rows(first_feature) * octets;
  let x0 = octets * input_row(first_row);
  let x1 = octets * input_row(first_row + 1u);
  let x2 = octets * input_row(first_row + 2u);
  let x3 = octets * input_row(first_row + 3u);
  let x4 = octets * input_row(first_row + 4u);
  let x5 = octets * input_row(first_row + 5u);
  let x6 = octets * input_row(first_row + 6u);
  let x7 = octets * input_row(first_row + 7u);

  // Floats are one group, so that both kinds of weights have one loop.
  let octets_per_group = sizes.octets_per_group;
  let groups_per_row = octets / octets_per_group;
  let group_rows = quad_rows(first_feature) * groups_per_row;

  var s0 = RowSums();
  var s1 = RowSums();
  var s2 = RowSums();
  var s3 = RowSums();
  var s4 = RowSums();
  var s5 = RowSums();
  var s6 = RowSums();
  var s7 = RowSums();
  for (var g = 0u; g < groups_per_row; g += 1u) {
    let first_octet = g * octets_per_group;
    for (var octet = first_octet; octet < first_octet + octets_per_group; octet += 1u) {
      let w = WeightOctets(
        load_codes(rows.x + octet),
        load_codes(rows.y + octet),
        load_codes(rows.z + octet),
        load_codes(rows.w + octet),
      );
      var gains = Own();
      if (normed) {
        gains = load_gain(octet, lane);
      }
      s0 = add_octet(s0, w, gains, x0 + octet, lane);
      if (input_rows > 1u) {
        s1 = add_octet(s1, w, gains, x1 + octet, lane);
        s2 = add_octet(s2, w, gains, x2 + octet, lane);
        s3 = add_octet(s3, w, gains, x3 + octet, lane);
      }
      if (input_rows > 4u) {
        s4 = add_octet(s4, w, gains, x4 + octet, lane);
        s5 = add_octet(s5, w, gains, x5 + octet, lane);
        s6 = add_octet(s6, w, gains, x6 + octet, lane);
        s7 = add_octet(s7, w, gains, x7 + octet, lane);
      }
    }
    var scales = vec4<f32>();
    var offsets = vec4<f32>();
    if (QUANTIZED) {
      let g0 = group_scale(group_rows.x + g);
      let g1 = group_scale(group_rows.y + g);
      let g2 = group_scale(group_rows.z + g);
      let g3 = group_scale(group_rows.w + g);
      scales = vec4<f32>(g0.x, g1.x, g2.x, g3.x);
      offsets = vec4<f32>(g0.y, g1.y, g2.y, g3.y);
    }
    s0 = end_group(s0, scales, offsets);
    if (input_rows > 1u) {
      s1 = end_group(s1, scales, offsets);
      s2 = end_group(s2, scales, offsets);
      s3 = end_group(s3, scales, offsets);
    }
    if (input_rows > 4u) {
      s4 = end_group(s4, scales, offsets);
      s5 = end_group(s5, scales, offsets);
      s6 = end_group(s6, scales, offsets);
      s7 = end_group(s7, scales, offsets);
    }
  }

  store_row(first_row, first_feature, s0);
  if (input_rows > 1u) {
    store_row(first_row + 1u, first_feature, s1);
    store_row(first_row + 2u, first_feature, s2);
    store_row(first_row + 3u, first_feature, s3);
  }
  if (input_rows > 4u) {
    store_row(first_row + 4u, first_feature, s4);
    store_row(first_row + 5u, first_feature, s5);
    store_row(first_row + 6u, first_feature, s6);
    store_row(first_row + 7u, first_feature, s7);
  }
}
