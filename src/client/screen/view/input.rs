//! The input, and the lines around it.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    text::{Line, Span},
    widgets::Widget,
};

use crate::{client::terminal::commands::COMMANDS, protocol::text::counted};

use super::{
    super::{
        layout::{
            areas::{INPUT_MARGIN, messages_area},
            text::{cut, lines, width},
            window::window,
        },
        model::{
            Model,
            composer::{Aim, Composer},
            room::{Item, Room, State, is_anothers},
        },
    },
    clear::clear,
};

/// Candidates of the Tab key that are shown at once.
const OFFERS: usize = 8;

/// The line above the input: what is being written, who is typing, and what is below the screen.
pub fn rule(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    let columns = usize::from(area.width);
    buffer.set_string(area.x, area.y, "─".repeat(columns), theme.dim());
    let Some(room) = model.current_room() else { return };
    let (left, style) = if let Some(selected) = room.selected {
        (acts(model, room, selected), theme.accent())
    } else {
        match room.composer.aim {
            Aim::Edit(_) => (" editing your message · Esc gives up ".to_owned(), theme.accent()),
            Aim::Reply(seq) => {
                (format!(" replying to {} · Esc gives up ", beginning(room, seq)), theme.accent())
            }
            Aim::Say => (typists(model), theme.dim()),
        }
    };
    let (hidden, _) = room.composer.area().scroll_offset();
    let left = match u64::from(hidden) {
        0 => left,
        rows => {
            format!(" ↑ {} more{}", counted(rows, "line"), if left.is_empty() { " " } else { " ·" }) + &left
        }
    };
    let right = below(model, room);
    let right_columns = width(&right);
    if right_columns > 0 && right_columns + 2 < columns {
        let x = area.right() - u16::try_from(right_columns).unwrap_or(0) - 1;
        buffer.set_string(x, area.y, &right, theme.accent());
    }
    let space = columns.saturating_sub(right_columns + 4);
    if !left.is_empty() && space > 4 {
        buffer.set_stringn(area.x + 1, area.y, cut(&left, space), space, style);
    }
}

/// What can be done with the selected message.
fn acts(model: &Model, room: &Room, selected: Item) -> String {
    match selected {
        Item::Event(seq) => {
            let is_own = room.message(seq).is_some_and(|(event, _)| event.author.key() == model.me);
            let keeps_order = room.keeps_order(model.is_administrator);
            let acts = [
                (true, "r reply"),
                (is_own, "e edit"),
                (true, "+ react"),
                (keeps_order || room.other.is_some(), "p pin"),
                (is_own || keeps_order, "d delete"),
                (true, "Esc back"),
            ];
            let offered: Vec<&str> = acts.iter().filter(|(may, _)| *may).map(|(_, act)| *act).collect();
            format!(" {} ", offered.join(" · "))
        }
        Item::Outgoing(number) => match room.outgoing.get(&number).map(|own| &own.state) {
            Some(State::Failed(_)) => " s send again · e change it · d remove · Esc back ".into(),
            _ => " on its way · Esc back ".into(),
        },
    }
}

/// The author of a message, and the beginning of its first line.
pub fn beginning(room: &Room, seq: u64) -> String {
    match room.message(seq) {
        Some((event, message)) => {
            let text = lines(&message.body).into_iter().next().unwrap_or_default();
            format!("{}: {}", event.author, cut(&text, 30))
        }
        None => format!("message {seq}"),
    }
}

fn typists(model: &Model) -> String {
    match model.typists().as_slice() {
        [] => String::new(),
        [one] => format!(" {one} is typing… "),
        [one, other] => format!(" {one} and {other} are typing… "),
        [one, others @ ..] => format!(" {one} and {} others are typing… ", others.len()),
    }
}

