//! The servers of a cluster change: one joins, leaves, takes another's place, or is drained.

use serde_json::json;

use super::cluster::{Cluster, applied, entry, id};
use crate::protocol::{directory::UnderWay, status::Role};

/// Three servers of which the third leads, and an operator's connection to the first.
fn three() -> Cluster {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.become_operator(1, 1);
    cluster
}

/// Asks the first server for a change, and gives what it says.
fn change(cluster: &mut Cluster, change: &serde_json::Value) -> serde_json::Value {
    change_at(cluster, 1, change)
}

fn change_at(cluster: &mut Cluster, number: usize, change: &serde_json::Value) -> serde_json::Value {
    cluster.heard(number, 1);
    let line = json!({"msg_type": "change_servers", "data": change}).to_string();
    cluster.say(number, 1, &[&line]);
    cluster.settle();
    cluster.heard(number, 1).pop().expect("an answer")
}

fn new(change: &str, number: usize) -> serde_json::Value {
    let mut fields = serde_json::to_value(entry(number)).expect("plain data");
    fields["change"] = change.into();
    fields
}

fn replace(old: usize, number: usize) -> serde_json::Value {
    let mut fields = new("replace", number);
    fields["replaces"] = json!(id(old));
    fields
}

fn add(number: usize) -> serde_json::Value {
    new("add", number)
}

fn remove(number: usize) -> serde_json::Value {
    json!({"change": "remove", "server_id": id(number)})
}

#[track_caller]
fn done(answer: &serde_json::Value) {
    assert_eq!(answer["msg_type"], "ack", "{answer}");
}

#[track_caller]
fn refused(answer: &serde_json::Value, named: &str) {
    let reason = answer["data"]["reason"].as_str().unwrap_or_default();
    assert!(answer["msg_type"] == "nack" && reason.contains(named), "{answer}");
}

/// The servers that a server knows, and how many nodes vote.
fn seen(cluster: &Cluster, number: usize) -> (Vec<String>, usize) {
    let replica = cluster.replica(number);
    let names = replica.servers().iter().map(|server| server.server_id.to_string()).collect();
    (names, replica.node().consensus.conf().voters.len())
}

#[track_caller]
fn all_know(cluster: &Cluster, numbers: &[usize]) {
    let names: Vec<String> = numbers.iter().map(|number| id(*number).to_string()).collect();
    for number in numbers {
        assert_eq!(seen(cluster, *number), (names.clone(), names.len()), "server{number}");
        assert_eq!(cluster.replica(*number).servers().under_way, None);
    }
}

