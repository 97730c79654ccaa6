//! Converts between our types and the library's. Nothing is parsed from bytes here.

use raft::{INVALID_ID, eraftpb as pb};

use super::conf_change::ConfChange;
use crate::{
    disk::HardState,
    protocol::peer::{ConfState, LogEntry, LogEntryKind, NodeId, RaftMessage},
};

pub(super) fn snapshot_of(index: u64, term: u64, conf: &ConfState) -> pb::Snapshot {
    let mut snapshot = pb::Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = index;
    metadata.term = term;
    metadata.set_conf_state(to_conf(conf));
    snapshot
}

pub(super) fn conf_change(steps: &[ConfChange]) -> pb::ConfChangeV2 {
    let mut change = pb::ConfChangeV2::default();
    let changes: Vec<pb::ConfChangeSingle> = steps
        .iter()
        .map(|step| {
            let (kind, node) = match *step {
                ConfChange::AddVoter(node) => (pb::ConfChangeType::AddNode, node),
                ConfChange::AddLearner(node) => (pb::ConfChangeType::AddLearnerNode, node),
                ConfChange::Remove(node) => (pb::ConfChangeType::RemoveNode, node),
            };
            let mut single = pb::ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = node.0;
            single
        })
        .collect();
    change.set_changes(changes.into());
    change
}

fn ids(nodes: &[u64]) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId).collect();
    // The library keeps them in hash order, which is not the same on every server.
    nodes.sort();
    nodes
}

pub(super) fn from_conf(conf: &pb::ConfState) -> ConfState {
    ConfState {
        voters: ids(&conf.voters),
        learners: ids(&conf.learners),
        voters_outgoing: ids(&conf.voters_outgoing),
        learners_next: ids(&conf.learners_next),
        auto_leave: conf.auto_leave,
    }
}

pub(super) fn to_conf(conf: &ConfState) -> pb::ConfState {
    let raw = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<u64>>();
    let mut library = pb::ConfState::default();
    library.set_voters(raw(&conf.voters));
    library.set_learners(raw(&conf.learners));
    library.set_voters_outgoing(raw(&conf.voters_outgoing));
    library.set_learners_next(raw(&conf.learners_next));
    library.auto_leave = conf.auto_leave;
    library
}

pub(super) fn from_hard_state(state: &pb::HardState) -> HardState {
    HardState {
        term: state.term,
        vote: (state.vote != INVALID_ID).then_some(NodeId(state.vote)),
        commit: state.commit,
    }
}

pub(super) fn to_hard_state(state: &HardState) -> pb::HardState {
    pb::HardState {
        term: state.term,
        vote: state.vote.map_or(INVALID_ID, |node| node.0),
        commit: state.commit,
        ..pb::HardState::default()
    }
}

pub(super) fn from_entry(entry: pb::Entry) -> LogEntry {
    match entry.get_entry_type() {
        pb::EntryType::EntryNormal => LogEntry {
            term: entry.term,
            index: entry.index,
            kind: LogEntryKind::Command,
            data: entry.data.into(),
            opaque: Vec::new(),
        },
        pb::EntryType::EntryConfChange | pb::EntryType::EntryConfChangeV2 => LogEntry {
            term: entry.term,
            index: entry.index,
            kind: LogEntryKind::Configure,
            data: entry.context.into(),
            opaque: entry.data.into(),
        },
    }
}

pub(super) fn to_entry(entry: LogEntry) -> pb::Entry {
    let mut library = pb::Entry { term: entry.term, index: entry.index, ..pb::Entry::default() };
    match entry.kind {
        LogEntryKind::Command => {
            library.set_entry_type(pb::EntryType::EntryNormal);
            library.data = entry.data.into();
        }
        LogEntryKind::Configure => {
            library.set_entry_type(pb::EntryType::EntryConfChangeV2);
            library.context = entry.data.into();
            library.data = entry.opaque.into();
        }
    }
    library
}

/// The kinds of message that peers may send, by their number in `RaftMessage::kind`.
///
/// Left out on purpose: `MsgPropose` (the library would parse what is in it; commands travel as
/// `PeerMessage::Forward`), `MsgSnapshot` (made by `offer_snapshot`), and the local ones.
const KINDS: [(u8, pb::MessageType); 12] = [
    (1, pb::MessageType::MsgAppend),
    (2, pb::MessageType::MsgAppendResponse),
    (3, pb::MessageType::MsgRequestVote),
    (4, pb::MessageType::MsgRequestVoteResponse),
    (5, pb::MessageType::MsgHeartbeat),
    (6, pb::MessageType::MsgHeartbeatResponse),
    (7, pb::MessageType::MsgTransferLeader),
    (8, pb::MessageType::MsgTimeoutNow),
    (9, pb::MessageType::MsgReadIndex),
    (10, pb::MessageType::MsgReadIndexResp),
    (11, pb::MessageType::MsgRequestPreVote),
    (12, pb::MessageType::MsgRequestPreVoteResponse),
];

/// The number of `MsgAppend` in `RaftMessage::kind`: entries of the leader's.
pub const APPEND: u8 = 1;
/// The number of `MsgAppendResponse` in `RaftMessage::kind`: the acknowledgement of synced entries.
pub const APPEND_RESPONSE: u8 = 2;
/// The number of `MsgRequestVoteResponse` in `RaftMessage::kind`: a vote, or the refusal of one.
pub const VOTE_RESPONSE: u8 = 4;

pub(super) fn from_library(mut message: pb::Message) -> RaftMessage {
    let kind = message.get_msg_type();
    RaftMessage {
        kind: KINDS.iter().find(|(_, other)| *other == kind).map_or(0, |(number, _)| *number),
        to: NodeId(message.to),
        from: NodeId(message.from),
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.take_entries().into_iter().map(from_entry).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        context: message.context.into(),
    }
}

pub(super) fn to_library(message: RaftMessage) -> Option<pb::Message> {
    let &(_, kind) = KINDS.iter().find(|(number, _)| *number == message.kind)?;
    if message
        .entries
        .first()
        .is_some_and(|first| kind == pb::MessageType::MsgAppend && first.index != message.index + 1)
    {
        // Entries that do not continue the log at the named place are not confirmed, so they are sent again.
        return None;
    }
    let mut library = pb::Message::default();
    library.set_msg_type(kind);
    library.to = message.to.0;
    library.from = message.from.0;
    library.term = message.term;
    library.log_term = message.log_term;
    library.index = message.index;
    library.set_entries(message.entries.into_iter().map(to_entry).collect::<Vec<_>>().into());
    library.commit = message.commit;
    library.commit_term = message.commit_term;
    library.reject = message.reject;
    library.reject_hint = message.reject_hint;
    library.request_snapshot = message.request_snapshot;
    library.context = message.context.into();
    Some(library)
}
