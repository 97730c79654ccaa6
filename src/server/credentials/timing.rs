//! Whether an unknown name can be told from a wrong password by the time that the check takes. It is not part
//! of every test run, because it takes minutes and needs a quiet machine:
//!
//! `cargo test --lib -- --ignored --nocapture known_and_unknown_names`

use std::time::Instant;

use crate::protocol::credential::{Done, Job, Password, Verifier};

use super::hasher::{Costs, Hasher, system_chance};

/// Tries of each kind.
const TRIES: usize = 2_000;

fn hasher(costs: Costs) -> Hasher {
    Hasher::new(costs, None, system_chance())
}

fn make(costs: Costs) -> Box<Verifier> {
    match hasher(costs).work(Job::Make { password: Password::new("correct horse").unwrap() }) {
        Ok(Done::Made { verifier }) => verifier,
        other => panic!("{other:?}"),
    }
}

/// How long a wrong password takes, in microseconds.
fn time(hasher: &mut Hasher, verifier: Option<&Verifier>) -> f64 {
    let job = Job::Check {
        password: Password::new("wrong horse").unwrap(),
        verifier: verifier.cloned().map(Box::new),
    };
    let begun = Instant::now();
    let done = hasher.work(job);
    let us = begun.elapsed().as_nanos() as f64 / 1_000.0;
    assert!(matches!(done, Ok(Done::Checked { ok: false, .. })));
    us
}

struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Sample { sorted: values }
    }

    fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.sorted.len() as f64
    }

    fn variance(&self) -> f64 {
        let mean = self.mean();
        self.sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (self.sorted.len() - 1) as f64
    }

    fn quantile(&self, share: f64) -> f64 {
        self.sorted[((self.sorted.len() - 1) as f64 * share) as usize]
    }
}

/// Welch's t.
fn welch(a: &Sample, b: &Sample) -> f64 {
    let error = (a.variance() / a.sorted.len() as f64 + b.variance() / b.sorted.len() as f64).sqrt();
    (a.mean() - b.mean()) / error
}

/// Mann-Whitney's U as a z score, and the probability that a value of `a` is above one of `b`.
fn mann_whitney(a: &Sample, b: &Sample) -> (f64, f64) {
    let (count_a, count_b) = (a.sorted.len() as f64, b.sorted.len() as f64);
    let below = |value: f64| b.sorted.partition_point(|other| *other < value) as f64;
    let up_to = |value: f64| b.sorted.partition_point(|other| *other <= value) as f64;
    let u: f64 = a.sorted.iter().map(|value| (below(*value) + up_to(*value)) / 2.0).sum();
    let deviation = (count_a * count_b * (count_a + count_b + 1.0) / 12.0).sqrt();
    ((u - count_a * count_b / 2.0) / deviation, u / (count_a * count_b))
}

#[test]
#[ignore = "a measurement of minutes"]
fn known_and_unknown_names() {
    let now = Costs::default();
    let kinds: [(&str, Option<Box<Verifier>>); 4] = [
        ("unknown", None),
        ("unknown again", None),
        ("known", Some(make(now))),
        // As it was stored before the costs rose.
        ("known, half as dear", Some(make(Costs { memory_kib: now.memory_kib / 2, ..now }))),
    ];
    let mut hasher = hasher(now);
    let mut taken: [Vec<f64>; 4] = Default::default();
    for _ in 0..50 {
        time(&mut hasher, None);
    }
    for round in 0..TRIES {
        // Each round in another order, so that what comes first or after what is the same for all.
        let mut order = [0, 1, 2, 3];
        for last in (1..order.len()).rev() {
            let other = getrandom::u32().unwrap() as usize % (last + 1);
            order.swap(last, other);
        }
        for kind in order {
            taken[kind].push(time(&mut hasher, kinds[kind].1.as_deref()));
        }
        if round % 500 == 499 {
            println!("{} rounds", round + 1);
        }
    }
    let samples = taken.map(Sample::new);
    println!("a wrong password, {TRIES} tries of each kind, microseconds:");
    for (sample, (name, _)) in samples.iter().zip(&kinds) {
        println!(
            "{name:20} mean {:9.1}  sd {:8.1}  p5 {:9.1}  median {:9.1}  p95 {:9.1}",
            sample.mean(),
            sample.variance().sqrt(),
            sample.quantile(0.05),
            sample.quantile(0.5),
            sample.quantile(0.95),
        );
    }
    println!("against unknown:");
    let mut least_likely = 0.0_f64;
    for (place, (sample, (name, _))) in samples.iter().zip(&kinds).enumerate().skip(1) {
        let (z, above) = mann_whitney(sample, &samples[0]);
        let t = welch(sample, &samples[0]);
        println!("{name:20} Welch t {t:6.2}  Mann-Whitney z {z:6.2}  P(above) {above:.4}");
        if place < 3 {
            least_likely = least_likely.max(z.abs());
        }
    }
    // By chance alone less than once in ten thousand runs.
    assert!(least_likely < 4.0, "the two can be told apart");
}

#[test]
fn the_statistics_are_right() {
    let sample = |values: &[f64]| Sample::new(values.to_vec());
    let (a, b) = (sample(&[1.0, 2.0, 3.0, 4.0]), sample(&[3.0, 4.0, 5.0, 6.0]));
    assert_eq!((a.mean(), b.mean()), (2.5, 4.5));
    assert!((a.variance() - 5.0 / 3.0).abs() < 1e-9);
    assert!((welch(&a, &b) + 2.190_890_2).abs() < 1e-6);
    // U = 2: the pairs that tie count half.
    let (z, above) = mann_whitney(&a, &b);
    assert!((above - 2.0 / 16.0).abs() < 1e-9 && (z + 1.732_050_8).abs() < 1e-6, "{z} {above}");
}