#[test]
fn three_become_five_and_three_again() {
    let mut cluster = three();
    // One waits before it is added, one is added before it starts.
    assert_eq!(cluster.add_machine(), 4);
    cluster.start(4);
    cluster.run_ms(400);
    assert_eq!(cluster.role(4), Role::Forming);
    assert_eq!(cluster.complaints.len(), 1, "{:?}", cluster.complaints);
    assert!(cluster.complaints[0].1.contains("syncnet-admin server add server4"), "{:?}", cluster.complaints);
    // Its clients are sent elsewhere at once, and need not wait until it gives up.
    cluster.say(4, 9, &[r#"{"msg_type":"chat","sender_id":"zed","data":{"room":"lobby","body":"hello"}}"#]);
    cluster.settle();
    let answer = cluster.heard(4, 9).pop().expect("an answer");
    let reason = answer["data"]["reason"].as_str().expect("a reason");
    assert!(answer["msg_type"] == "redirect" || reason.contains("has to be added"), "{answer}");
    assert!(cluster.is_closed(4, 9));
    done(&change(&mut cluster, &add(4)));
    cluster.run_ms(200);
    // In the real server it asks again.
    cluster.kill(4);
    cluster.start(4);
    cluster.run_ms(1_000);
    all_know(&cluster, &[1, 2, 3, 4]);
    done(&change(&mut cluster, &add(5)));
    refused(&change(&mut cluster, &remove(2)), "server5 is still to join");
    assert_eq!(cluster.add_machine(), 5);
    cluster.start(5);
    cluster.run_ms(1_000);
    all_know(&cluster, &[1, 2, 3, 4, 5]);
    // What a new server holds is what the others hold.
    cluster.say(1, 2, &[r#"{"msg_type":"login","data":{"username":"alice"}}"#]);
    cluster.say(1, 2, &[r#"{"msg_type":"chat","data":{"room":"lobby","body":"hello"}}"#]);
    cluster.run_ms(1_000);
    assert_eq!(applied(&cluster, 5), applied(&cluster, 3));
    assert_eq!(cluster.replica(5).state().messages(), cluster.replica(3).state().messages());

    done(&change(&mut cluster, &remove(5)));
    cluster.run_ms(600);
    // The leader hands over before it is taken out.
    done(&change(&mut cluster, &remove(3)));
    cluster.run_ms(4_000);
    all_know(&cluster, &[1, 2, 4]);
    let mut removed: Vec<usize> = cluster.removed.iter().map(|(number, _)| *number).collect();
    removed.sort_unstable();
    assert_eq!(removed, [3, 5], "{:?}", cluster.removed);
    assert!(cluster.quarantined.is_empty(), "{:?}", cluster.quarantined);
    // One that comes back with its old folder is told so.
    cluster.start(3);
    cluster.run_ms(400);
    assert_eq!(cluster.removed.len(), 3);
    // Who did it is in the log of deeds.
    cluster.heard(1, 1);
    cluster.say(1, 1, &[r#"{"msg_type":"audit","data":{}}"#]);
    cluster.settle();
    let answer = cluster.heard(1, 1).pop().expect("an answer");
    let deeds = answer["data"]["entries"].as_array().expect("a list").iter();
    let deeds: Vec<_> = deeds.map(|deed| (deed["action"].clone(), deed["detail"].clone())).collect();
    assert_eq!(deeds[0], (json!("server_remove"), json!("server3")));
    assert_eq!(deeds[3], (json!("server_add"), json!("server4 at localhost:8004, ring position 4")));
}

#[test]
fn a_server_that_waits_to_be_added_sends_its_clients_to_the_others() {
    let mut cluster = three();
    assert_eq!(cluster.add_machine(), 4);
    cluster.start(4);
    cluster.say(4, 2, &[r#"{"msg_type":"login","data":{"username":"alice"}}"#]);
    cluster.run_ms(2_000);
    let heard = cluster.heard(4, 2);
    let sent: Vec<_> = heard.iter().filter(|line| line["msg_type"] == "redirect").collect();
    assert_eq!(sent.len(), 1, "{heard:?}");
    assert_eq!(sent[0]["data"]["server_id"], "server1");
    assert!(cluster.is_closed(4, 2));
}

#[test]
fn a_dead_server_is_replaced() {
    let mut cluster = three();
    cluster.kill(2);
    cluster.run_ms(400);
    // Without it the living would be two of four, then one of two.
    refused(&change(&mut cluster, &remove(3)), "no answer from server2");
    assert_eq!(cluster.add_machine(), 4);
    done(&change(&mut cluster, &replace(2, 4)));
    let under_way = cluster.replica(3).servers().under_way.clone();
    assert_eq!(under_way, Some(UnderWay::Replaces { old: id(2), new: id(4) }));
    assert_eq!(seen(&cluster, 3).1, 3);
    cluster.start(4);
    cluster.run_ms(1_500);
    all_know(&cluster, &[1, 3, 4]);
    // The old one comes back with its old folder.
    cluster.start(2);
    cluster.run_ms(400);
    assert_eq!(cluster.removed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2]);
    all_know(&cluster, &[1, 3, 4]);
}

#[test]
fn the_leader_is_replaced_while_it_lives() {
    let mut cluster = three();
    assert_eq!(cluster.add_machine(), 4);
    done(&change(&mut cluster, &replace(3, 4)));
    cluster.start(4);
    cluster.run_ms(5_000);
    all_know(&cluster, &[1, 2, 4]);
    assert_eq!(cluster.removed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3]);
}

#[test]
fn what_was_begun_is_taken_back() {
    let mut cluster = three();
    done(&change(&mut cluster, &add(7)));
    done(&change(&mut cluster, &remove(7)));
    cluster.run_ms(400);
    all_know(&cluster, &[1, 2, 3]);
    // As a learner it has a node in the log already.
    assert_eq!(cluster.add_machine(), 4);
    done(&change(&mut cluster, &replace(1, 4)));
    cluster.cut(3, 4);
    cluster.start(4);
    cluster.run_ms(400);
    done(&change(&mut cluster, &remove(4)));
    cluster.run_ms(1_000);
    all_know(&cluster, &[1, 2, 3]);
}

#[test]
fn what_was_taken_back_does_not_vote_by_a_change_that_was_on_its_way() {
    let mut cluster = three();
    cluster.become_operator(3, 1);
    assert_eq!(cluster.add_machine(), 4);
    done(&change(&mut cluster, &replace(1, 4)));
    cluster.start(4);
    // It learns, and is cut off before it has caught up.
    while cluster.replica(3).node().consensus.conf().learners.is_empty() {
        assert!(seen(&cluster, 3).1 == 3);
        cluster.run_ms(20);
    }
    cluster.cut(3, 4);
    cluster.run_ms(100);
    // The leader has both in its log before either is committed: taken back, then let in.
    let before = cluster.replica(3).node().consensus.last_index();
    cluster.say(3, 1, &[&json!({"msg_type": "change_servers", "data": remove(4)}).to_string()]);
    cluster.cut(3, 1);
    cluster.cut(3, 2);
    cluster.mend(3, 4);
    cluster.run_ms(100);
    assert_eq!(cluster.replica(3).node().consensus.last_index(), before + 2);
    cluster.mend(3, 1);
    cluster.mend(3, 2);
    cluster.run_ms(2_000);
    all_know(&cluster, &[1, 2, 3]);
    assert!(cluster.quarantined.is_empty(), "{:?}", cluster.quarantined);
    assert_eq!(cluster.removed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_server_is_not_removed_if_the_living_were_no_majority() {
    let mut cluster = three();
    cluster.kill(2);
    cluster.run_ms(400);
    refused(&change(&mut cluster, &remove(1)), "2 of 2 servers would be needed");
    // The dead one may go: two of two live.
    done(&change(&mut cluster, &remove(2)));
    cluster.run_ms(1_000);
    all_know(&cluster, &[1, 3]);
    cluster.heard(1, 1);
    let plan = json!({"msg_type": "plan_servers", "data": remove(3)}).to_string();
    cluster.say(1, 1, &[&plan]);
    cluster.settle();
    let plan = cluster.heard(1, 1).pop().expect("an answer");
    assert_eq!(plan["msg_type"], "plan_servers", "{plan}");
    assert_eq!((&plan["data"]["before"]["needed"], &plan["data"]["after"]["needed"]), (&json!(2), &json!(1)));
    all_know(&cluster, &[1, 3]);
}

#[test]
fn a_server_that_is_rebuilt_does_not_count_as_living_when_another_is_removed() {
    let mut cluster = three();
    cluster.become_operator(3, 1);
    cluster.kill(2);
    cluster.disk(2).wipe();
    cluster.start(2);
    // It answers, and its vote is that of the node that is gone: without the first, nothing could be decided.
    refused(&change_at(&mut cluster, 3, &remove(1)), "no answer from server2");
    cluster.run_ms(1_000);
    all_know(&cluster, &[1, 2, 3]);
    done(&change_at(&mut cluster, 3, &remove(1)));
    cluster.run_ms(1_000);
    all_know(&cluster, &[2, 3]);
}

#[test]
fn a_server_leaves_once_another_that_lost_its_data_is_rebuilt() {
    let mut cluster = three();
    cluster.become_operator(3, 1);
    // It leaves, as the log says, and counts still.
    cluster.say(3, 1, &[&json!({"msg_type": "change_servers", "data": remove(1)}).to_string()]);
    cluster.settle();
    cluster.kill(2);
    cluster.disk(2).wipe();
    cluster.start(2);
    cluster.run_ms(2_000);
    all_know(&cluster, &[2, 3]);
}

#[test]
fn only_an_operator_looks_after_the_servers() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[r#"{"msg_type":"login","data":{"username":"alice"}}"#]);
    for (msg_type, data) in [("servers", json!({})), ("plan_servers", add(4)), ("change_servers", add(4))] {
        cluster.heard(1, 1);
        cluster.say(1, 1, &[&json!({"msg_type": msg_type, "data": data}).to_string()]);
        cluster.run_ms(200);
        refused(&cluster.heard(1, 1).pop().expect("an answer"), "operator");
    }
    all_know(&cluster, &[1, 2, 3]);
}

#[test]
fn a_server_that_restarts_knows_the_servers_of_its_log() {
    let mut cluster = three();
    assert_eq!(cluster.add_machine(), 4);
    done(&change(&mut cluster, &add(4)));
    cluster.start(4);
    cluster.run_ms(1_500);
    for number in [1, 2, 4] {
        cluster.kill(number);
        cluster.start(number);
    }
    cluster.run_ms(1_500);
    all_know(&cluster, &[1, 2, 3, 4]);
}

#[test]
fn the_leader_leaves_though_all_others_are_drained() {
    let mut cluster = three();
    for number in [1, 2] {
        done(&change(&mut cluster, &json!({"change": "drain", "server_id": id(number)})));
    }
    done(&change(&mut cluster, &remove(3)));
    cluster.run_ms(4_000);
    all_know(&cluster, &[1, 2]);
}

#[test]
fn a_drained_server_gives_the_lead_away_and_votes() {
    let mut cluster = three();
    done(&change(&mut cluster, &json!({"change": "drain", "server_id": id(3)})));
    cluster.run_ms(4_000);
    assert_eq!(cluster.role(2), Role::Leader);
    assert_eq!(cluster.role(3), Role::Follower);
    let shown: Vec<String> =
        cluster.replica(1).server_list().servers.iter().map(|server| server.server_id.to_string()).collect();
    assert_eq!(shown, ["server1", "server2"]);
    refused(&change(&mut cluster, &json!({"change": "drain", "server_id": id(9)})), "no server server9");
    done(&change(&mut cluster, &json!({"change": "undrain", "server_id": id(3)})));
    cluster.run_ms(5_000);
    assert_eq!(cluster.role(3), Role::Leader, "the highest leads again");
}
