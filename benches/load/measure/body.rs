//! What messages say.

/// Different words; the common ones are drawn far more often than the rare ones.
const WORDS: u64 = 20_000;
const SYLLABLES: [&str; 16] =
    ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu", "an"];

/// What the bodies of a measurement are made of. All of its messages have the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bodies {
    /// In bytes; they are all ASCII.
    pub size: usize,
    /// Words as people write them, so that there is something to index; else one long word.
    pub words: bool,
}

impl Bodies {
    /// The body of message `number`: the same each time.
    pub fn body(self, number: u64) -> String {
        if !self.words {
            return "x".repeat(self.size);
        }
        let mut body = String::with_capacity(self.size + 16);
        let mut state = number;
        while body.len() < self.size {
            body.push_str(&word(draw(&mut state)));
            body.push(' ');
        }
        body.truncate(self.size);
        body
    }
}

/// The word with this number: the small numbers are the common words.
pub fn word(mut number: u64) -> String {
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[(number % 16) as usize]);
        number /= 16;
        if number == 0 {
            return word;
        }
    }
}

/// A word's number. The cube of an even chance makes few words common, roughly as in a language.
fn draw(state: &mut u64) -> u64 {
    // SplitMix64 (Steele, Lea and Flood, 2014).
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let even = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
    (even.powi(3) * WORDS as f64) as u64
}
