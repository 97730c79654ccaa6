//! Stories of messages that are sent more than once.

use std::{sync::Arc, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::Cluster,
    judge::Judge,
    load::Load,
    verdict,
    wire::{Lost, Wire},
};

const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A logged-in member of `room` on `server`.
fn member(cluster: &Cluster, judge: &Arc<Judge>, server: usize, user: &str, room: &str) -> Wire {
    let mut wire = Wire::open(&cluster.targets, server, judge).expect("the server accepts connections");
    answered(wire.call("login", json!({"username": user}), ANSWER_WITHIN));
    answered(wire.call("create_join", json!({"room": room}), ANSWER_WITHIN));
    wire
}

#[track_caller]
fn answered(answer: Result<Value, Lost>) -> Value {
    let answer = answer.expect("there is an answer in time");
    assert_eq!(answer["msg_type"], "ack", "{answer}");
    answer["data"].clone()
}

#[track_caller]
fn refused(answer: Result<Value, Lost>) -> String {
    let answer = answer.expect("there is an answer in time");
    assert_eq!(answer["msg_type"], "nack", "{answer}");
    answer["data"]["code"].as_str().expect("a nack has a code").to_owned()
}

fn chat(room: &str, client_msg_id: &str, body: &str) -> Value {
    json!({"room": room, "client_msg_id": client_msg_id, "body": body})
}

#[test]
fn one_message_on_two_connections_at_once_has_one_place() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    for round in 0..20 {
        let id = format!("twice-{round}");
        let twins: Vec<_> = [round % 3, (round + 1) % 3]
            .into_iter()
            .map(|server| {
                let mut wire = member(&cluster, &judge, server, "twin", "twins");
                let id = id.clone();
                thread::spawn(move || {
                    answered(wire.call("chat", chat("twins", &id, "the same"), ANSWER_WITHIN))
                })
            })
            .collect();
        let acks: Vec<Value> =
            twins.into_iter().map(|twin| twin.join().expect("both are answered")).collect();
        assert_eq!(acks[0]["seq"], acks[1]["seq"]);
        let fresh = acks.iter().filter(|ack| ack["duplicate"] == false).count();
        assert_eq!(fresh, 1, "of two sendings of one message one is new: {acks:?}");
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn a_name_for_a_message_is_not_used_for_another() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    let first = {
        let mut wire = member(&cluster, &judge, 0, "carol", "here");
        answered(wire.call("chat", chat("here", "c1", "the first"), ANSWER_WITHIN))
    };
    for server in 0..3 {
        let mut wire = member(&cluster, &judge, server, "carol", "there");
        assert_eq!(refused(wire.call("chat", chat("here", "c1", "another"), ANSWER_WITHIN)), "bad_request");
        assert_eq!(
            refused(wire.call("chat", chat("there", "c1", "the first"), ANSWER_WITHIN)),
            "bad_request"
        );
        let again = answered(wire.call("chat", chat("here", "c1", "the first"), ANSWER_WITHIN));
        assert_eq!((&again["seq"], &again["duplicate"]), (&first["seq"], &json!(true)));
        // Another user may use the same id.
        let mut wire = member(&cluster, &judge, server, &format!("dave{server}"), "there");
        answered(wire.call("chat", chat("there", "c1", "by dave"), ANSWER_WITHIN));
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn everything_is_sent_again_after_everything() {
    const MESSAGES: usize = 300;
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    let send_all = |cluster: &Cluster, server: usize| -> Vec<Value> {
        let mut wire = member(cluster, &judge, server, "erin", "all-again");
        let asked: Vec<u64> = (0..MESSAGES)
            .map(|n| wire.ask("chat", chat("all-again", &format!("e{n}"), &format!("body {n}"))))
            .collect::<Result<_, _>>()
            .expect("the server reads");
        asked.into_iter().map(|request_id| answered(wire.answer(request_id, ANSWER_WITHIN))).collect()
    };
    let first = send_all(&cluster, 0);
    assert!(first.iter().all(|ack| ack["duplicate"] == false));
    let again = |cluster: &Cluster, server: usize| {
        for (ack, first) in send_all(cluster, server).iter().zip(&first) {
            assert_eq!((&ack["seq"], &ack["duplicate"]), (&first["seq"], &json!(true)));
        }
    };
    again(&cluster, 1);
    let leader = cluster.leader();
    cluster.kill(leader);
    let next = cluster.leader();
    again(&cluster, next);
    cluster.start_server(leader);
    cluster.settle();
    cluster.kill_all();
    (0..3).for_each(|server| cluster.start_server(server));
    cluster.settle();
    again(&cluster, leader);
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn one_user_on_twenty_connections_sees_everything_on_each() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    let mut wires: Vec<Wire> =
        (0..20).map(|number| member(&cluster, &judge, number % 3, "frank", "frank")).collect();
    let mut last_seq = 0;
    for (number, wire) in wires.iter_mut().enumerate() {
        let ack = wire.call("chat", chat("frank", &format!("f{number}"), "from one of me"), ANSWER_WITHIN);
        last_seq = answered(ack)["seq"].as_u64().expect("an ack has a seq");
    }
    for wire in &mut wires {
        // The judge counts; this only waits for the last one. The author's own may have come before its ack.
        wire.ask("ping", json!({"barrier": true})).expect("the server reads");
        let mut shown = 0;
        while shown < last_seq {
            let line =
                wire.receive(ANSWER_WITHIN).expect("it goes on").expect("every event is pushed in time");
            if line["msg_type"] == "chat" {
                shown = line["data"]["seq"].as_u64().expect("an event has a seq");
            }
            if line["msg_type"] == "pong" && shown == 0 {
                // Nothing new came: all of it had been read while the ack was waited for.
                break;
            }
        }
    }
    drop(wires);
    verdict::read_everything(&mut cluster, &judge, load);
}
