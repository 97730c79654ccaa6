//! The storage: both storages against each other, and the real one against faulty disks.

mod behind;
mod conformance;
mod damage;
mod folder;
mod generator;
#[allow(dead_code, reason = "tests/simulation uses the rest of it")]
#[path = "../support/power/mod.rs"]
mod power;
mod power_cut;
mod reading;
mod removal;
mod running;
mod searching;
mod seen;
mod twin;
mod wiping;
