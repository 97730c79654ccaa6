//! Who a connection is, what it hears, and what it costs others.

use super::{chat, cluster::Cluster, field};

/// Somebody who has nothing but the token of a webhook posts by it, and then hears the room or not: what was
/// said to them beside the answer.
fn heard_by_the_poster_of_a_hook() -> usize {
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
    cluster.heard(1, 2).len()
}

#[test]
fn who_posts_by_a_hook_hears_nothing_of_the_room() {
    assert_eq!(heard_by_the_poster_of_a_hook(), 0);
}

/// The stories above would notice the bugs that can be planted here.
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_caught() {
    use crate::planted::{Bug, plant};

    plant(Some(Bug::HookFollows));
    let heard = heard_by_the_poster_of_a_hook();
    plant(None);
    assert!(heard > 0, "{:?} went unnoticed", Bug::HookFollows);
}
