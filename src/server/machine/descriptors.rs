//! File descriptors: each client takes one, and systems allow few unless they are asked.

use thiserror::Error;

/// Descriptors that a server needs besides those of its clients: for the database, links, logs, and a
/// reserve.
const BESIDES: u64 = 256;

/// Why there may be too few descriptors. The server runs all the same.
#[derive(Debug, Error)]
pub enum TooFewDescriptors {
    /// The system does not tell.
    #[error("how many descriptors this process may have is not known: {0}")]
    Unknown(#[source] std::io::Error),
    /// There are fewer than the connections need.
    #[error(
        "the system allows this process {granted} descriptors, room for about {} of the {connections} connections that \
         limits.connections allows; raise its limit (ulimit -n)", granted.saturating_sub(BESIDES)
    )]
    Few { granted: u64, connections: usize },
}

/// Makes room for so many connections, or says in the log how much there is.
pub fn make_room_or_warn(connections: usize) {
    if let Err(error) = make_room(connections) {
        log::warn!("{error}");
    }
}

/// Raises the limit so that so many connections fit.
#[cfg(unix)]
pub fn make_room(connections: usize) -> Result<(), TooFewDescriptors> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let needed = connections as u64 + BESIDES;
    let unknown = |errno: nix::Error| TooFewDescriptors::Unknown(errno.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(unknown)?;
    let granted = needed.min(hard).max(soft);
    // If this fails the limit stays what it is.
    let granted = setrlimit(Resource::RLIMIT_NOFILE, granted, hard).map_or(soft, |()| granted);
    if granted >= needed {
        return Ok(());
    }
    Err(TooFewDescriptors::Few { granted, connections })
}

/// This system has no such limit.
#[cfg(not(unix))]
pub fn make_room(_connections: usize) -> Result<(), TooFewDescriptors> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_or_it_is_said_how_much_there_is() {
        make_room(1).unwrap();
        if let Err(error) = make_room(usize::MAX / 2) {
            assert!(error.to_string().contains("limits.connections"), "{error}");
        }
    }
}
