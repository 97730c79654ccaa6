//! The trace of a run: a hash that is the same for two runs of one seed, and lines for a reader on request.

use crate::queue::{MS, Micros};

/// The record of one run.
pub struct Trace {
    hash: u64,
    printed: bool,
}

impl Trace {
    /// An empty record; `printed` shows each step on standard error.
    pub fn new(printed: bool) -> Trace {
        Trace { hash: 0x51_7c_c1_b7_27_22_0a_95, printed }
    }

    /// Adds a step: its time, what it is, where, and every byte that took part.
    pub fn step(&mut self, at: Micros, what: &str, place: u64, bytes: &[u8]) {
        self.mix(at);
        self.mix_bytes(what.as_bytes());
        self.mix(place);
        self.mix_bytes(bytes);
    }

    /// Shows a line to a reader; `text` is only made if there is one.
    pub fn say(&self, at: Micros, text: impl FnOnce() -> String) {
        if self.printed {
            eprintln!("{:>9.3} ms  {}", at as f64 / MS as f64, text());
        }
    }

    /// Whether a reader follows.
    pub fn is_printed(&self) -> bool {
        self.printed
    }

    /// The hash of all steps so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The multiply-and-rotate of the Firefox hash: fast, and safe from attacks in a test.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x51_7c_c1_b7_27_22_0a_95);
    }

    fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }
}

#[test]
fn every_byte_counts() {
    let hash = |bytes: &[u8]| {
        let mut trace = Trace::new(false);
        trace.step(1, "x", 2, bytes);
        trace.hash()
    };
    assert_eq!(hash(b"a line of bytes"), hash(b"a line of bytes"));
    assert_ne!(hash(b"a line of bytes"), hash(b"a line of bytez"));
    assert_ne!(hash(b"a"), hash(b"a\0"));
}
