//! Draws the overlays, as boxes.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    text::{Line, Span},
    widgets::{Block, BorderType, Widget},
};

use super::{
    super::{
        layout::{
            clock,
            page::{PAGE_COLUMNS, help, text_lines},
            text::{Piece, cut, one_line, span, width, wrap},
        },
        model::{
            Model,
            field::Field,
            overlay::{Overlay, Question, REACTIONS, Results, Search},
            secret_box::SecretBox,
            switcher,
        },
    },
    clear::clear,
    input,
};
use crate::protocol::text::counted;

/// A box of at most this size in the middle of `area`, and what is inside its border.
fn frame(model: &Model, title: &str, area: Rect, size: (u16, u16), buffer: &mut Buffer) -> Rect {
    let (width, height) = (size.0.min(area.width), size.1.min(area.height));
    let x = area.x + (area.width - width) / 2;
    let y = area.y + (area.height - height) / 3;
    let outer = Rect { x, y, width, height };
    clear(outer, buffer);
    // A border needs room; without it the content says enough.
    if width < 12 || height < 5 {
        return outer;
    }
    let theme = model.theme;
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.dim())
        .title(Span::styled(format!(" {} ", cut(title, usize::from(width) - 6)), theme.strong()));
    let inner = block.inner(outer);
    block.render(outer, buffer);
    Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }
}

/// Draws `over`; gives the place of the cursor.
pub fn draw(model: &Model, overlay: &Overlay, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    match overlay {
        Overlay::Help { top } => page(model, "Help", help(model, area), *top, area, buffer),
        Overlay::Text { title, lines, top } => {
            let title = if title.is_empty() { "Answer".to_owned() } else { one_line(title) };
            page(model, &title, text_lines(model, lines, area), *top, area, buffer)
        }
        Overlay::Switcher { field, at } => switcher(model, field, *at, area, buffer),
        Overlay::Search(overlay) => search(model, overlay, area, buffer),
        Overlay::React { field, .. } => react(model, field, area, buffer),
        Overlay::Question(question) => ask(model, question, area, buffer),
        Overlay::Secret(typed) => secret(model, typed, area, buffer),
    }
}

fn page(
    model: &Model,
    title: &str,
    lines: Vec<Line<'static>>,
    top: usize,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let inner = frame(model, title, area, (PAGE_COLUMNS, rows.max(5)), buffer);
    for (line, y) in lines.iter().skip(top).zip(inner.y..inner.bottom()) {
        buffer.set_line(inner.x, y, line, inner.width);
    }
    let shown = usize::from(inner.height);
    if lines.len() > shown && inner.height > 0 && inner.width > 20 {
        let text =
            format!(" {}–{} of {} · ↑↓ PgDn · Esc ", top + 1, (top + shown).min(lines.len()), lines.len());
        let x = inner.right().saturating_sub(u16::try_from(width(&text)).unwrap_or(0));
        buffer.set_string(x.max(inner.x), inner.bottom().min(area.bottom() - 1), text, model.theme.dim());
    }
    None
}

/// Draws a line that is typed, behind a sign; gives the place of its cursor.
fn field(
    model: &Model,
    sign: &str,
    text: &str,
    before: &str,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    buffer.set_stringn(area.x, area.y, sign, area.width.into(), model.theme.accent());
    let start = u16::try_from(width(sign)).unwrap_or(0).min(area.width.saturating_sub(1));
    let columns = usize::from(area.width - start);
    // What does not fit goes out at the left.
    let hidden = (width(before) + 1).saturating_sub(columns);
    let mut skipped = 0;
    let visible: String = text
        .chars()
        .skip_while(|letter| {
            let skip = skipped < hidden;
            skipped += width(&letter.to_string());
            skip
        })
        .collect();
    buffer.set_stringn(area.x + start, area.y, visible, columns, model.theme.text());
    let cursor = u16::try_from(width(before).saturating_sub(hidden)).unwrap_or(0);
    Some(Position::new((area.x + start + cursor).min(area.right() - 1), area.y))
}

