//! Clusters of real processes under load, with every fault that a process can have.
//!
//! Each test is a story: it starts servers (the program as it is shipped, on free ports, in a folder of its
//! own), lets clients speak raw protocol lines to them, and does something bad. What clients sent and
//! received goes, as it happens, to the judge of the simulation (`checker`); at the end every room is read
//! from every server over the protocol and from every database file, and all of it must fit together.
//!
//! | module | concept |
//! |---|---|
//! | `harness` | the processes: start, kill, freeze, thaw, stop; what they say about themselves |
//! | `judge` | the history, told to the checker line by line |
//! | `wire` | a connection that tells the judge everything |
//! | `writer`, `reader`, `load` | clients that survive whatever happens to servers |
//! | `disks` | disks that fill up, and disks whose power is cut |
//! | `databases` | what the database files hold, read without the product's code |
//! | `reading` | all that a server shows of its rooms |
//! | `verdict` | the full read at the end of a story |
//! | the others | the stories; in `terminal` people sit in front of real terminals, played by tmux |
//!
//! Stories take turns (`harness::TURN`): two clusters at once on a small machine would starve each other,
//! which looks like faults. No test waits for a fixed time if it can check whether the awaited thing has
//! happened. Every wait has a deadline; if it is missed, the test says what it waited for and what the
//! servers logged. No story asserts a speed.
//!
//! | variable | what it does |
//! |---|---|
//! | `SYNCNET_CLUSTER_ROUNDS=N` | each story does N times what it else does as often as is bearable in CI |
//! | `SYNCNET_CLUSTER_LOG=debug` | what the servers log |
//! | `SYNCNET_EARLIER_SERVER`, `SYNCNET_LATER_SERVER` | the programs between which `upgrade` goes |
//! | `SYNCNET_CLUSTER_KEEP=1` | the folder of each cluster stays, as it does when a story fails |
#![cfg(unix)]

#[path = "../simulation/checker/mod.rs"]
mod checker;
#[path = "../support/metrics.rs"]
mod support_metrics;

mod databases;
mod disks;
mod harness;
mod judge;
mod load;
mod reader;
mod reading;
mod verdict;
mod wire;
mod writer;

mod bad_input;
mod catching_up;
mod command_line;
mod freezes;
mod full_disk;
mod hooks;
mod kills;
mod lost_data;
mod membership;
mod metrics;
mod moving_in;
mod networks;
mod power_cuts;
mod repeats;
mod restarts;
mod status_line;
mod terminal;
mod upgrade;
mod uploads;
