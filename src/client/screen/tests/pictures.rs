//! What the screen looks like, compared with the files in `snapshots/`.

use ratatui::{
    crossterm::event::KeyCode,
    layout::Size,
    style::{Color, Modifier},
};

use super::{
    svg::svg,
    world::{World, event, message, room, rows, same, user, with},
};
use crate::{
    client::{
        screen::{acts::Input, keys, model::preferences::Preferences, news::News},
        terminal::commands::COMMANDS,
    },
    protocol::{EventKind, answer::Hit, text::is_harmful},
};

#[test]
fn a_team_at_work() {
    World::team(100, 30).compare("team");
    World::team(80, 24).compare("team-80x24");
}

#[test]
fn columns_fold_away_one_by_one() {
    World::team(57, 20).compare("narrow-57");
    World::team(40, 16).compare("narrow-40");
    World::team(24, 12).compare("narrow-24");
}

#[test]
fn own_messages_show_what_becomes_of_them() {
    let mut world = World::team(80, 20);
    world.key(KeyCode::Esc);
    let queued = |id: &str, body: &str| News::Queued {
        room: room("lobby"),
        client_msg_id: id.into(),
        body: body.into(),
        reply_to: None,
    };
    world.news(queued("a-1", "this one is on its way"));
    world.news(queued("a-2", "this one is committed"));
    world.news(News::Acked { room: room("lobby"), client_msg_id: "a-2".into(), seq: 14 });
    let (client_msg_id, body) = ("a-3".into(), "this one is far too long".into());
    let reason = "the message has 20000 bytes; at most 16384 are sent".into();
    world.news(News::Refused { room: room("lobby"), client_msg_id, body, reason });
    world.compare("pending");
    // The server is lost while they are on their way.
    let reason = "server1: it fell silent".into();
    world.news(News::Offline { reason, no_majority: false });
    world.news(News::Retry { in_ms: 1_900 });
    world.news(queued("a-4", "and this one was typed without a server"));
    world.compare("failover");
    let reason = "server2: it has no majority".into();
    world.news(News::Offline { reason, no_majority: true });
    world.compare("no-majority");
    let text = "server1 is gone, now on server2 (0.31 s)".into();
    world.news(News::Online { server: "server2".into(), text, again: true });
    world.news(News::Leader(Some("server2".into())));
    for (seq, id, body) in [
        (13, "a-1", "this one is on its way"),
        (14, "a-2", "this one is committed"),
        (15, "a-4", "and this one was typed without a server"),
    ] {
        world.happens(with(message("lobby", seq, "alice", 0, body), |message| {
            message.client_msg_id = id.into()
        }));
    }
    world.compare("after-failover");
}

#[test]
fn wide_letters_keep_their_columns() {
    let mut world = World::new(50, 18);
    world.online();
    let texts = [
        "漢字かな交じり文はどこでも折り返せるので、行の端まで使います。",
        "e\u{301}\u{327} combining, and A\u{30a}ngstro\u{308}m",
        "👨\u{200d}👩\u{200d}👧\u{200d}👦 family, 👍🏽 tone, 🇩🇪 flag, ❤\u{fe0f} heart",
        "ｈａｌｆ and ﾊﾝｶｸ, \u{200b}zero\u{200b}width",
        "tab\there, العربية and עברית",
    ];
    let events: Vec<_> =
        (1..).zip(texts).map(|(seq, text)| message("lobby", seq, "bob", 60 - 10 * seq, text)).collect();
    world.join("lobby", "漢字 topic", &events);
    world.types("漢字 e\u{301} 👍");
    world.compare("wide");
}

#[test]
fn what_lies_over_the_screen() {
    let mut world = World::team(80, 24);
    world.key(KeyCode::Char('?'));
    world.compare("help");
    (0..8).for_each(|_| world.key(KeyCode::PageDown));
    world.compare("help-end");
    world.key(KeyCode::Esc);
    world.ctrl('k');
    world.types("an");
    world.compare("switcher");
    world.key(KeyCode::Esc);
    world.ctrl('f');
    world.compare("search-empty");
    world.types("cake");
    world.key(KeyCode::Enter);
    let hit = |event, snippet: &str| Hit { event, snippet: snippet.into() };
    let hits = vec![
        hit(
            message("@alice,bob", 1, "bob", 20, "psst: cake in the kitchen"),
            "psst: **cake** in the kitchen",
        ),
        hit(message("lobby", 3, "carol", 9_000, "no cake today"), "no **cake** today"),
    ];
    world.news(News::Found { search: 2, hits, span: Some("from 2026-11-25 00:00 on, UTC".into()) });
    world.compare("search");
    world.key(KeyCode::Esc);
    world.types("/jo");
    world.compare("offers");
}

#[test]
fn ten_thousand_messages_are_one_screen() {
    let mut world = World::new(80, 24);
    world.online();
    let events: Vec<_> = (1..=10_000)
        .map(|seq| message("lobby", seq, "bob", 20_000 - 2 * seq, &format!("message number {seq}")))
        .collect();
    world.join("lobby", "", &events);
    world.compare("ten-thousand");
    (0..100).for_each(|_| world.key(KeyCode::PageUp));
    world.compare("ten-thousand-back");
}

