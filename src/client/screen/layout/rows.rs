//! One item of the list of messages as rows of the screen.

use std::ops::Range;

use ratatui::style::{Modifier, Style};

use crate::protocol::{Event, EventKind, Message, UserName, mentions};

use super::{
    super::model::{
        Model,
        room::{Item, Room, State, names},
    },
    clock,
    text::{Piece, cut, lines, links, one_line, width, wrap},
};
use crate::client::terminal::events::{deed, size};

/// One row of the screen.
pub type Row = Vec<Piece>;

/// Messages of one author that follow each other within this time are shown under one name.
const TOGETHER_MS: u64 = 5 * 60_000;
/// Most columns of an author's name.
const NAME_COLUMNS: usize = 12;

/// How the columns of the list are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    all: usize,
    /// Columns of the time, with the space behind it.
    time: usize,
    /// Columns of the name. 0: it is put before the text.
    name: usize,
}

impl Columns {
    fn new(room: &Room, all: usize) -> Columns {
        let time = if all >= 36 { 6 } else { 0 };
        let longest = room.members.iter().map(|member| member.username.as_str().len()).max().unwrap_or(0);
        let name = if all >= 44 { longest.clamp(6, NAME_COLUMNS) } else { 0 };
        Columns { all, time, name }
    }

    /// The column at which the text begins: behind the bar, the time, the name and the mark.
    fn indent(self) -> usize {
        match self.name {
            0 => 1 + self.time,
            name => 1 + self.time + name + 3,
        }
    }

    fn text(self) -> usize {
        self.all.saturating_sub(self.indent()).max(1)
    }
}

/// The rows of `item` in `all` columns.
pub fn rows(model: &Model, room: &Room, item: Item, all: usize) -> Vec<Row> {
    let columns = Columns::new(room, all);
    let before = room.before(item);
    let mut rows = vec![];
    let (at_ms, before_ms) = (moment(room, item), before.map(|before| moment(room, before)));
    let day = |at_ms| clock::day_number(at_ms, &model.zone);
    let mut begins = before_ms.is_none_or(|before_ms| day(before_ms) != day(at_ms));
    if begins && (before.is_some() || is_first(room, item)) {
        rows.push(rule(model, &clock::day(at_ms, model.now_ms, &model.zone), all, false));
    }
    if let Item::Event(seq) = item
        && room.first_unread(&model.me) == Some(seq)
    {
        rows.push(rule(model, "unread from here", all, true));
        begins = true;
    }
    let follows = !begins && before.is_some_and(|before| goes_together(room, before, item, model));
    push_item(model, room, item, follows, columns, &mut rows);
    rows
}

/// The rows of `item` at the top of the screen, as many as [`rows`] gives. Here a message that shares the
/// name of one above it shows its author.
pub fn rows_at_top(model: &Model, room: &Room, item: Item, all: usize) -> Vec<Row> {
    let columns = Columns::new(room, all);
    let usual = rows(model, room, item, all);
    let mut rows = vec![];
    push_item(model, room, item, false, columns, &mut rows);
    // With rules above it, or a name within the text, it stays as it is.
    if rows.len() == usual.len() && columns.name > 0 { rows } else { usual }
}

fn push_item(model: &Model, room: &Room, item: Item, follows: bool, columns: Columns, rows: &mut Vec<Row>) {
    match item {
        Item::Event(seq) => {
            if let Some(event) = room.events.get(&seq) {
                event_rows(model, room, event, follows, columns, rows);
            }
        }
        Item::Outgoing(number) => outgoing_rows(model, room, number, follows, columns, rows),
    }
}

fn is_first(room: &Room, item: Item) -> bool {
    match item {
        Item::Event(seq) => room.begins.is_some_and(|begins| begins <= seq),
        Item::Outgoing(_) => true,
    }
}

fn moment(room: &Room, item: Item) -> u64 {
    match item {
        Item::Event(seq) => room.events.get(&seq).map_or(0, |event| event.created_at),
        Item::Outgoing(number) => room.outgoing.get(&number).map_or(0, |outgoing| outgoing.at_ms),
    }
}

/// Whether `item` is shown under the name of the message before it.
fn goes_together(room: &Room, before: Item, item: Item, model: &Model) -> bool {
    let author = |item| match item {
        Item::Event(seq) => {
            room.message(seq).map(|(event, message)| (event.author.key(), message.display_name.clone()))
        }
        Item::Outgoing(_) => Some((model.me.clone(), None)),
    };
    let (one, other) = (author(before), author(item));
    one.is_some()
        && one == other
        && moment(room, item).saturating_sub(moment(room, before)) < TOGETHER_MS
        && reply_to(room, item).is_none()
}

fn reply_to(room: &Room, item: Item) -> Option<u64> {
    match item {
        Item::Event(seq) => room.message(seq)?.1.reply_to,
        Item::Outgoing(number) => room.outgoing.get(&number)?.reply_to,
    }
}

