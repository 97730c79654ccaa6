//! Does the jobs: hashes and checks passwords. It has no thread and no clock, and is given its random
//! numbers, so the simulation runs the same code.
//!
//! **A wrong password and an unknown name take the same time.** Both fill argon2's memory with the same
//! number of blocks and compare 32 bytes in constant time. For an unknown name the verifier is a dummy of the
//! current parameters. One that was stored under cheaper parameters is padded with the blocks that it lacks.
//! Once a dearer one has been seen (the configuration was lowered since, or another server's is higher),
//! everything is padded up to that. Two differences remain. The first check of a dearer verifier can be
//! noticed. And the memory of cheaper parameters fits a cache better: half the memory, padded, was measured
//! to take 7 % less (`timing`), until that user's next login stores it anew.

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use subtle::ConstantTimeEq;

use crate::protocol::{
    credential::{Done, Job, ScramVerifier, Token, Verifier},
    operator::OperatorKey,
    refusal::{Code, Refusal},
    scram::ITERATIONS_MIN,
};

/// Random bytes of a salt, as RFC 9106 recommends.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Lanes of argon2id. More would only help on idle cores, and a server has none to spare.
const LANES: u32 = 1;

/// The cost of hashing one password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// Memory of argon2id, in KiB.
    pub memory_kib: u32,
    /// Passes of argon2id over it.
    pub iterations: u32,
    /// Iterations of PBKDF2 for SCRAM.
    pub scram_iterations: u32,
}

impl Costs {
    /// The least that a configuration may set.
    pub const LEAST: Costs =
        Costs { memory_kib: Params::DEFAULT_M_COST, iterations: 2, scram_iterations: ITERATIONS_MIN };
    /// The most that a configuration or a stored verifier may ask for, so that no log makes a thread work for
    /// minutes.
    pub const MOST: Costs = Costs { memory_kib: 1024 * 1024, iterations: 64, scram_iterations: 10_000_000 };

    /// Blocks that argon2id writes; its time is proportional to them.
    fn blocks(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.iterations)
    }

    /// Whether a verifier of these costs is to be replaced by one of `now`: no cost would fall and one would
    /// rise. So servers whose configurations differ do not replace each other's for ever.
    fn has_risen_to(self, now: Costs) -> bool {
        self != now
            && self.memory_kib <= now.memory_kib
            && self.iterations <= now.iterations
            && self.scram_iterations <= now.scram_iterations
    }
}

impl Default for Costs {
    /// argon2id with the least that OWASP recommends. 50,000 iterations of PBKDF2 for SCRAM: RFC 7677 asks
    /// for 0.1 seconds on a client, which was 15,000 when it was written, and for 4,096 at least. The server
    /// pays for them once, at registration; a client that uses SCRAM at each login.
    fn default() -> Self {
        Costs { scram_iterations: 50_000, ..Costs::LEAST }
    }
}

/// A source of chance: fills the bytes.
pub type Chance = Box<dyn FnMut(&mut [u8]) + Send>;

/// The system's random numbers. Without them no secret would be safe, so the process ends instead.
pub fn system_chance() -> Chance {
    Box::new(|bytes| getrandom::fill(bytes).expect("the system gives random numbers"))
}

/// Does one job after the other.
pub struct Hasher {
    costs: Costs,
    /// The key of operators; `None` if the cluster has no secret.
    operators: Option<OperatorKey>,
    chance: Chance,
    /// argon2's memory, kept from job to job.
    memory: Vec<Block>,
    /// The verifier for unknown names.
    dummy: String,
    /// The dearest verifier that was checked, in blocks: all checks cost as much.
    ceiling_blocks: u64,
}

/// A stored argon2id hash, taken apart.
struct Stored {
    params: Params,
    salt: Salt,
    hash: Output,
}

impl Hasher {
    pub fn new(costs: Costs, operators: Option<OperatorKey>, mut chance: Chance) -> Self {
        let (mut salt, mut hash) = ([0; SALT_BYTES], [0; HASH_BYTES]);
        chance(&mut salt);
        chance(&mut hash);
        let dummy = phc(costs, &salt, &hash);
        Hasher { costs, operators, chance, memory: Vec::new(), dummy, ceiling_blocks: costs.blocks() }
    }