fn switcher(model: &Model, typed: &Field, at: usize, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let entries = switcher::entries(model, &typed.text());
    let rows = u16::try_from(entries.len().clamp(1, 12)).unwrap_or(12);
    let inner = frame(model, "Go to a room or a person", area, (56, rows + 4), buffer);
    let cursor = field(model, "❯ ", &typed.text(), &typed.before_cursor(), inner, buffer);
    let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    let fits = usize::from(list.height);
    let top = (at + 1).saturating_sub(fits);
    for ((number, entry), y) in entries.iter().enumerate().skip(top).zip(list.y..list.bottom()) {
        let sign = if entry.person.is_some() { "@" } else { "#" };
        let name = format!("{sign}{}", entry.title);
        let style = if entry.joined { theme.strong() } else { theme.text() };
        let unread = if entry.unread > 0 { format!(" {}", entry.unread) } else { String::new() };
        let columns = usize::from(list.width);
        let name = cut(&name, columns);
        let left = columns.saturating_sub(width(&name) + width(&unread) + 2);
        let about = cut(&one_line(&entry.about), left);
        let gap = left.saturating_sub(width(&about));
        let mut line = Line::from(vec![
            Span::styled(name, style),
            Span::styled(unread, theme.mention()),
            Span::raw(" ".repeat(gap + 2)),
            Span::styled(about, theme.dim()),
        ]);
        if number == at {
            line = line.style(theme.chosen());
        }
        buffer.set_line(list.x, y, &line, list.width);
        if number == at {
            buffer.set_style(Rect { y, height: 1, ..list }, theme.chosen());
        }
    }
    if entries.is_empty() && fits > 0 {
        buffer.set_stringn(list.x, list.y, "no room or user of that name", list.width.into(), theme.dim());
    }
    cursor
}

fn search(model: &Model, overlay: &Search, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let inner = frame(model, "Search", area, (PAGE_COLUMNS, area.height.saturating_sub(1)), buffer);
    let cursor = field(model, "⌕ ", &overlay.field.text(), &overlay.field.before_cursor(), inner, buffer);
    let list = Rect { y: inner.y + 2, height: inner.height.saturating_sub(2), ..inner };
    let say = |text: &str, buffer: &mut Buffer| {
        let rows = wrap(&[Piece::new(text, theme.dim())], list.width.into());
        for (row, y) in rows.iter().zip(list.y..list.bottom()) {
            buffer.set_line(list.x, y, &Line::from(row.iter().map(span).collect::<Vec<_>>()), list.width);
        }
    };
    if let Results::Found(_, Some(span)) = &overlay.results
        && inner.height > 2
    {
        let span = cut(span, inner.width.into());
        buffer.set_stringn(inner.x, inner.y + 1, span, inner.width.into(), theme.dim());
    }
    match &overlay.results {
        Results::None => say(
            "Type words and press Enter. \"several words\" in quotes follow one another, begin* stands for a \
             beginning. in:ROOM by:USER since:2026-11-25 until:2026-11-26T09:30 narrow it down.",
            buffer,
        ),
        Results::Waiting if model.is_online() => say("searching…", buffer),
        Results::Waiting => say("no server for now: the search waits until there is one", buffer),
        Results::Failed(reason) => say(&one_line(reason), buffer),
        Results::Found(hits, _) if hits.is_empty() => say("Nothing was found.", buffer),
        Results::Found(hits, _) => {
            let fits = usize::from(list.height / 2).max(1);
            let top = (overlay.at + 1).saturating_sub(fits);
            for (number, hit) in hits.iter().enumerate().skip(top).take(fits) {
                let y = list.y + u16::try_from(number - top).unwrap_or(0) * 2;
                if y >= list.bottom() {
                    break;
                }
                let event = &hit.event;
                let title = event.room.direct_pair().map_or_else(
                    || format!("#{}", event.room),
                    |(one, other)| format!("@{}", if one.key() == model.me { other } else { one }),
                );
                let line = Line::from(vec![
                    Span::styled(event.author.to_string(), theme.name(&event.author)),
                    Span::styled(
                        format!("  {title} · {}", clock::moment(event.created_at, &model.zone)),
                        theme.dim(),
                    ),
                ]);
                buffer.set_line(list.x, y, &line, list.width);
                if y + 1 < list.bottom() {
                    let snippet = snippet(model, &hit.snippet, usize::from(list.width));
                    buffer.set_line(list.x + 1, y + 1, &snippet, list.width.saturating_sub(1));
                }
                if number == overlay.at {
                    let height = 2.min(list.bottom() - y);
                    buffer.set_style(Rect { y, height, ..list }, theme.chosen());
                }
            }
            let text = format!(" {} of {} · Enter shows it in its place ", overlay.at + 1, hits.len());
            if usize::from(inner.width) > width(&text) {
                let x = inner.right() - u16::try_from(width(&text)).unwrap_or(0);
                buffer.set_string(x, inner.bottom().min(area.bottom() - 1), text, theme.dim());
            }
        }
    }
    cursor
}