/// A line over the whole width, with a few words in it.
fn rule(model: &Model, words: &str, all: usize, is_unread: bool) -> Row {
    let style = if is_unread { model.theme.bad() } else { model.theme.dim() };
    let words = format!(" {} ", cut(words, all.saturating_sub(6)));
    let left = if is_unread { all.saturating_sub(width(&words) + 2) } else { 2 };
    let right = all.saturating_sub(left + width(&words));
    let word_style = if is_unread { style.add_modifier(Modifier::BOLD) } else { style };
    vec![
        Piece::new("─".repeat(left), style),
        Piece::new(words, word_style),
        Piece::new("─".repeat(right), style),
    ]
}

/// What is before the text of the first row, and of those behind it.
fn head(
    model: &Model,
    columns: Columns,
    at_ms: u64,
    name: Option<(&str, &UserName)>,
    mark: Piece,
) -> (Row, Row) {
    let theme = model.theme;
    let mut first = vec![Piece::new(" ", theme.text())];
    if columns.time > 0 {
        let time = match name {
            Some(_) => clock::time(at_ms, &model.zone),
            None => " ".repeat(5),
        };
        first.push(Piece::new(format!("{time} "), theme.dim()));
    }
    if columns.name > 0 {
        let (text, style) = match name {
            Some((name, user)) => (cut(&one_line(name), columns.name), theme.name(user)),
            None => (String::new(), theme.text()),
        };
        let gap = columns.name.saturating_sub(width(&text));
        first.push(Piece::new(" ".repeat(gap), theme.text()));
        first.push(Piece::new(text, style));
        first.push(Piece::new(" ", theme.text()));
        first.push(mark);
        first.push(Piece::new(" ", theme.text()));
    } else {
        if let Some((name, user)) = name {
            first.push(Piece::new(one_line(name), theme.name(user)));
            first.push(Piece::new(" ", theme.text()));
        }
        if mark.text != " " {
            first.push(mark);
            first.push(Piece::new(" ", theme.text()));
        }
    }
    let rest = vec![
        Piece::new(" ", theme.text()),
        Piece::new(" ".repeat(columns.indent().saturating_sub(1)), theme.text()),
    ];
    (first, rest)
}

fn event_rows(
    model: &Model,
    room: &Room,
    event: &Event,
    follows: bool,
    columns: Columns,
    rows: &mut Vec<Row>,
) {
    let theme = model.theme;
    let EventKind::Message(message) = &event.kind else {
        let sign = match event.kind {
            EventKind::Joined => "→",
            EventKind::Left | EventKind::Kicked { .. } | EventKind::Banned { .. } => "←",
            _ => "·",
        };
        let text = one_line(&deed(event));
        let (mut first, rest) = head(model, columns, event.created_at, None, Piece::new(sign, theme.dim()));
        if columns.time > 0 {
            first[1] = Piece::new(format!("{} ", clock::time(event.created_at, &model.zone)), theme.dim());
        }
        return push_text(vec![Piece::new(text, theme.dim())], first, &rest, columns, rows);
    };
    let is_own = event.author.key() == model.me;
    let mark = if is_own { Piece::new("✓", theme.dim()) } else { Piece::new(" ", theme.text()) };
    let name = message.display_name.as_deref().unwrap_or(event.author.as_str());
    let name = (!follows).then_some((name, &event.author));
    let (mut first, rest) = head(model, columns, event.created_at, name, mark);
    if names(event, &model.me) && !is_own {
        first[0] = Piece::new("▌", theme.mention());
    }
    if let Some(target) = message.reply_to {
        quote(model, room, target, &rest, columns, rows);
    }
    body(model, message, room.pins.contains(&event.seq), first, &rest, columns, rows);
    if let Some(file) = &message.file {
        let text = format!("▤ {} · {}", one_line(&file.name), size(file.size));
        push_text(vec![Piece::new(text, theme.accent())], rest.clone(), &rest, columns, rows);
    }
    if !message.reactions.is_empty() {
        let mut pieces = vec![];
        for (emoji, users) in &message.reactions {
            let is_mine = users.iter().any(|user| user.key() == model.me);
            let style = if is_mine { theme.accent() } else { theme.dim() };
            pieces.push(Piece::new(format!("{} {}  ", one_line(emoji), users.len()), style));
        }
        push_text(pieces, rest.clone(), &rest, columns, rows);
    }
}

/// The text of a message, with its state.
fn body(
    model: &Model,
    message: &Message,
    is_pinned: bool,
    first: Row,
    rest: &Row,
    columns: Columns,
    rows: &mut Vec<Row>,
) {
    let theme = model.theme;
    if message.deleted.is_some() {
        let style = theme.dim().add_modifier(Modifier::ITALIC);
        return push_text(vec![Piece::new("this message was deleted", style)], first, rest, columns, rows);
    }
    let text = lines(&message.body).join("\n");
    let named = mentions::places(&text, |name| {
        message.mentions.iter().any(|known| known.as_str().eq_ignore_ascii_case(name))
    });
    let mut first = Some(first);
    let mut begin = 0;
    for line in text.split('\n') {
        let end = begin + line.len();
        let here = named.iter().filter(|place| (begin..end).contains(&place.start));
        let mut pieces = said(model, line, here.map(|place| place.start - begin..place.end - begin));
        begin = end + 1;
        let is_last = begin > text.len();
        if is_last && message.edited.is_some() {
            pieces.push(Piece::new(" (edited)", theme.dim()));
        }
        if is_last && is_pinned {
            pieces.push(Piece::new(" (pinned)", theme.dim()));
        }
        push_text(pieces, first.take().unwrap_or_else(|| rest.clone()), rest, columns, rows);
    }
}