    /// Does a job. The only refusal is that of a cluster that has no operators.
    pub fn work(&mut self, job: Job) -> Result<Done, Refusal> {
        match job {
            Job::Make { password } => Ok(Done::Made { verifier: Box::new(self.make(password.expose())) }),
            Job::Check { password, verifier } => Ok(self.check(password.expose(), verifier.as_deref())),
            Job::Draw => Ok(Done::Drawn { token: Token::from_bytes(&self.random()) }),
            Job::Challenge => {
                operators(self.operators.as_ref())?;
                Ok(Done::Challenge { challenge: self.random() })
            }
            Job::Prove { challenge, proof } => {
                let ok = operators(self.operators.as_ref())?.accepts(&challenge, &proof);
                Ok(Done::Proved { ok })
            }
        }
    }

    fn make(&mut self, password: &str) -> Verifier {
        let salt: [u8; SALT_BYTES] = self.random();
        let params = params(self.costs.memory_kib, self.costs.iterations);
        let hash = self.argon2(password, &salt, params);
        // A salt of its own: clients are told SCRAM's salt, and must not learn argon2's.
        let scram_salt: [u8; SALT_BYTES] = self.random();
        Verifier {
            argon2: phc(self.costs, &salt, &hash),
            scram: ScramVerifier::new(password, &scram_salt, self.costs.scram_iterations),
        }
    }

    fn check(&mut self, password: &str, verifier: Option<&Verifier>) -> Done {
        let known = verifier.and_then(|verifier| Stored::parse(&verifier.argon2));
        if verifier.is_some() && known.is_none() {
            log::error!("a stored password cannot be read; its user cannot log in until it is set anew");
        }
        let is_known = known.is_some();
        let stored =
            known.unwrap_or_else(|| Stored::parse(&self.dummy).expect("it was written by this hasher"));
        let (memory_kib, iterations) = (stored.params.m_cost(), stored.params.t_cost());
        let scram_iterations = verifier.map_or(0, |verifier| verifier.scram.iterations);
        let costs = Costs { memory_kib, iterations, scram_iterations };

        let hash = self.argon2(password, &stored.salt, stored.params.clone());
        self.ceiling_blocks = self.ceiling_blocks.max(costs.blocks());
        self.pad(password, &stored.salt, self.ceiling_blocks - costs.blocks());
        let is_equal = bool::from(hash.as_slice().ct_eq(stored.hash.as_bytes()));
        let ok = is_equal && is_known;

        let rises = ok && costs.has_risen_to(self.costs);
        let rehashed = rises.then(|| Box::new(self.make(password)));
        let token = Token::from_bytes(&self.random());
        let token_hash = token.hash();
        Done::Checked { ok, rehashed, token, token_hash }
    }

    /// Writes the blocks by which `blocks` is below the ceiling.
    fn pad(&mut self, password: &str, salt: &[u8], blocks: u64) {
        if blocks < u64::from(Params::MIN_M_COST) {
            return;
        }
        let most = u64::from(self.costs.memory_kib);
        let iterations = blocks.div_ceil(most);
        let memory_kib = (blocks / iterations).max(u64::from(Params::MIN_M_COST));
        let narrow = |number: u64| u32::try_from(number).expect("bounded by the costs of a stored verifier");
        std::hint::black_box(self.argon2(password, salt, params(narrow(memory_kib), narrow(iterations))));
    }

    fn argon2(&mut self, password: &str, salt: &[u8], params: Params) -> [u8; HASH_BYTES] {
        if self.memory.len() < params.block_count() {
            self.memory.resize(params.block_count(), Block::new());
        }
        let mut hash = [0; HASH_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password.as_bytes(), salt, &mut hash, &mut self.memory)
            .expect("lengths and costs were checked");
        hash
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.chance)(&mut bytes);
        bytes
    }
}

impl Stored {
    /// Accepts only what [`phc`] writes, within bounds: another algorithm or length would cost another time.
    fn parse(text: &str) -> Option<Stored> {
        let phc = PasswordHash::new(text).ok()?;
        let params = Params::try_from(&phc).ok()?;
        let is_ours = phc.algorithm == Algorithm::Argon2id.ident()
            && phc.version == Some(Version::V0x13.into())
            && params.p_cost() == LANES
            && params.keyid().is_empty()
            && params.data().is_empty()
            && (Params::MIN_M_COST..=Costs::MOST.memory_kib).contains(&params.m_cost())
            && (1..=Costs::MOST.iterations).contains(&params.t_cost());
        let (salt, hash) = (phc.salt?, phc.hash?);
        let fits = is_ours && hash.len() == HASH_BYTES && salt.len() == SALT_BYTES;
        fits.then_some(Stored { params, salt, hash })
    }
}