/// The hint of messages below the screen.
fn below(model: &Model, room: &Room) -> String {
    let area = messages_area(model);
    let shown = window(model, room, area.width.into(), area.height.into());
    if shown.is_present || shown.rows.is_empty() {
        return String::new();
    }
    let Some(Item::Event(last)) = shown.last() else { return String::new() };
    let read = room.last_read.unwrap_or(0).max(last);
    let behind = room.events.range(read + 1..).filter(|(_, event)| is_anothers(event, &model.me));
    // With a text, End goes to the end of its line.
    let key = if room.composer.is_empty() { "End" } else { "Ctrl-End" };
    match behind.take(100).count() {
        0 => format!(" ↓ {key}: present "),
        100 => format!(" ↓ 99+ new · {key} "),
        count => format!(" ↓ {count} new · {key} "),
    }
}

/// Draws the input; gives the place of the cursor.
pub fn draw(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    let theme = model.theme;
    let room = model.current_room()?;
    let margin = if area.width > 8 { INPUT_MARGIN } else { 0 };
    if margin > 0 {
        let style = if room.selected.is_some() { theme.dim() } else { theme.accent() };
        buffer.set_string(area.x, area.y, "❯", style);
    }
    let inner = Rect { x: area.x + margin, width: area.width - margin, ..area };
    if room.selected.is_some() && room.composer.is_empty() {
        return None;
    }
    if room.composer.is_empty() {
        let hint = match &room.other {
            Some(other) => format!("Message {other}   (? shows the keys)"),
            None => format!("Message #{}   (? shows the keys)", room.title()),
        };
        buffer.set_stringn(inner.x, inner.y, hint, inner.width.into(), theme.dim());
        return Some(inner.as_position());
    }
    composer(&room.composer, inner, buffer)
}

fn composer(composer: &Composer, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let widget = composer.area();
    widget.render(area, buffer);
    let (top, left) = widget.scroll_offset();
    let cursor = widget.screen_cursor();
    let row = u16::try_from(cursor.row).ok()?.checked_sub(top)?;
    let column = u16::try_from(cursor.col).ok()?.checked_sub(left)?;
    let x = (area.x + column).min(area.right() - 1);
    (row < area.height).then_some(Position::new(x, area.y + row))
}

/// What the Tab key offers, above the input.
pub fn offers(model: &Model, input: Rect, screen: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let Some(completion) = model.current_room().and_then(|room| room.composer.completion.as_ref()) else {
        return;
    };
    let at = completion.at.unwrap_or(0);
    let above = usize::from(input.y.saturating_sub(screen.y + 2));
    let fits = OFFERS.min(above);
    if fits == 0 || input.width < 12 || completion.candidates.len() < 2 && completion.at.is_some() {
        return;
    }
    let top = (at + 1).saturating_sub(fits).min(completion.candidates.len().saturating_sub(fits));
    let shown: Vec<(usize, &String)> =
        completion.candidates.iter().enumerate().skip(top).take(fits).collect();
    let y = input.y - 1 - u16::try_from(shown.len()).unwrap_or(0);
    let columns = usize::from(input.width);
    for ((at, candidate), y) in shown.into_iter().zip(y..) {
        let area = Rect::new(input.x, y, input.width, 1);
        clear(area, buffer);
        let is_chosen = completion.at == Some(at);
        let name = candidate.trim_end();
        let about =
            name.strip_prefix('/').and_then(|name| COMMANDS.iter().find(|command| command.name == name));
        let about = about.map_or(String::new(), |command| format!("{}  {}", command.words, command.does));
        let name_style = if is_chosen { theme.chosen() } else { theme.accent() };
        let name = format!(" {:<14}", cut(name, columns.saturating_sub(2)));
        let space = columns.saturating_sub(width(&name) + 1);
        let line = Line::from(vec![
            Span::styled(name, name_style),
            Span::styled(format!(" {}", cut(about.trim_start(), space)), theme.dim()),
        ]);
        buffer.set_line(area.x, y, &line, area.width);
    }
}
