//! The help, and the answer to a command, as lines that can be scrolled through.

use ratatui::{
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
};

use super::{
    super::{
        keys::{BINDINGS, PLACES},
        model::{Model, overlay::Overlay, preferences::SET_USAGE},
    },
    text::{Piece, one_line, span, width, wrap},
};
use crate::client::terminal::commands::COMMANDS;

/// Columns of a page at most, with its border.
pub const PAGE_COLUMNS: u16 = 84;

/// How many lines can be scrolled through.
pub fn overlay_lines(model: &Model, overlay: &Overlay) -> usize {
    let area = Rect::new(0, 0, model.size.width, model.size.height);
    match overlay {
        Overlay::Help { .. } => help(model, area).len(),
        Overlay::Text { lines, .. } => text_lines(model, lines, area).len(),
        _ => 0,
    }
}

fn page_columns(area: Rect) -> usize {
    usize::from(PAGE_COLUMNS.min(area.width).saturating_sub(4)).max(1)
}

/// The lines of an answer, those that are too long for the page as several.
pub fn text_lines(model: &Model, lines: &[String], area: Rect) -> Vec<Line<'static>> {
    let columns = page_columns(area);
    let rows = lines.iter().flat_map(|line| wrap(&[Piece::new(one_line(line), model.theme.text())], columns));
    rows.map(|row| Line::from(row.iter().map(span).collect::<Vec<_>>())).collect()
}

/// The help: keys, then commands.
pub fn help(model: &Model, area: Rect) -> Vec<Line<'static>> {
    let theme = model.theme;
    let columns = page_columns(area);
    let keys = if columns >= 50 { 16 } else { 0 };
    let mut lines = vec![];
    let mut entry = |name: String, does: &str, name_columns: usize| {
        let mut rows =
            wrap(&[Piece::new(does, theme.text())], columns.saturating_sub(name_columns).max(1)).into_iter();
        let fits = name_columns > 0 && width(&name) < name_columns;
        let gap = if fits { name_columns - width(&name) } else { 0 };
        let mut first = vec![Span::styled(name, theme.accent()), Span::raw(" ".repeat(gap))];
        if fits {
            first.extend(rows.next().iter().flatten().map(span));
        }
        lines.push(Line::from(first));
        for row in rows {
            let mut spans = vec![Span::raw(" ".repeat(name_columns.max(2)))];
            spans.extend(row.iter().map(span));
            lines.push(Line::from(spans));
        }
    };
    for place in PLACES {
        entry(format!("\u{0}{}", place.heading()), "", 0);
        for binding in BINDINGS.iter().filter(|binding| binding.place == place) {
            entry(binding.label(), binding.does, keys);
        }
    }
    entry("\u{0}Reading".into(), "", 0);
    let reading = "A message counts as read once it was on the screen and you write, scroll or go on with Alt-A. \
                   Looking into a room marks nothing, and Alt-P lets you read on without marking anything.";
    entry(String::new(), reading, 0);
    entry("\u{0}Signs before a message".into(), "", 0);
    for (sign, means) in [
        ("✓", "it is on a majority of the servers"),
        ("○", "it is on its way, and kept until it has arrived"),
        ("↻", "the connection was lost: it is sent again, and arrives once"),
        ("✗", "it was refused; select it to send it again"),
    ] {
        entry(sign.into(), means, keys.max(4));
    }
    entry("\u{0}Commands".into(), "", 0);
    for command in COMMANDS {
        entry(command.usage().to_string(), command.does, if columns >= 70 { 32 } else { 0 });
    }
    entry(SET_USAGE.into(), "how this client behaves", 0);
    for line in &mut lines {
        if let Some(first) = line.spans.first_mut()
            && let Some(heading) = first.content.strip_prefix('\u{0}')
        {
            *first = Span::styled(heading.to_owned(), theme.strong().add_modifier(Modifier::UNDERLINED));
        }
    }
    let mut spaced: Vec<Line<'static>> = vec![];
    for line in lines {
        let is_heading =
            line.spans.first().is_some_and(|span| span.style.add_modifier.contains(Modifier::UNDERLINED));
        if is_heading && !spaced.is_empty() {
            spaced.push(Line::default());
        }
        spaced.push(line);
    }
    spaced
}
