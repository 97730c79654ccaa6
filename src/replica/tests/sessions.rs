//! Whose a connection is, what it gets, and what it costs others.

use core::net::IpAddr;

use super::{JOIN, chat, cluster::Cluster, field};
use crate::{chat::command::BOTS_MAX, config::Auth, protocol::status::Role};

const REGISTER: &str = r#"{"msg_type":"register","data":{"username":"alice","password":"correct horse"}}"#;
const LOGIN: &str = r#"{"msg_type":"login","data":{"username":"alice","password":"correct horse"}}"#;

#[test]
fn who_posts_by_a_hook_hears_nothing_of_the_room() {
    let mut cluster = Cluster::led_by_the_last(1);
    let room = r#"{"msg_type":"create_join","sender_id":"alice","data":{"room":"lobby","private":true}}"#;
    cluster.say(1, 1, &[room]);
    cluster.run_ms(40);
    cluster.heard(1, 1);
    cluster.say(1, 1, &[r#"{"msg_type":"create_hook","data":{"room":"lobby","username":"hook"}}"#]);
    cluster.run_ms(40);
    let answers = cluster.answers(1, 1);
    let token = answers[0]["data"]["token"].as_str().expect("a token");
    let post = format!(r#"{{"msg_type":"hook_post","data":{{"token":"{token}","body":"built"}}}}"#);
    cluster.say(1, 2, &[&post]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(1, 2), "for"), ["hook_post"]);
    cluster.say(1, 1, &[&chat("a")]);
    cluster.run_ms(40);
    assert!(cluster.heard(1, 2).is_empty());
}

#[test]
fn a_guest_who_registers_is_still_reached_by_what_ends_a_membership() {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.say(1, 1, &[&JOIN.replace("alice", "bob")]);
    cluster.run_ms(40);
    cluster.say(1, 2, &[JOIN, REGISTER]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(1, 2), "for"), ["create_join", "register"]);
    // Nothing is done for the name before it is logged in.
    cluster.say(1, 2, &[r#"{"msg_type":"members","data":{"room":"lobby"}}"#, &chat("a")]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(1, 2), "code"), ["not_authenticated", "not_authenticated"]);
    cluster.say(1, 2, &[r#"{"msg_type":"login","data":{"username":"alice"}}"#]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(1, 2), "code"), ["name_taken"]);
    cluster.say(1, 1, &[r#"{"msg_type":"kick","data":{"room":"lobby","username":"alice"}}"#]);
    cluster.run_ms(400);
    cluster.heard(1, 2);
    cluster.say(1, 1, &[&chat("b").replace("alice", "bob")]);
    cluster.run_ms(400);
    assert_eq!(cluster.heard(1, 2), [] as [serde_json::Value; 0]);
}

#[test]
fn a_guest_who_registers_and_logs_in_misses_nothing() {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.say(1, 1, &[&JOIN.replace("alice", "bob")]);
    cluster.say(1, 2, &[JOIN, REGISTER]);
    cluster.run_ms(40);
    cluster.heard(1, 2);
    cluster.say(1, 1, &[&chat("a").replace("alice", "bob")]);
    cluster.run_ms(40);
    cluster.say(1, 2, &[LOGIN]);
    cluster.say(1, 1, &[&chat("b").replace("alice", "bob")]);
    cluster.run_ms(40);
    cluster.say(1, 2, &[&chat("c")]);
    cluster.run_ms(400);
    let heard = cluster.heard(1, 2);
    let seqs: Vec<u64> = heard
        .iter()
        .filter(|line| line["msg_type"] == "chat")
        .filter_map(|l| l["data"]["seq"].as_u64())
        .collect();
    assert_eq!(seqs, [3, 4, 5], "{heard:?}");
    assert_eq!(cluster.replica(1).clients(), 2, "who logs in again counts once");
    cluster.hang_up(1, 2);
    assert_eq!(cluster.replica(1).clients(), 1);
}

#[test]
fn a_login_behind_what_timed_out_is_voided_and_decided_without_harm() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[REGISTER]);
    cluster.run_ms(40);
    cluster.kill(1);
    cluster.kill(2);
    cluster.run_ms(1_000);
    assert_ne!(cluster.role(3), Role::Leader);
    let post =
        format!(r#"{{"msg_type":"hook_post","data":{{"token":"snt_{}","body":"a"}}}}"#, "A".repeat(43));
    cluster.say(3, 2, &[&post]);
    cluster.run_ms(1_000);
    cluster.say(3, 2, &[LOGIN]);
    cluster.run_ms(4_100);
    assert_eq!(field(&cluster.answers(3, 2), "code"), ["unavailable"]);
    assert!(cluster.is_closed(3, 2));
    // The server does not know yet that it is closed when the log decides.
    cluster.start(1);
    cluster.run_ms(300);
    cluster.elect(3);
    cluster.run_ms(40);
    cluster.say(3, 3, &[LOGIN]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(3, 3), "for"), ["login"]);
}

fn login(username: &str) -> String {
    format!(r#"{{"msg_type":"login","data":{{"username":"{username}","password":"wrong horse"}}}}"#)
}

fn address(number: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, number]))
}

#[test]
fn a_password_is_hashed_only_for_who_may_set_it() {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.say(1, 1, &[JOIN, REGISTER]);
    cluster.run_ms(40);
    let hashed = cluster.hashed;
    assert_eq!(hashed, 1);
    for (line, code) in [
        (REGISTER, "name_taken"),
        (r#"{"msg_type":"set_password","data":{"username":"alice","password":"other horse"}}"#, "forbidden"),
        (r#"{"msg_type":"room_password","data":{"room":"lobby","password":"other horse"}}"#, "forbidden"),
        (r#"{"msg_type":"change_password","data":{"old":"correct horse","new":"other horse"}}"#, "forbidden"),
        (r#"{"msg_type":"close_account","data":{"password":"correct horse"}}"#, "forbidden"),
    ] {
        cluster.say(1, 2, &[r#"{"msg_type":"login","data":{"username":"mallory"}}"#, line]);
        cluster.run_ms(40);
        assert_eq!(field(&cluster.answers(1, 2), "code")[1..], [code], "{line}");
    }
    assert_eq!(cluster.hashed, hashed);
}

#[test]
fn passwords_that_are_set_are_counted_by_address() {
    let mut cluster = Cluster::new(1);
    cluster.limits.passwords_per_hour = 2;
    cluster.start(1);
    cluster.run_ms(400);
    cluster.elect(1);
    let room = |number: usize| {
        format!(
            r#"{{"msg_type":"create_join","sender_id":"alice","data":{{"room":"r{number}","password":"correct horse"}}}}"#
        )
    };
    for number in 1..=3 {
        cluster.say_from(1, number as u64, address(1), &[&room(number)]);
        cluster.run_ms(40);
    }
    cluster.say_from(1, 4, address(2), &[&room(4)]);
    cluster.run_ms(40);
    for (conn, created) in [(1, true), (2, true), (3, false), (4, true)] {
        let answers = cluster.answers(1, conn);
        assert_eq!(answers[0]["data"]["created"] == true, created, "{conn}: {answers:?}");
        assert_eq!(answers[0]["data"]["code"] == "rate_limited", !created, "{conn}: {answers:?}");
    }
    assert_eq!(cluster.hashed, 3);
}

#[test]
fn an_address_has_a_share_of_the_queue_and_hanging_up_gives_nothing_back() {
    let mut cluster = Cluster::led_by_the_last(1);
    let share = Auth::default().hashes_per_address as u64;
    cluster.unhashed = Some(Vec::new());
    for conn in 1..=share + 5 {
        cluster.say_from(1, conn, address(1), &[&login(&format!("u{conn}"))]);
        cluster.settle();
        if conn % 2 == 0 {
            cluster.hang_up(1, conn);
        }
    }
    let waiting = |cluster: &Cluster| cluster.unhashed.as_ref().map_or(0, Vec::len) as u64;
    assert_eq!(waiting(&cluster), share);
    assert_eq!(field(&cluster.answers(1, share + 1), "code"), ["overloaded"]);
    cluster.say_from(1, 90, address(2), &[&login("alice")]);
    cluster.settle();
    assert_eq!(waiting(&cluster), share + 1, "others have their share");
    cluster.hash_all();
    assert_eq!(field(&cluster.answers(1, 1), "code"), ["bad_credentials"]);
    cluster.say_from(1, 91, address(1), &[&login("alice")]);
    cluster.settle();
    assert_eq!(field(&cluster.answers(1, 91), "code"), ["bad_credentials"], "its share is free again");
}

#[test]
fn a_guess_counts_though_the_guesser_hangs_up_before_it_is_checked() {
    let mut cluster = Cluster::led_by_the_last(1);
    for conn in 1..=5 {
        cluster.unhashed = Some(Vec::new());
        cluster.say_from(1, conn, address(1), &[&login("alice")]);
        cluster.settle();
        cluster.hang_up(1, conn);
        cluster.hash_all();
    }
    cluster.say_from(1, 6, address(1), &[&login("alice")]);
    cluster.settle();
    assert_eq!(field(&cluster.answers(1, 6), "code"), ["rate_limited"]);
    assert_eq!(cluster.hashed, 5);
}

/// The answer to a sixth wrong password in a row from an address from which alice has logged in, after
/// `ending`.
fn sixth_guess_after(ending: &str) -> String {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.say_from(1, 1, address(1), &[REGISTER]);
    cluster.run_ms(40);
    cluster.say_from(1, 1, address(1), &[LOGIN]);
    cluster.run_ms(40);
    cluster.say_from(1, 1, address(1), &[ending]);
    cluster.run_ms(40);
    assert_eq!(cluster.answers(1, 1).last().expect("an answer")["msg_type"], "ack", "{ending}");
    for conn in 2..=7 {
        cluster.say_from(1, conn, address(1), &[&login("alice")]);
        cluster.run_ms(40);
    }
    cluster.answers(1, 7)[0]["data"]["code"].as_str().expect("a refusal").into()
}

#[test]
fn where_an_account_is_at_home_is_forgotten_with_its_password_and_not_with_a_logout() {
    let change = r#"{"msg_type":"change_password","data":{"old":"correct horse","new":"other horse"}}"#;
    assert_eq!(sixth_guess_after(r#"{"msg_type":"logout"}"#), "bad_credentials");
    assert_eq!(sixth_guess_after(r#"{"msg_type":"logout","data":{"everywhere":true}}"#), "bad_credentials");
    assert_eq!(sixth_guess_after(change), "rate_limited");
}

#[test]
fn names_that_nobody_used_before_are_counted_by_address() {
    let mut cluster = Cluster::new(1);
    cluster.limits.new_names_per_hour = 4;
    cluster.start(1);
    cluster.run_ms(400);
    cluster.elect(1);
    let tell = |to: &str| {
        format!(
            r#"{{"msg_type":"chat","sender_id":"alice","data":{{"to":"{to}","body":"a","client_msg_id":"{to}"}}}}"#
        )
    };
    // Alice, and three whom she invites; what she sends in one go is hers once.
    let invite =
        |name: &str| format!(r#"{{"msg_type":"invite","data":{{"room":"lobby","username":"{name}"}}}}"#);
    cluster.say_from(1, 1, address(1), &[JOIN, &chat("a"), &chat("b"), &invite("n1"), &invite("n2")]);
    cluster.say_from(1, 1, address(1), &[&invite("n3"), &invite("n4")]);
    cluster.run_ms(40);
    let answers = cluster.answers(1, 1);
    assert!(answers[..6].iter().all(|answer| answer["msg_type"] == "ack"), "{answers:?}");
    assert_eq!(answers[6]["data"]["code"], "rate_limited");
    // Others come from elsewhere, and she may write to users whom the servers know.
    cluster.say_from(1, 2, address(1), &[&JOIN.replace("alice", "eve")]);
    cluster.say_from(1, 3, address(2), &[&JOIN.replace("alice", "eve")]);
    cluster.run_ms(40);
    cluster.say_from(1, 1, address(1), &[&tell("eve")]);
    cluster.run_ms(40);
    assert_eq!(cluster.answers(1, 1)[0]["msg_type"], "ack");
    assert_eq!(field(&cluster.answers(1, 2), "code"), ["rate_limited"]);
    assert_eq!(cluster.answers(1, 3)[0]["msg_type"], "ack");
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Registers and logs in, and gives the token.
fn token_of(cluster: &mut Cluster, conn: u64) -> String {
    cluster.say(1, conn, &[REGISTER]);
    cluster.run_ms(40);
    cluster.say(1, conn, &[LOGIN]);
    cluster.run_ms(40);
    let answers = cluster.answers(1, conn);
    answers[1]["data"]["token"].as_str().expect("a token").into()
}

fn let_a_day_pass(cluster: &mut Cluster) {
    cluster.now.mono_ms += DAY_MS;
    cluster.now.wall_ms += DAY_MS;
    cluster.run_ms(100);
}

#[test]
fn a_device_that_stays_connected_for_longer_than_a_token_may_idle_is_let_in_again() {
    let mut cluster = Cluster::led_by_the_last(1);
    let token = token_of(&mut cluster, 1);
    (0..40).for_each(|_| let_a_day_pass(&mut cluster));
    assert!(!cluster.is_closed(1, 1));
    cluster.say(1, 2, &[&format!(r#"{{"msg_type":"login","data":{{"token":"{token}"}}}}"#)]);
    cluster.run_ms(40);
    assert_eq!(cluster.answers(1, 2)[0]["msg_type"], "ack");
}

#[test]
fn a_session_that_has_expired_ends_its_connections_but_for_a_clock_that_jumps() {
    let mut cluster = Cluster::led_by_the_last(1);
    token_of(&mut cluster, 1);
    cluster.now.wall_ms += 400 * DAY_MS;
    cluster.run_ms(2_000);
    cluster.now.mono_ms += 120_000;
    cluster.now.wall_ms += 120_000;
    cluster.run_ms(2_000);
    assert!(!cluster.is_closed(1, 1), "such a clock is not believed");
    cluster.now.wall_ms -= 400 * DAY_MS;
    cluster.run_ms(2_000);
    (0..364).for_each(|_| let_a_day_pass(&mut cluster));
    assert!(!cluster.is_closed(1, 1));
    cluster.heard(1, 1);
    (0..2).for_each(|_| let_a_day_pass(&mut cluster));
    assert!(cluster.is_closed(1, 1));
    let heard = cluster.heard(1, 1);
    assert_eq!(heard.last().expect("a push")["msg_type"], "session_ended", "{heard:?}");
}

#[test]
fn bots_count_among_the_accounts_registered_from_an_address() {
    let mut cluster = Cluster::new(1);
    cluster.limits.registrations_per_hour = 3;
    cluster.start(1);
    cluster.run_ms(400);
    cluster.elect(1);
    cluster.say_from(1, 1, address(1), &[REGISTER]);
    cluster.run_ms(40);
    cluster.say_from(1, 1, address(1), &[LOGIN, JOIN]);
    let bot = |name: &str| format!(r#"{{"msg_type":"create_bot","data":{{"username":"{name}"}}}}"#);
    let hook = r#"{"msg_type":"create_hook","data":{"room":"lobby","username":"b2"}}"#;
    cluster.run_ms(40);
    cluster.heard(1, 1);
    cluster.say_from(1, 1, address(1), &[&bot("b1"), hook, &bot("b3"), &bot("b1")]);
    cluster.run_ms(40);
    let answers = cluster.answers(1, 1);
    let refused: Vec<bool> = answers.iter().map(|answer| answer["data"]["code"] == "rate_limited").collect();
    assert_eq!(refused, [false, false, true, false], "a bot that is there gets another token: {answers:?}");
    let token = |place: usize| answers[place]["data"]["token"].as_str().expect("a token");
    for (conn, token, is_good) in [(2, token(0), false), (3, token(3), true)] {
        cluster.say(1, conn, &[&format!(r#"{{"msg_type":"login","data":{{"token":"{token}"}}}}"#)]);
        cluster.run_ms(40);
        assert_eq!(cluster.answers(1, conn)[0]["msg_type"] == "ack", is_good);
    }
}

#[test]
fn a_user_makes_so_many_bots_and_no_more() {
    let mut cluster = Cluster::led_by_the_last(1);
    token_of(&mut cluster, 1);
    let bot = |number: usize| {
        format!(r#"{{"msg_type":"create_bot","data":{{"username":"b{number}"}},"request_id":{number}}}"#)
    };
    let lines: Vec<String> = (0..=BOTS_MAX).chain([0]).map(bot).collect();
    cluster.say(1, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    cluster.run_ms(1_000);
    let answers = cluster.answers(1, 1);
    let forbidden = |answer: &serde_json::Value| answer["data"]["code"] == "forbidden";
    assert_eq!(answers.len(), BOTS_MAX + 2);
    let refused: Vec<usize> = (0..answers.len()).filter(|place| forbidden(&answers[*place])).collect();
    assert_eq!(refused, [BOTS_MAX], "one that is there is made anew");
}