fn outgoing_rows(
    model: &Model,
    room: &Room,
    number: u64,
    follows: bool,
    columns: Columns,
    rows: &mut Vec<Row>,
) {
    let theme = model.theme;
    let Some(outgoing) = room.outgoing.get(&number) else { return };
    let (sign, words, style) = match &outgoing.state {
        State::Committed => ("✓", String::new(), theme.dim()),
        State::Failed(reason) => {
            ("✗", format!("not sent: {reason} · select it and press s to send it again"), theme.bad())
        }
        State::Pending if outgoing.again => ("↻", "sending again".into(), theme.warning()),
        State::Pending if !model.is_online() => ("○", "waiting for a server".into(), theme.warning()),
        State::Pending => ("○", String::new(), theme.warning()),
    };
    let user = model.user.clone();
    let name = (!follows).then_some((user.as_str(), &user));
    let (first, rest) = head(model, columns, outgoing.at_ms, name, Piece::new(sign, style));
    if let Some(target) = outgoing.reply_to {
        quote(model, room, target, &rest, columns, rows);
    }
    let message = Message { body: outgoing.body.clone(), ..Message::default() };
    body(model, &message, false, first, &rest, columns, rows);
    if !words.is_empty() {
        push_text(vec![Piece::new(one_line(&words), style)], rest.clone(), &rest, columns, rows);
    }
}

/// The message that is answered, in one row.
fn quote(model: &Model, room: &Room, target: u64, rest: &Row, columns: Columns, rows: &mut Vec<Row>) {
    let theme = model.theme;
    let mut row = rest.clone();
    row.push(Piece::new("┌ ", theme.dim()));
    let left = columns.text().saturating_sub(2);
    match room.message(target) {
        Some((event, message)) => {
            let name = message.display_name.as_deref().unwrap_or(event.author.as_str());
            let text =
                if message.deleted.is_some() { "deleted".into() } else { lines(&message.body).join(" ") };
            let name = cut(&one_line(name), left / 2);
            let text = cut(&text, left.saturating_sub(width(&name) + 2));
            row.push(Piece::new(name, theme.name(&event.author).add_modifier(Modifier::DIM)));
            row.push(Piece::new(format!(": {text}"), theme.dim()));
        }
        None => row.push(Piece::new(cut("an earlier message", left), theme.dim())),
    }
    rows.push(row);
}

/// A line of a message: addresses are links, and mentions are emphasised.
fn said(model: &Model, line: &str, named: impl Iterator<Item = Range<usize>>) -> Vec<Piece> {
    let theme = model.theme;
    let links = links(line).into_iter().map(|place| (place, true));
    let mut marks: Vec<(Range<usize>, bool)> = links.chain(named.map(|place| (place, false))).collect();
    marks.sort_by_key(|(place, _)| place.start);
    let mut pieces = vec![];
    let mut from = 0;
    for (place, is_link) in marks {
        // A mention in an address is part of the address.
        let Some(plain) = line.get(from..place.start) else { continue };
        let text = &line[place.clone()];
        from = place.end;
        if !plain.is_empty() {
            pieces.push(Piece::new(plain, theme.text()));
        }
        pieces.push(if is_link {
            Piece { text: text.into(), style: theme.link(), link: Some(text.into()) }
        } else {
            Piece::new(text, name_style(model, &text[1..]))
        });
    }
    if from < line.len() {
        pieces.push(Piece::new(&line[from..], theme.text()));
    }
    pieces
}

fn name_style(model: &Model, name: &str) -> Style {
    match UserName::new(name) {
        Some(user) if user.key() != model.me && !mentions::is_group(name) => model.theme.name(&user),
        _ => model.theme.mention(),
    }
}

/// Wraps `pieces` behind `first`, and behind `rest` in the rows that follow.
fn push_text(pieces: Vec<Piece>, first: Row, rest: &Row, columns: Columns, rows: &mut Vec<Row>) {
    let mut first = Some(first);
    // Without a column of its own, the name is part of the first row.
    let (fixed, mut inline) = match columns.name {
        0 => {
            let row = first.take().unwrap_or_default();
            let at = row.len().min(if columns.time > 0 { 2 } else { 1 });
            let (fixed, inline) = row.split_at(at);
            (fixed.to_vec(), inline.to_vec())
        }
        _ => (first.take().unwrap_or_default(), vec![]),
    };
    // Rows that only go on have their indentation in the second piece.
    inline.retain(|piece| !(piece.text.trim().is_empty() && piece.text.len() > 1));
    inline.extend(pieces);
    for (at, row) in wrap(&inline, columns.text()).into_iter().enumerate() {
        let mut whole = if at == 0 { fixed.clone() } else { rest.clone() };
        whole.extend(row);
        rows.push(whole);
    }
}
