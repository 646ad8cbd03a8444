// How the lanes of matvec_int8 learn the largest magnitudes of groups, with subgroups: three neighbours have the other octets.

// For a lane's octets of up to 4 rows, the largest magnitudes of the groups that they lie in.
fn largest_of_groups(own: vec4<f32>, sweep: u32, team: u32, lane: u32) -> vec4<f32> {
  if (input_rows == 1u) {
    let pair = max(own.x, subgroupShuffleXor(own.x, 1u));
    return vec4<f32>(max(pair, subgroupShuffleXor(pair, 2u)));
  }
  let pair = max(own, subgroupShuffleXor(own, 1u));
  return max(pair, subgroupShuffleXor(pair, 2u));
}
