// matvec_lane with the input rounded to int8: for processors that play a GPU, one invocation computes 4 output features of `input_rows`
// rows, alone. The file in front (int8_vectors, int8_quads, int8_eights) says what an invocation loads and rounds of a group of the
// input, and has the entry point: codes are handed around four to a word, a quarter of what matvec_lane hands around.
// Grid: as matvec_lane.

override input_rows: u32; // rows computed together: 1 or 4
override lanes: u32; // invocations of a workgroup, a multiple of 4

// Of one row and 4 output features: products, and the squares of what the invocation loads of the input.
struct RowSums {
  products: vec4<f32>,
  squares: f32,
}

fn begin_counts(x: InputGroup) -> Counts {
  return Counts(vec4<Count>(), x.sum);
}

fn add_octet(counts: Counts, w: WeightCodes, x: InputGroup, gains: Gains, octet: u32, lane: u32) -> Counts {
  let codes = octet_codes(x, gains, octet, lane);
  return Counts(add_octet_dots(counts.dots, w, codes), counts.sum + octet_sum(codes));
}

fn end_group(sums: RowSums, counts: Counts, scales: WeightScales, x: InputGroup) -> RowSums {
  return RowSums(add_scaled(sums.products, counts, scales, x.scale), sums.squares + x.squares);
}

fn store_row(row: u32, first_feature: u32, sums: RowSums) {
  var values = sums.products;
  if (normed) {
    values *= norm_scale(sum_of_owns(sums.squares));
  }
  if (row < row_count()) {
    store_quad(row, first_feature, values);
  }
}

fn compute(workgroup: vec3<u32>, workgroups: vec3<u32>, index: u32, lane: u32) {
  let groups = sizes.in_features / GROUP_VALUES;
  let first_row = workgroup.z * input_rows;
  let first_feature = 4u * ((workgroup.y * workgroups.x + workgroup.x) * lanes + index);
  let rows = quad_rows(first_feature) * (sizes.in_features / 8u);
  let octets = octets_of_group();
  let first0 = groups * input_row(first_row);
  let first1 = groups * input_row(first_row + 1u);
  let first2 = groups * input_row(first_row + 2u);
  let first3 = groups * input_row(first_row + 3u);

  var s0 = RowSums();
  var s1 = RowSums();
  var s2 = RowSums();
  var s3 = RowSums();
  for (var group = 0u; group < groups; group += 1u) {
    var gains = Gains();
    if (normed) {
      gains = load_gains(group, lane);
    }
    var x0 = InputGroup();
    var x1 = InputGroup();
    var x2 = InputGroup();
    var x3 = InputGroup();
    x0 = begin_group(first0 + group, gains, lane);
    if (input_rows > 1u) {
      x1 = begin_group(first1 + group, gains, lane);
      x2 = begin_group(first2 + group, gains, lane);
      x3 = begin_group(first3 + group, gains, lane);
    }
    var c0 = begin_counts(x0);
    var c1 = begin_counts(x1);
    var c2 = begin_counts(x2);
    var c3 = begin_counts(x3);
    let first_octets = rows + group * GROUP_OCTETS;
    for (var octet = 0u; octet < octets; octet += 1u) {
      let w = load_weight_codes(first_octets + octet);
      c0 = add_octet(c0, w, x0, gains, octet, lane);
      if (input_rows > 1u) {
        c1 = add_octet(c1, w, x1, gains, octet, lane);
        c2 = add_octet(c2, w, x2, gains, octet, lane);
        c3 = add_octet(c3, w, x3, gains, octet, lane);
      }
    }
    let scales = load_weight_scales(first_octets);
    s0 = end_group(s0, c0, scales, x0);
    if (input_rows > 1u) {
      s1 = end_group(s1, c1, scales, x1);
      s2 = end_group(s2, c2, scales, x2);
      s3 = end_group(s3, c3, scales, x3);
    }
  }

  store_row(first_row, first_feature, s0);
  if (input_rows > 1u) {
    store_row(first_row + 1u, first_feature, s1);
    store_row(first_row + 2u, first_feature, s2);
    store_row(first_row + 3u, first_feature, s3);
  }
}