#[test]
fn every_size_can_be_drawn_and_typed_in() {
    let mut world = World::team(100, 30);
    world.ctrl('s');
    for overlay in [None, Some('?'), Some('k'), Some('f')] {
        match overlay {
            Some('?') => world.key(KeyCode::F(1)),
            Some(letter) => world.ctrl(letter),
            None => {}
        }
        for width in (1..=30).chain([57, 58, 87, 88, 200]) {
            for height in (1..=12).chain([60]) {
                world.handle(Input::Resize(Size::new(width, height)));
                world.key(KeyCode::Down);
                world.draw();
            }
        }
        world.key(KeyCode::Esc);
    }
    world.handle(Input::Resize(Size::new(0, 0)));
    world.key(KeyCode::PageUp);
}

#[test]
fn nothing_that_acts_on_a_terminal_comes_from_others() {
    let evil =
        "\u{1b}[2J\u{1b}]8;;http://x\u{7}\u{9b}31m\u{202e}gpj.exe\r\u{85}\u{2028}\u{0}x\nsecond\u{1b}[A";
    let mut world = World::new(100, 30);
    world.online();
    let events = [
        with(message("lobby", 1, "bob", 9, evil), |message| {
            message.display_name = Some(evil.into());
            message.reactions.insert(evil.into(), vec![user("bob")]);
            message.file = Some(super::world::file(evil, 9));
        }),
        with(message("lobby", 2, "bob", 8, evil), |message| message.reply_to = Some(1)),
        event("lobby", 3, "bob", 7, EventKind::Topic { topic: evil.into() }),
    ];
    world.join("lobby", evil, &events);
    let mut screens = vec![world.draw().0];
    world.news(News::Said { title: evil.into(), lines: vec![evil.into(), evil.into()] });
    screens.push(world.draw().0);
    world.key(KeyCode::Esc);
    world.news(News::Offline { reason: evil.into(), no_majority: false });
    world.ctrl('f');
    world.types("x");
    world.key(KeyCode::Enter);
    let hit = Hit { event: message("lobby", 1, "bob", 9, evil), snippet: evil.into() };
    world.news(News::Found { search: 2, hits: vec![hit], span: None });
    screens.push(world.draw().0);
    world.news(News::SearchFailed { search: 2, reason: evil.into() });
    screens.push(world.draw().0);
    world.key(KeyCode::Esc);
    world.handle(Input::Paste(evil.into()));
    screens.push(world.draw().0);
    for screen in screens {
        assert!(rows(&screen).iter().any(|row| row.contains("gpj.exe")), "{:#?}", rows(&screen));
        let harmful =
            screen.content().iter().map(|cell| cell.symbol()).find(|text| text.contains(is_harmful));
        assert_eq!(harmful, None);
    }
}

#[test]
fn without_colours_there_are_none_and_with_them_sixteen() {
    for colours in [false, true] {
        let mut world = World::team_with(World::with(100, 30, colours, Preferences::default()));
        let mut screens = vec![world.draw().0];
        world.ctrl('k');
        screens.push(world.draw().0);
        let cells: Vec<_> = screens.iter().flat_map(|screen| screen.content()).collect();
        let is_plain = |colour: Color| colour == Color::Reset;
        let is_named = |colour: Color| !matches!(colour, Color::Rgb(..) | Color::Indexed(_));
        assert!(cells.iter().all(|cell| is_named(cell.fg) && is_plain(cell.bg)));
        assert_eq!(cells.iter().all(|cell| is_plain(cell.fg)), !colours);
        // Everything that matters can be seen without colours, too.
        assert!(cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)));
    }
}

/// Compares the picture in the README with what the program shows.
#[test]
fn the_picture_in_the_readme_is_true() {
    let mut world = World::team(104, 30);
    world.news(News::Typing { room: room("lobby"), user: user("bob") });
    world.types("After lunch it ");
    let (buffer, drawn) = world.draw();
    same("docs/images/terminal-client.svg", &svg(&buffer, drawn.cursor));
}

/// The manual names every key and command as the program has them.
#[test]
fn the_manual_is_made_from_the_tables() {
    let mut commands = "| command | what it does |\n|---|---|\n".to_owned();
    for command in COMMANDS {
        let usage = command.usage().to_string().replace('|', "\\|");
        commands += &format!("| `{usage}` | {} |\n", command.does);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLIENT.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let between = |from: &str, to: &str| {
        let start = manual.find(from).unwrap_or_else(|| panic!("docs/CLIENT.md has no {from}")) + from.len();
        (start, start + manual[start..].find(to).unwrap_or_else(|| panic!("docs/CLIENT.md has no {to}")))
    };
    let mut whole = manual.clone();
    // From the end to the start, so that the places stay right.
    for (from, to, text) in [
        (
            "<!-- commands: made from src/client/terminal/commands.rs -->\n",
            "<!-- end of commands -->",
            commands,
        ),
        ("<!-- keys: made from src/client/screen/keys.rs -->\n", "<!-- end of keys -->", keys::manual()),
    ] {
        let (start, end) = between(from, to);
        whole.replace_range(start..end, &format!("\n{}\n", text.trim()));
    }
    same("docs/CLIENT.md", &whole);
}
