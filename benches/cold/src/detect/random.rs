//! Random numbers that are a function of their keys, so that a life can be looked at in any order.

use fastrand::Rng;

/// The largest mean of one draw: `exp` of the negative mean must not vanish.
const CHUNK: f64 = 32.0;

/// Mixes a key into a seed (the steps of `SplitMix64`).
pub fn key(seed: u64, key: u64) -> u64 {
    let mut mixed =
        seed.wrapping_add(key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Makes the generator of a key.
pub fn keyed(seed: u64, of: u64) -> Rng {
    Rng::with_seed(key(seed, of))
}

/// Draws from a Poisson distribution, by inversion. The sum of two draws is a draw with the sum of the means.
pub fn poisson(rng: &mut Rng, mean: f64) -> u32 {
    let (mut left, mut drawn) = (mean, 0);
    while left > 0.0 {
        let part = left.min(CHUNK);
        left -= part;
        let (wanted, mut probability, mut nth) = (rng.f64(), (-part).exp(), 0_u32);
        let mut sum = probability;
        while wanted > sum && probability > 0.0 {
            nth += 1;
            probability *= part / f64::from(nth);
            sum += probability;
        }
        drawn += nth;
    }
    drawn
}

/// Draws the times of a Poisson process with so many events a second.
pub fn process(rng: &mut Rng, rate: f64, (begin, end): (f64, f64)) -> Vec<f64> {
    let events = poisson(rng, rate * (end - begin));
    let mut times: Vec<f64> = (0..events).map(|_| begin + rng.f64() * (end - begin)).collect();
    times.sort_by(f64::total_cmp);
    times
}
