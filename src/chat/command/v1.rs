//! Commands as the first version wrote them: guests, public rooms and plain messages. A log may still hold
//! some of them after an upgrade; nothing writes them any more.

use serde::Deserialize;

use super::{Action, Destination, Origin, Proposal, Standing};
use crate::protocol::name::{RoomName, UserName};

/// The first byte of every such command.
pub(super) const COMMAND_VERSION: u8 = 1;

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Command {
    origin: Origin,
    created_at_ms: u64,
    proposal: OldProposal,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct OldProposal {
    user: UserName,
    lamport_timestamp: u64,
    action: OldAction,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
enum OldAction {
    Nothing,
    Join { room: RoomName },
    Leave { room: RoomName },
    Chat { room: RoomName, body: String, client_msg_id: String, reply_to: Option<u64> },
}

impl Command {
    /// The same command in today's words.
    pub fn into_current(self) -> super::Command {
        let Command { origin, created_at_ms, proposal } = self;
        super::Command { origin, created_at_ms, proposal: proposal.into_current() }
    }
}

impl OldProposal {
    /// The same proposal in today's words.
    pub fn into_current(self) -> Proposal {
        let OldProposal { user, lamport_timestamp, action } = self;
        let action = match action {
            OldAction::Nothing => Action::Nothing,
            OldAction::Join { room } => Action::Join { room },
            OldAction::Leave { room } => Action::Leave { room },
            OldAction::Chat { room, body, client_msg_id, reply_to } => {
                Action::Chat { to: Destination::Room(room), body, client_msg_id, reply_to, file_id: None }
            }
        };
        Proposal { user, standing: Standing::Guest, lamport_timestamp, action }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::peer::NodeId;

    #[test]
    fn an_old_log_is_read() {
        let room = RoomName::new("lobby").unwrap();
        let old = Command {
            origin: Origin { node_id: NodeId(1), boot: 2, seq: 3 },
            created_at_ms: 4,
            proposal: OldProposal {
                user: UserName::new("alice").unwrap(),
                lamport_timestamp: 5,
                action: OldAction::Chat {
                    room: room.clone(),
                    body: "hi".into(),
                    client_msg_id: "m1".into(),
                    reply_to: None,
                },
            },
        };
        let bytes = postcard::to_extend(&old, vec![COMMAND_VERSION]).unwrap();
        let read = super::super::Command::decode(&bytes).unwrap();
        assert_eq!((read.origin, read.created_at_ms), (old.origin, 4));
        let Action::Chat { to, body, .. } = read.proposal.action else { panic!("a message") };
        assert_eq!((to, body.as_str()), (Destination::Room(room), "hi"));
        super::super::Command::decode(&bytes[..bytes.len() - 1]).unwrap_err();
        let passed_on = postcard::to_extend(&old.proposal, vec![COMMAND_VERSION]).unwrap();
        assert_eq!(Proposal::decode(&passed_on).unwrap().user, UserName::new("alice").unwrap());
        Proposal::decode(&[3, 0]).unwrap_err();
        super::super::Command::decode(&[3, 0]).unwrap_err();
    }
}
