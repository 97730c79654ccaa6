//! Runs the target that `SYNCNET_FUZZ_TARGET` names. With `SYNCNET_FUZZ_EXAMPLES=FOLDER` it writes the
//! target's examples there first, for libFuzzer to begin from.

#![no_main]

#[path = "../../targets.rs"]
mod targets;

use std::{env, fs, path::Path, sync::LazyLock};

use targets::{TARGETS, Target};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = env::var("SYNCNET_FUZZ_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    target.unwrap_or_else(|| panic!("SYNCNET_FUZZ_TARGET is {name:?}; the targets are {names:?}"))
});

libfuzzer_sys::fuzz_target!(
    init: {
        if let Ok(folder) = env::var("SYNCNET_FUZZ_EXAMPLES") {
            fs::create_dir_all(&folder).expect("a folder for examples");
            for (number, example) in (TARGET.examples)().iter().enumerate() {
                fs::write(Path::new(&folder).join(format!("example-{number}")), example).expect("an example");
            }
        }
    },
    |data: &[u8]| (TARGET.run)(data)
);