/// A piece of a message, with the hits emphasised.
fn snippet(model: &Model, text: &str, columns: usize) -> Line<'static> {
    let text = cut(&one_line(&text.replace('\n', " ")), columns);
    let spans = text.split("**").enumerate().map(|(at, part)| {
        let style = if at % 2 == 1 { model.theme.mention() } else { model.theme.text() };
        Span::styled(part.to_owned(), style)
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn react(model: &Model, typed: &Field, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let inner = frame(model, "React", area, (52, 5), buffer);
    let cursor = field(model, "❯ ", &typed.text(), &typed.before_cursor(), inner, buffer);
    let offers: Vec<String> =
        REACTIONS.iter().enumerate().map(|(at, emoji)| format!("{} {emoji}", at + 1)).collect();
    let below = Rect { y: inner.y + 2, height: 1, ..inner };
    if below.y < inner.bottom() {
        buffer.set_stringn(below.x, below.y, offers.join("  "), below.width.into(), model.theme.dim());
    }
    cursor
}

fn ask(model: &Model, question: &Question, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let (title, text, about) = match question {
        Question::Delete(seq) => {
            let about = model.current_room().map(|room| input::beginning(room, *seq));
            ("Delete", "Delete this message for everyone?".to_owned(), about.unwrap_or_default())
        }
        Question::SendLines(count) => {
            ("Send", format!("Send {} as one message?", counted(*count as u64, "line")), String::new())
        }
    };
    let inner = frame(model, title, area, (48, 5), buffer);
    let columns = usize::from(inner.width);
    buffer.set_stringn(inner.x, inner.y, text, columns, model.theme.text());
    if inner.height > 1 {
        // The box may cover the message.
        buffer.set_stringn(inner.x, inner.y + 1, cut(&about, columns), columns, model.theme.dim());
    }
    if inner.height > 2 {
        let keys = "y or Enter: yes    n or Esc: no";
        buffer.set_stringn(inner.x, inner.y + 2, keys, inner.width.into(), model.theme.dim());
    }
    None
}

fn secret(model: &Model, typed: &SecretBox, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let inner = frame(model, typed.title(), area, (54, 5), buffer);
    let dots = |text: String| "•".repeat(text.chars().count());
    let (text, before) = (dots(typed.field.text()), dots(typed.field.before_cursor()));
    let cursor = field(model, "❯ ", &text, &before, inner, buffer);
    let columns = usize::from(inner.width);
    if let Some(wrong) = typed.wrong.as_ref().filter(|_| inner.height > 1) {
        buffer.set_stringn(inner.x, inner.y + 1, cut(wrong, columns), columns, model.theme.bad());
    }
    if inner.height > 2 {
        buffer.set_stringn(inner.x, inner.y + 2, typed.keys(), columns, model.theme.dim());
    }
    cursor
}
