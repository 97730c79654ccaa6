//! The line at the bottom: the state of the connection, and notices.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::super::{
    layout::text::{cut, one_line, width},
    model::{Leader, Link, Model},
};

pub fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    let columns = usize::from(area.width).saturating_sub(2);
    let (dot, dot_style, state) = state(model);
    let (text, style) = match &model.notice {
        Some(notice) => (one_line(&notice.text), if notice.is_bad { theme.bad() } else { theme.text() }),
        None => (unread(model), theme.dim()),
    };
    // A notice goes before the state.
    let text = cut(&text, columns.saturating_sub(4));
    let left = cut(&state, columns.saturating_sub(width(&text) + 5));
    let gap = columns.saturating_sub(width(&left) + width(&text) + 2);
    let line = Line::from(vec![
        Span::styled(format!(" {dot} "), dot_style),
        Span::styled(left, if dot == "●" { theme.dim() } else { dot_style }),
        Span::raw(" ".repeat(gap)),
        Span::styled(text, style),
    ]);
    buffer.set_line(area.x, area.y, &line, area.width);
}

/// The state of the connection.
fn state(model: &Model) -> (&'static str, Style, String) {
    let theme = model.theme;
    let user = &model.user;
    match &model.link {
        Link::Online(server) => {
            let (style, leads) = match &model.leader {
                Leader::Known(leader) if leader == server => (theme.good(), ", the leader".into()),
                Leader::Known(leader) => (theme.good(), format!(" · leader {leader}")),
                Leader::Unknown => (theme.good(), String::new()),
                Leader::None => (theme.warning(), " · no leader for the moment: read only".into()),
            };
            ("●", style, format!("{user} on {server}{leads}"))
        }
        Link::Connecting => ("○", theme.warning(), format!("{user} · looking for a server")),
        Link::Offline { no_majority: true, .. } => {
            let text = format!("no majority: read only{} · what you write is kept", countdown(model));
            ("◌", theme.warning(), text)
        }
        Link::Offline { reason, .. } => {
            let text = match model.retry_at_ms.filter(|&at_ms| at_ms > model.now_ms) {
                Some(_) => format!("no server{}", countdown(model)),
                None => "no server, reconnecting".into(),
            };
            ("○", theme.bad(), format!("{text} · {}", one_line(reason)))
        }
        Link::LoggedOut => ("○", theme.warning(), format!("{user} · logged out: /login or /register")),
        Link::Stopped => ("○", theme.bad(), "stopped; Ctrl-Q ends".into()),
    }
}

fn countdown(model: &Model) -> String {
    match model.retry_at_ms.filter(|&at_ms| at_ms > model.now_ms) {
        Some(at_ms) => format!(", reconnecting in {} s", (at_ms - model.now_ms).div_ceil(1_000)),
        None => String::new(),
    }
}

/// What is unread in other rooms, for screens without the list of rooms.
fn unread(model: &Model) -> String {
    let elsewhere = model.rooms.values().filter(|room| Some(room.name.key()) != model.current);
    let elsewhere: Vec<_> = elsewhere.filter(|room| !model.is_silent(room) && room.unread > 0).collect();
    let mentions: u64 = elsewhere.iter().map(|room| room.mentions).sum();
    match elsewhere.len() {
        0 => "? help".into(),
        count if mentions > 0 => format!("{mentions} for you, {count} unread · Alt-A"),
        count => format!("{count} unread · Alt-A"),
    }
}
