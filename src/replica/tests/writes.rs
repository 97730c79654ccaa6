//! Writes: in their order, once, and whatever becomes of the leader.

use serde_json::Value;

use crate::{config::Followers, protocol::status::Role};

use super::{JOIN, chat, cluster::Cluster, field};

#[test]
fn a_follower_serves_writes_in_order_and_repeats_get_their_old_place() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN, &chat("a"), &chat("b"), &chat("a")]);
    cluster.run_ms(40);
    let answers = cluster.answers(1, 1);
    assert_eq!(field(&answers, "for"), ["create_join", "chat", "chat", "chat"]);
    assert_eq!(field(&answers, "seq")[1..], [2, 3, 2]);
    assert_eq!(field(&answers, "duplicate")[1..], [false, false, true]);
}

#[test]
fn what_waited_for_a_dead_leader_is_committed_once_by_the_next() {
    let mut cluster = Cluster::with_alice_at(1);
    // The leader is gone before these reach it.
    cluster.kill(3);
    cluster.say(1, 1, &[&chat("a"), &chat("b")]);
    cluster.run_ms(100);
    assert!(cluster.answers(1, 1).is_empty());
    cluster.elect(2);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(1, 1), "seq"), [2, 3]);
    cluster.start(3);
    cluster.run_ms(200);
    assert_eq!(cluster.replica(3).state(), cluster.replica(1).state());
}

#[test]
fn without_a_majority_the_outcome_is_unknown_and_the_connection_ends() {
    let mut cluster = Cluster::with_alice_at(3);
    cluster.kill(1);
    cluster.kill(2);
    cluster.say(3, 1, &[&chat("a")]);
    cluster.run_ms(5_100);
    let answers = cluster.answers(3, 1);
    assert_eq!(field(&answers, "code"), ["unavailable"]);
    assert!(cluster.is_closed(3, 1));
    assert_ne!(cluster.role(3), Role::Leader, "a leader without a majority steps down");
    // It was in the log already, so it may happen; sent again, it happens once.
    cluster.start(1);
    cluster.run_ms(300);
    cluster.elect(3);
    cluster.say(3, 2, &[JOIN, &chat("a")]);
    cluster.run_ms(40);
    let answers = cluster.answers(3, 2);
    assert_eq!(answers[1]["data"]["seq"], 2);
}

#[test]
fn nothing_overtakes_a_message_that_was_sent_elsewhere_in_its_turn() {
    let mut cluster = Cluster::new(3);
    cluster.followers = Followers::Redirect;
    (1..=3).for_each(|number| cluster.start(number));
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(40);
    cluster.heard(3, 1);
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.say(3, 1, &[&chat("a")]);
    cluster.run_ms(700);
    assert_ne!(cluster.role(3), Role::Leader, "it has lost its majority");
    // There is no server to send the client to, and that is said in its turn: after the answer to a.
    cluster.say(3, 1, &[&chat("b")]);
    cluster.mend(1, 3);
    cluster.mend(2, 3);
    cluster.run_ms(40);
    cluster.elect_only(3);
    // Now it could be taken, while a is still undecided. But b will come again, on another connection.
    assert!(!cluster.is_closed(3, 1));
    cluster.say(3, 1, &[&chat("c")]);
    cluster.run_ms(40);
    let answers = cluster.answers(3, 1);
    assert_eq!(field(&answers, "code"), [&Value::Null, &"unavailable".into()], "{answers:?}");
    assert!(cluster.is_closed(3, 1));
    cluster.say(3, 2, &[JOIN, &chat("b"), &chat("c")]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(3, 2), "seq")[1..], [3, 4]);
}
