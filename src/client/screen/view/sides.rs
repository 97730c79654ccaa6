//! The columns beside the messages: rooms at the left, members at the right.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::super::{
    layout::{
        room_list::{Entry, entries},
        text::{cut, width},
    },
    model::{
        Model,
        room::{Joining, Room, State},
    },
};
use crate::protocol::answer::{Member, PresenceState};

pub fn rooms(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    line_down(model, area.right() - 1, area, buffer);
    let columns = usize::from(area.width - 1);
    for (entry, y) in entries(model, area.height.into()).into_iter().zip(area.y..area.bottom()) {
        match entry {
            Entry::Heading(heading) => {
                buffer.set_stringn(area.x + 1, y, heading, columns.saturating_sub(1), theme.dim());
            }
            Entry::Room(at, room) => {
                let line = room_line(model, at, room, columns);
                buffer.set_line(area.x, y, &line, area.width - 1);
            }
        }
    }
}

fn room_line(model: &Model, at: usize, room: &Room, columns: usize) -> Line<'static> {
    let theme = model.theme;
    let is_current = Some(room.name.key()) == model.current;
    let is_silent = model.is_silent(room);
    let count = match (room.mentions, room.unread) {
        (0, 0) => String::new(),
        (0, unread) => format!("{} ", short(unread)),
        (mentions, _) => format!("@{} ", short(mentions)),
    };
    let has_failed = room.outgoing.values().any(|own| matches!(own.state, State::Failed(_)));
    let (draft, draft_style) = if is_current || room.composer.is_empty() && !has_failed {
        ("", theme.dim())
    } else if has_failed {
        ("✗ ", theme.bad())
    } else {
        ("✎ ", theme.dim())
    };
    let digit = if at < 9 { format!("{} ", at + 1) } else { "  ".into() };
    let sign = match &room.other {
        Some(other) => match model.presence.get(&other.key()).map(|(_, state)| *state) {
            Some(PresenceState::Online) => "●",
            Some(PresenceState::Away) => "◐",
            Some(PresenceState::Offline) | None => "○",
        },
        None => "#",
    };
    let space = columns.saturating_sub(3 + width(&digit) + width(&count) + width(draft));
    let name = cut(room.title(), space);
    let gap = space.saturating_sub(width(&name));
    let style = match () {
        () if matches!(room.joining, Joining::Refused(_)) || is_silent => theme.dim(),
        () if room.unread > 0 || is_current => theme.strong(),
        () => theme.text(),
    };
    let bar = if is_current { Span::styled("▌", theme.accent()) } else { Span::raw(" ") };
    let sign_style = if sign == "●" { theme.good() } else { theme.dim() };
    let count_style = if room.mentions > 0 || room.other.is_some() { theme.mention() } else { style };
    Line::from(vec![
        bar,
        Span::styled(digit, theme.dim()),
        Span::styled(format!("{sign} "), sign_style),
        Span::styled(name, style),
        Span::raw(" ".repeat(gap)),
        Span::styled(draft, draft_style),
        Span::styled(count, count_style),
    ])
}

/// A count in three columns at most.
fn short(count: u64) -> String {
    if count > 99 { "99+".into() } else { count.to_string() }
}

/// The members: those who are online first.
pub fn members(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    line_down(model, area.x, area, buffer);
    let Some(room) = model.current_room() else { return };
    let mut members: Vec<&Member> = room.members.iter().collect();
    members.sort_by_key(|member| (!member.online, member.away, member.username.key()));
    let online = members.iter().filter(|member| member.online).count();
    let columns = usize::from(area.width).saturating_sub(2);
    let heading = cut(&format!("Members {online}/{}", room.member_count), columns);
    buffer.set_stringn(area.x + 2, area.y, heading, columns, theme.dim());
    let fits = usize::from(area.height.saturating_sub(1));
    let hidden = members.len().saturating_sub(fits);
    for (at, (member, y)) in members.iter().zip(area.y + 1..area.bottom()).enumerate() {
        if hidden > 0 && at + 1 == fits {
            let text = cut(&format!("  and {} more", hidden + 1), columns);
            buffer.set_stringn(area.x + 2, y, text, columns, theme.dim());
            break;
        }
        let (sign, sign_style) = match (member.online, member.away) {
            (true, true) => ("◐ ", theme.warning()),
            (true, false) => ("● ", theme.good()),
            (false, _) => ("○ ", theme.dim()),
        };
        let role = match member.role.as_str() {
            "owner" => " ★",
            "moderator" => " ☆",
            "muted" => " ⊘",
            _ => "",
        };
        let name = cut(member.username.as_str(), columns.saturating_sub(2 + width(role)));
        let style: Style = if member.online { theme.name(&member.username) } else { theme.dim() };
        let line = Line::from(vec![
            Span::styled(sign, sign_style),
            Span::styled(name, style),
            Span::styled(role, theme.dim()),
        ]);
        buffer.set_line(area.x + 2, y, &line, area.width - 2);
    }
}

fn line_down(model: &Model, x: u16, area: Rect, buffer: &mut Buffer) {
    for y in area.top()..area.bottom() {
        buffer.set_string(x, y, "│", model.theme.dim());
    }
}
