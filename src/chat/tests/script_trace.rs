//! What a script shows of an applied command.

use super::index_of;
use crate::{
    chat::{
        Applied, DirtyRow, Reply,
        effects::{ReadUpTo, SessionFilter},
        rows,
    },
    protocol::{
        event::{Event, EventKind},
        name::UserKey,
        refusal::Refusal,
    },
};

pub(super) fn trace(applied: &Applied) -> Vec<String> {
    let mut said = vec![match &applied.outcome {
        None => "skipped".into(),
        Some(Ok(reply)) => trace_reply(reply),
        Some(Err(Refusal { code, reason, .. })) => format!("refused {code}: {reason}"),
    }];
    for published in &applied.effects.events {
        let event = &published.event;
        assert_eq!(serde_json::from_str::<Event>(published.json.get()).unwrap(), **event);
        assert_eq!(published.row().seq, event.seq);
        let what = match &event.kind {
            EventKind::Message(message) if message.file.is_none() && message.mentions.is_empty() => {
                format!("{:?}", message.body)
            }
            EventKind::Message(message) => serde_json::to_string(message).unwrap(),
            kind => format!("{kind:?}"),
        };
        said.push(format!(
            "  event {}:{} {} #{} lamport {} {}: {what}",
            index_of(published.room),
            event.room,
            published.index,
            event.seq,
            event.lamport_timestamp,
            event.author
        ));
    }
    for change in &applied.effects.membership {
        let sign = if change.joined { '+' } else { '-' };
        said.push(format!("  member {sign}{} of {}", change.user, index_of(change.room)));
    }
    for invitation in &applied.effects.invitations {
        let what = if invitation.invited { "invited" } else { "uninvited" };
        said.push(format!("  {} is {what} to {} by {}", invitation.user, invitation.room, invitation.by));
    }
    for row in &applied.effects.rewritten {
        said.push(format!("  rewritten #{} {}", row.seq, row.json.get()));
    }
    for ended in &applied.effects.ended {
        let which = match ended.which {
            SessionFilter::One(_) => "one",
            SessionFilter::AllBut(_) => "all but one",
            SessionFilter::All => "all",
            SessionFilter::Guests => "guests",
        };
        said.push(format!("  sessions of {} end, {which}: {}", ended.user, ended.reason));
    }
    for chunk in &applied.effects.chunks {
        said.push(format!("  chunk {} of {} bytes", chunk.number, chunk.bytes.len()));
    }
    for file in &applied.effects.removed_files {
        said.push(format!("  file {} is gone", file.0[0]));
    }
    for (room, before_seq) in &applied.effects.expired {
        said.push(format!("  room {} begins with #{before_seq}", index_of(*room)));
    }
    for ReadUpTo { user, room, seq } in &applied.effects.read {
        said.push(format!("  user {} has read {} up to #{seq}", user.0, index_of(*room)));
    }
    for deleted in &applied.effects.deleted {
        let members: Vec<&str> = deleted.members.iter().map(UserKey::as_str).collect();
        said.push(format!("  deleted {} by {}, tells {}", deleted.room, deleted.by, members.join(" ")));
    }
    let dirty = applied.effects.dirty.iter().map(|dirty| match dirty {
        DirtyRow::Clock => rows::CLOCK,
        DirtyRow::Origin(_) => rows::ORIGIN,
        DirtyRow::LastSeq(_) => rows::LAST_SEQ,
        DirtyRow::Sent(..) => rows::SENT,
    });
    let tables = applied.effects.rows.iter().map(|row| row.key[0]).chain(dirty);
    let rows: Vec<&str> = tables.map(table).collect();
    if !rows.is_empty() {
        said.push(format!("  rows {}", rows.join(" ")));
    }
    said
}

fn trace_reply(reply: &Reply) -> String {
    match reply {
        Reply::Joined { room_id, room, created, role, last_seq, .. } => {
            let how = if *created { "created" } else { "joined" };
            format!("{how} {}:{room} as {role} last_seq {last_seq}", index_of(*room_id))
        }
        Reply::Left { room_id, room } => format!("left {}:{room}", index_of(*room_id)),
        Reply::Sent(sent) => format!("sent {}", serde_json::to_string(sent).unwrap()),
        Reply::Placed { room, seq, duplicate: false } => format!("done in {room} as #{seq}"),
        Reply::Placed { room, seq, duplicate: true } => format!("so already in {room}, since #{seq}"),
        Reply::Invited { room, seq, duplicate, is_known } => {
            let warning = if *is_known { "" } else { "; nobody is known by that name" };
            let what = if *duplicate { "so already in" } else { "done in" };
            format!("{what} {room} as #{seq}{warning}")
        }
        Reply::Account { username } => format!("account {username}"),
        Reply::Receiving { received, .. } => format!("received {received}"),
        Reply::File(file) => format!("file {} of {} bytes", file.name, file.size),
        Reply::Done => "done".into(),
        Reply::ServersChanged { version } => format!("servers as of entry {version}"),
        Reply::Nothing => "nothing".into(),
    }
}

fn table(number: u8) -> &'static str {
    match number {
        rows::CLOCK => "clock",
        rows::ROOM => "room",
        rows::USER => "user",
        rows::LAST_SEQ => "last_seq",
        rows::MEMBER => "member",
        rows::SENT => "sent",
        rows::ORIGIN => "origin",
        rows::ACCOUNT => "account",
        rows::SESSION => "session",
        rows::READING => "reading",
        rows::SETTINGS => "settings",
        rows::MUTED => "muted",
        rows::INVITED => "invited",
        rows::BANNED => "banned",
        rows::SPOKE => "spoke",
        rows::FILE => "file",
        rows::HOOK => "hook",
        rows::UPLOAD => "upload",
        rows::IMPORT => "import",
        rows::BLOCKED => "blocked",
        rows::RECENT => "recent",
        rows::RESTORES => "restores",
        rows::AUDIT => "audit",
        rows::SERVERS => "servers",
        rows::RULES => "rules",
        other => panic!("table {other} has no name"),
    }
}
