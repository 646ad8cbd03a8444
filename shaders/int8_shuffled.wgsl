// How a lane of matvec_int8 learns the largest magnitude of the group that its octet lies in, with subgroups: its three neighbours have
// the other octets.
fn largest_of_group(own: f32, first_quad: u32, first_gain: u32) -> f32 {
  let pair = max(own, subgroupShuffleXor(own, 1u));
  return max(pair, subgroupShuffleXor(pair, 2u));
}
