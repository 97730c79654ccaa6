//! File descriptors: each client takes one, and systems allow few unless they are asked.

/// What a server needs besides its clients: database, links, logs, and room for accidents.
const BESIDES: u64 = 256;

/// Makes room for so many connections. The error is one sentence that says for how many there is room;
/// the server can run all the same.
#[cfg(unix)]
pub fn make_room(connections: usize) -> Result<(), String> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let needed = connections as u64 + BESIDES;
    let unknown = |errno| format!("how many descriptors this process may have is not known: {errno}");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(unknown)?;
    let granted = needed.min(hard).max(soft);
    // Where this fails the limit stays what it is.
    let granted = setrlimit(Resource::RLIMIT_NOFILE, granted, hard).map_or(soft, |()| granted);
    if granted >= needed {
        return Ok(());
    }
    Err(format!(
        "the system allows this process {granted} descriptors, room for about {} of the {connections} connections \
         that limits.connections allows; raise its limit (ulimit -n)",
        granted.saturating_sub(BESIDES)
    ))
}

/// Makes room for so many connections. This system has no such limit.
#[cfg(not(unix))]
pub fn make_room(_connections: usize) -> Result<(), String> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_or_it_is_said_how_much_there_is() {
        make_room(1).unwrap();
        if let Err(sentence) = make_room(usize::MAX / 2) {
            assert!(sentence.contains("limits.connections"), "{sentence}");
        }
    }
}
