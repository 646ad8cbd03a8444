// How a lane of matvec_int8 learns the largest magnitude of the group that its octet lies in, without subgroups: it looks at all of it.
fn largest_of_group(own: f32, first_quad: u32, first_gain: u32) -> f32 {
  var largest = own;
  for (var quad = 0u; quad < GROUP_QUADS; quad += 1u) {
    var values = input[first_quad + quad];
    if (normed) {
      values *= gain[first_gain + quad];
    }
    largest = max(largest, largest_of(values));
  }
  return largest;
}
