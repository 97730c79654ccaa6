//! The header and the list of messages.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    text::{Line, Span},
};

use super::{
    super::{
        layout::{
            rows::{Row, rows_at_top},
            text::{Piece, cut, one_line, pieces_width, span, width, wrap},
            window::window,
        },
        model::{
            Model,
            room::{Joining, Room},
        },
    },
    drawn::Link,
};
use crate::protocol::text::counted;

/// The name of the room and what it is about.
pub fn header(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    let columns = usize::from(area.width).saturating_sub(2);
    let Some(room) = model.current_room() else { return };
    let mut marks = vec![];
    if model.peek {
        marks.push("peeking".to_owned());
    }
    if model.is_silent(room) {
        marks.push("muted".to_owned());
    }
    if !room.pins.is_empty() {
        marks.push(format!("{} pinned", room.pins.len()));
    }
    if room.other.is_none() && room.member_count > 0 {
        marks.push(counted(room.member_count, "member"));
    }
    let marks = marks.join(" · ");
    let sign = if room.other.is_some() { "@" } else { "#" };
    let name = cut(&format!("{sign}{}", room.title()), columns);
    let left = columns.saturating_sub(width(&name));
    let marks = if left > width(&marks) + 3 { marks } else { String::new() };
    let topic = match &room.other {
        Some(other) => {
            model.presence.get(&other.key()).map(|(_, state)| state.as_str().to_owned()).unwrap_or_default()
        }
        None => one_line(&room.topic),
    };
    let topic = cut(&topic, left.saturating_sub(width(&marks) + 5));
    let gap = left.saturating_sub(width(&marks) + width(&topic) + 2);
    let style = if model.peek { theme.warning() } else { theme.dim() };
    let line = Line::from(vec![
        Span::styled(format!(" {name}"), theme.strong()),
        Span::styled(format!("  {topic}"), theme.dim()),
        Span::raw(" ".repeat(gap)),
        Span::styled(marks, style),
    ]);
    buffer.set_line(area.x, area.y, &line, area.width);
}

/// The messages, the last one at the bottom.
pub fn draw(model: &Model, area: Rect, buffer: &mut Buffer, links: &mut Vec<Link>) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    let Some(room) = model.current_room() else {
        return say(model, "You are in no room. Ctrl-K finds one, /join NAME enters one.", area, buffer);
    };
    let mut shown = window(model, room, area.width.into(), area.height.into());
    if shown.skipped == 0
        && let Some((item, row)) = shown.rows.first_mut()
        && let Some(headed) = rows_at_top(model, room, *item, area.width.into()).into_iter().next()
    {
        *row = headed;
    }
    if shown.rows.is_empty() {
        return say(model, &nothing(model, room), area, buffer);
    }
    let blank = area.height.saturating_sub(u16::try_from(shown.rows.len()).unwrap_or(area.height));
    let rows = shown.rows.iter().zip(area.y + blank..area.bottom());
    for ((item, row), y) in rows {
        let area = Rect { y, height: 1, ..area };
        draw_row(row, area, buffer, links);
        // A rule above a message begins with no bar.
        let is_rule = row.first().is_some_and(|piece| piece.text.starts_with('─'));
        if room.selected == Some(*item) && !is_rule {
            buffer.set_style(area, theme.chosen());
        }
    }
    let is_loading = !room.asked.is_empty() && room.joining == Joining::Joined;
    if is_loading && blank > 0 {
        let text = "loading older messages…";
        buffer.set_stringn(area.x + 1, area.y, text, area.width.saturating_sub(1).into(), theme.dim());
    }
}

fn draw_row(row: &Row, area: Rect, buffer: &mut Buffer, links: &mut Vec<Link>) {
    let mut before = 0;
    for (at, piece) in row.iter().enumerate() {
        let columns = pieces_width(&row[at..=at]);
        if let Some(address) = &piece.link {
            let start = u16::try_from(before).unwrap_or(u16::MAX).min(area.width);
            let columns = u16::try_from(columns).unwrap_or(u16::MAX).min(area.width - start);
            let link = Link { at: Position::new(area.x + start, area.y), columns, address: address.clone() };
            links.extend((columns > 0).then_some(link));
        }
        before += columns;
    }
    let line = Line::from(row.iter().map(span).collect::<Vec<_>>());
    buffer.set_line(area.x, area.y, &line, area.width);
}

/// What to say if there are no messages.
fn nothing(model: &Model, room: &Room) -> String {
    match &room.joining {
        Joining::Refused(reason) => format!("You are not in {}: {}", room.title(), one_line(reason)),
        Joining::Joined if room.asked.is_empty() && room.other.is_some() => {
            format!("This is the beginning of your conversation with {}. Write something.", room.title())
        }
        Joining::Joined if room.asked.is_empty() => "Nothing was said here yet. Write something.".into(),
        Joining::Joined => "Loading…".into(),
        Joining::Asked if model.is_online() => format!("Entering {}…", room.title()),
        Joining::Asked => "Looking for a server…".into(),
    }
}

fn say(model: &Model, text: &str, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width.saturating_sub(2)).max(1);
    let pieces = [Piece::new(text, model.theme.dim())];
    let rows = wrap(&pieces, columns);
    let top = area.y + area.height.saturating_sub(u16::try_from(rows.len()).unwrap_or(0)) / 2;
    for (row, y) in rows.iter().zip(top..area.bottom()) {
        let gap = usize::from(area.width).saturating_sub(pieces_width(row)) / 2;
        let x = area.x + u16::try_from(gap).unwrap_or(0);
        draw_row(row, Rect::new(x, y, area.right().saturating_sub(x), 1), buffer, &mut vec![]);
    }
}
