//! What is typed: messages, drafts, commands, and what completes them.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::client::{
    screen::{
        acts::Input,
        news::{News, Wish},
    },
    terminal::secrets::PasswordKind,
};

use super::world::{World, current, room, sends};

#[test]
fn what_is_typed_is_sent_and_a_draft_stays_in_its_room() {
    let mut world = World::team(100, 30);
    world.types("half a thought");
    world.alt('2');
    assert_eq!(current(&world), "dev");
    world.types("other");
    world.alt('3');
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("lobby", "half a thought")]);
    world.alt('2');
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("dev", "other")]);
    assert!(world.model.current_room().unwrap().composer.is_empty());
    world.types("//slashed");
    world.key(KeyCode::Enter);
    world.types("two");
    world.handle(Input::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT)));
    world.types("lines");
    world.key(KeyCode::Enter);
    world.types("   ");
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("dev", "/slashed"), ("dev", "two\nlines")]);
}

#[test]
fn many_lines_are_sent_after_a_question_only() {
    let mut world = World::team(100, 30);
    let lines = "1\n2\n3\n4\n5\n6\n";
    world.handle(Input::Paste(lines.into()));
    world.key(KeyCode::Enter);
    assert!(world.text().contains("Send 6 lines as one message?"));
    world.key(KeyCode::Char('n'));
    assert_eq!(sends(&world.take_wishes()), []);
    assert!(!world.model.current_room().unwrap().composer.is_empty(), "it is still there");
    world.key(KeyCode::Enter);
    world.key(KeyCode::Enter);
    assert_eq!(sends(&world.take_wishes()), [("lobby", lines)]);
}

#[test]
fn up_edits_the_last_own_message_and_escape_brings_the_draft_back() {
    let mut world = World::team(100, 30);
    world.key(KeyCode::Up);
    assert_eq!(world.model.current_room().unwrap().composer.text(), "Fine with me");
    world.key(KeyCode::Esc);
    assert!(world.model.current_room().unwrap().composer.is_empty());
    world.types("a draft");
    world.key(KeyCode::Up);
    assert_eq!(world.model.current_room().unwrap().composer.text(), "a draft", "only in an empty input");
    world.alt('2');
    world.key(KeyCode::Up);
    assert!(world.text().contains("you have said nothing here yet that could be edited"));
}

#[test]
fn commands_go_their_way_and_passwords_are_not_remembered() {
    let mut world = World::team(100, 30);
    let command = |wishes: Vec<Wish>| {
        wishes.into_iter().find_map(|wish| match wish {
            Wish::Command { line, secrets, .. } => Some((line, secrets)),
            _ => None,
        })
    };
    world.types("/topic more tea");
    world.key(KeyCode::Enter);
    assert_eq!(command(world.take_wishes()), Some(("/topic more tea".into(), vec![])));
    world.types("/password");
    world.key(KeyCode::Enter);
    world.take_wishes();
    let (line, wanted) = ("/password".to_owned(), PasswordKind::Next);
    world.news(News::SecretNeeded { line, secrets: vec!["old".into()], wanted });
    world.types("hunter22");
    assert!(!world.text().contains("hunter") && world.text().contains("••••••••"));
    world.key(KeyCode::Enter);
    world.types("hunter22");
    world.key(KeyCode::Enter);
    let asked = command(world.take_wishes());
    assert_eq!(asked, Some(("/password".into(), vec!["old".into(), "hunter22".into()])));
    world.types("/join den hunter22");
    world.key(KeyCode::Enter);
    world.ctrl('p');
    assert_eq!(world.model.current_room().unwrap().composer.text(), "/password");
    world.ctrl('c');
    world.news(News::Said { title: "/who".into(), lines: vec!["* in lobby: alice".into()] });
    assert!(world.text().contains("in lobby: alice"));
}

#[test]
fn tab_completes_commands_names_and_rooms() {
    let mut world = World::team(100, 30);
    for (typed, completed) in [
        ("/jo", "/join "),
        ("/join de", "/join dev "),
        ("hello @ca", "hello @carol "),
        ("hello Ca", "hello @carol "),
        ("/kick da", "/kick dave "),
        ("/sea", "/search "),
        ("/set", "/set "),
    ] {
        world.ctrl('c');
        world.types(typed);
        world.key(KeyCode::Tab);
        assert_eq!(world.model.current_room().unwrap().composer.text(), completed, "{typed}");
    }
    world.ctrl('c');
    world.types("/send ./a b");
    world.key(KeyCode::Tab);
    let wish = Wish::Paths { start: 6, text: "./a b".into() };
    assert!(world.take_wishes().contains(&wish));
    world.news(News::Paths { start: 6, candidates: vec!["./a b.txt".into()] });
    assert_eq!(world.model.current_room().unwrap().composer.text(), "/send ./a b.txt");
}

#[test]
fn ctrl_c_empties_and_then_ends() {
    let mut world = World::team(100, 30);
    world.types("text");
    world.ctrl('c');
    world.ctrl('p');
    assert_eq!(world.model.current_room().unwrap().composer.text(), "text", "it is not lost");
    world.ctrl('c');
    world.ctrl('c');
    assert!(!world.take_wishes().contains(&Wish::Quit));
    world.types("x");
    world.ctrl('c');
    world.ctrl('c');
    assert!(!world.take_wishes().contains(&Wish::Quit), "something was done in between");
    world.ctrl('c');
    assert!(world.take_wishes().contains(&Wish::Quit));
}

#[test]
fn what_was_written_in_the_editor_is_in_the_input() {
    let mut world = World::team(100, 30);
    world.types("a beginning");
    world.ctrl('x');
    assert!(world.take_wishes().contains(&Wish::Editor("a beginning".into())));
    world.handle(Input::Written("a beginning\nand an end\n".into()));
    assert_eq!(world.model.current_room().unwrap().composer.text(), "a beginning\nand an end");
    world.handle(Input::Failed("cannot start vi".into()));
    assert!(world.text().contains("cannot start vi"));
}

#[test]
fn a_message_that_was_refused_can_be_sent_again() {
    let mut world = World::team(100, 30);
    let (client_msg_id, body) = ("a-1".to_owned(), "too soon".to_owned());
    world.news(News::Queued {
        room: room("lobby"),
        client_msg_id: client_msg_id.clone(),
        body: body.clone(),
        reply_to: None,
    });
    world.news(News::Refused { room: room("lobby"), client_msg_id, body, reason: "you are muted".into() });
    assert!(world.text().contains("✗ too soon") && world.text().contains("you are muted"));
    world.ctrl('s');
    world.key(KeyCode::Char('s'));
    assert_eq!(sends(&world.take_wishes()), [("lobby", "too soon")]);
    assert!(!world.text().contains("too soon"));
}