fn operators(key: Option<&OperatorKey>) -> Result<&OperatorKey, Refusal> {
    key.ok_or_else(|| {
        Refusal::new(
            Code::Forbidden,
            "this cluster has no secret, so nobody can prove to be its operator; put the same 64 random \
             hexadecimal digits into the file cluster.secret of every server",
        )
    })
}

fn params(memory_kib: u32, iterations: u32) -> Params {
    Params::new(memory_kib, iterations, LANES, Some(HASH_BYTES)).expect("the costs were checked")
}

/// The text that is stored.
fn phc(costs: Costs, salt: &[u8], hash: &[u8; HASH_BYTES]) -> String {
    let params = params(costs.memory_kib, costs.iterations);
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).expect("three numbers fit"),
        salt: Some(Salt::new(salt).expect("salts have a good length")),
        hash: Some(Output::new(hash).expect("hashes have a good length")),
    };
    hash.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::protocol::{
        credential::{Password, TOKEN_CHARS},
        secret::ClusterSecret,
    };

    const CHEAP: Costs = Costs { memory_kib: 64, iterations: 2, scram_iterations: 16 };

    /// Chance that counts.
    fn counting() -> Chance {
        let mut count = 0_u64;
        Box::new(move |bytes| {
            count += 1;
            bytes.fill(0);
            bytes[..8].copy_from_slice(&count.to_le_bytes());
        })
    }

    fn hasher(costs: Costs) -> Hasher {
        Hasher::new(costs, None, counting())
    }

    fn password(text: &str) -> Password {
        Password::new(text).unwrap()
    }

    fn make(hasher: &mut Hasher, text: &str) -> Box<Verifier> {
        match hasher.work(Job::Make { password: password(text) }) {
            Ok(Done::Made { verifier }) => verifier,
            other => panic!("{other:?}"),
        }
    }

    /// Whether the password is right, and what is to be stored instead.
    fn check(hasher: &mut Hasher, text: &str, verifier: Option<&Verifier>) -> (bool, Option<Box<Verifier>>) {
        let verifier = verifier.cloned().map(Box::new);
        match hasher.work(Job::Check { password: password(text), verifier }) {
            Ok(Done::Checked { ok, rehashed, token, token_hash }) => {
                assert_eq!((token.expose().len(), token.hash()), (TOKEN_CHARS, token_hash));
                (ok, rehashed)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_right_password_of_a_known_name_and_nothing_else() {
        let mut hasher = hasher(CHEAP);
        let verifier = make(&mut hasher, "correct horse");
        assert!(verifier.argon2.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{}", verifier.argon2);
        assert_eq!(check(&mut hasher, "correct horse", Some(&verifier)), (true, None));
        for wrong in ["correct horsf", "correct hors", "Correct horse", "correct horse "] {
            assert_eq!(check(&mut hasher, wrong, Some(&verifier)), (false, None));
        }
        assert_eq!(check(&mut hasher, "correct horse", None), (false, None));
        assert_eq!(
            verifier.scram,
            ScramVerifier::new("correct horse", &verifier.scram.salt, CHEAP.scram_iterations)
        );
        let again = make(&mut hasher, "correct horse");
        assert!(again.argon2 != verifier.argon2 && again.scram.salt != verifier.scram.salt);
    }

    #[test]
    fn it_is_argon2id_of_the_rfc() {
        let hash = hasher(CHEAP).argon2("password", b"somesalt", params(65_536, 2));
        let hex = data_encoding::HEXLOWER.encode(&hash);
        // The test vector of the reference implementation for argon2id, v=19, t=2, m=65536, p=1.
        assert_eq!(hex, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[test]
    fn a_verifier_is_replaced_where_something_rose_and_nothing_fell() {
        let verifier = make(&mut hasher(CHEAP), "correct horse");
        for costs in [
            Costs { memory_kib: 128, ..CHEAP },
            Costs { iterations: 3, ..CHEAP },
            Costs { scram_iterations: 17, ..CHEAP },
        ] {
            let mut risen = hasher(costs);
            assert_eq!(check(&mut risen, "wrong horse", Some(&verifier)), (false, None));
            let (ok, rehashed) = check(&mut risen, "correct horse", Some(&verifier));
            let rehashed = rehashed.unwrap();
            assert!(ok);
            assert_eq!(check(&mut risen, "correct horse", Some(&rehashed)), (true, None));
            // A server with a lower setting leaves it as it is.
            assert_eq!(check(&mut hasher(CHEAP), "correct horse", Some(&rehashed)), (true, None));
        }
        let mut mixed = hasher(Costs { memory_kib: 32, iterations: 8, ..CHEAP });
        assert_eq!(check(&mut mixed, "correct horse", Some(&verifier)), (true, None));
    }

    #[test]
    fn what_is_stored_of_a_password_is_bounded_and_never_a_way_in() {
        let mut hasher = hasher(CHEAP);
        let good = make(&mut hasher, "correct horse");
        let with = |from: &str, to: &str| {
            let argon2 = good.argon2.replace(from, to);
            assert_ne!(argon2, good.argon2);
            Verifier { argon2, ..(*good).clone() }
        };
        for broken in [
            with(&good.argon2, ""),
            with(&good.argon2, "$argon2id$v=19$m=64,t=2,p=1$"),
            with("m=64", "m=4294967295"),
            with("m=64", "m=1"),
            with("t=2", "t=4294967295"),
            with("t=2", "t=0"),
            with("p=1", "p=4"),
            with("p=1", "p=1,data=AAAA"),
            with("argon2id", "argon2d"),
            with("v=19", "v=16"),
        ] {
            assert_eq!(check(&mut hasher, "correct horse", Some(&broken)), (false, None), "{broken:?}");
        }
        assert!(hasher.memory.len() <= 64);
    }

    #[test]
    fn all_checks_write_the_same_number_of_blocks() {
        let cheap = make(&mut hasher(CHEAP), "correct horse");
        let dear = make(&mut hasher(Costs { memory_kib: 4_096, ..CHEAP }), "correct horse");
        let mut hasher = hasher(Costs { memory_kib: 2_048, ..CHEAP });
        let verifiers = [None, Some(&*cheap), Some(&*dear)];
        // The dear one is met for the first time.
        check(&mut hasher, "wrong horse", Some(&dear));
        let mut fastest = [u128::MAX; 3];
        for _ in 0..40 {
            for (place, verifier) in verifiers.iter().enumerate() {
                let begun = Instant::now();
                check(&mut hasher, "wrong horse", *verifier);
                fastest[place] = fastest[place].min(begun.elapsed().as_nanos());
            }
        }
        // Without padding the cheapest would take a thirtieth. How exact it is, `timing` measures.
        let (least, most) = (fastest.iter().min().unwrap(), fastest.iter().max().unwrap());
        assert!(most / least < 4, "{fastest:?}");
    }

    #[test]
    fn operators_prove_themselves_where_there_is_a_secret() {
        let key = || OperatorKey::new(&ClusterSecret::from_bytes([7; 32]), "syncnet");
        let mut with = Hasher::new(CHEAP, Some(key()), counting());
        let Ok(Done::Challenge { challenge }) = with.work(Job::Challenge) else { panic!("no challenge") };
        let Ok(Done::Challenge { challenge: next }) = with.work(Job::Challenge) else { panic!("none") };
        assert_ne!(challenge, next);
        let mut prove = |challenge, proof| match with.work(Job::Prove { challenge, proof }) {
            Ok(Done::Proved { ok }) => ok,
            other => panic!("{other:?}"),
        };
        assert!(prove(challenge, key().proof(&challenge)));
        assert!(!prove(next, key().proof(&challenge)));
        let mut without = hasher(CHEAP);
        for job in [Job::Challenge, Job::Prove { challenge, proof: key().proof(&challenge) }] {
            let refusal = without.work(job).unwrap_err();
            assert_eq!(refusal.code, Code::Forbidden);
            assert!(refusal.reason.contains("cluster.secret"));
        }
    }
}
