//! The only source of randomness in the simulation: everything follows from one seed.

/// A small, fast generator (xoshiro256++ by Blackman and Vigna), seeded through splitmix64.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Random {
        let mut mixed = seed;
        let state = std::array::from_fn(|_| {
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = mixed;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        Random { state }
    }

    /// A stream of its own, so that one more draw in one place does not shift the draws of another.
    pub fn fork(&mut self) -> Random {
        Random::new(self.word())
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of a product is unbiased enough for ranges far below 2^64.
        ((u128::from(self.word()) * u128::from(end)) >> 64) as u64
    }

    /// An index into something of `len` elements.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Like `between`, but each order of magnitude is as likely as another.
    pub fn between_magnitudes(&mut self, low: u64, high: u64) -> u64 {
        let (low_ln, high_ln) = ((low.max(1) as f64).ln(), (high.max(1) as f64).ln());
        ((low_ln + (high_ln - low_ln) * self.unit()).exp() as u64).clamp(low, high)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// A waiting time with this mean, as between independent events; at most ten times the mean.
    pub fn wait(&mut self, mean: u64) -> u64 {
        ((-(1.0 - self.unit()).ln() * mean as f64) as u64).min(mean * 10)
    }

    fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[test]
fn a_seed_is_a_stream_and_forks_differ() {
    let draw = |mut random: Random| [random.word(), random.word(), random.below(10)];
    assert_eq!(draw(Random::new(7)), draw(Random::new(7)));
    assert_ne!(draw(Random::new(7)), draw(Random::new(8)));
    let mut parent = Random::new(7);
    assert_ne!(draw(parent.fork()), draw(parent.fork()));
    assert!((0..1000).all(|_| (3..=5).contains(&parent.between(3, 5))));
}
