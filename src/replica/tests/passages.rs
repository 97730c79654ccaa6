//! The way of a request through the cluster.

use super::cluster::Cluster;
use crate::{
    fanout::ConnId,
    replica::{counts::Outcome, passages::Step},
};

#[test]
fn a_request_has_one_id_on_every_server_that_it_comes_to() {
    let mut cluster = Cluster::led_by_the_last(3);
    let join = r#"{"msg_type":"create_join","sender_id":"alice","data":{"room":"lobby"}}"#;
    cluster.say(1, 7, &[join]);
    cluster.run_ms(100);
    cluster.follow_requests();
    let chat = r#"{"msg_type":"chat","data":{"room":"lobby","body":"hello"}}"#;
    cluster.say(1, 7, &[chat, r#"{"msg_type":"chat","data":{"room":"lobby","body":"again"}}"#]);
    cluster.run_ms(100);
    let passages: Vec<_> = (1..=3).map(|number| cluster.passages(number)).collect();
    let [taken, ..] = passages[0][..] else { panic!("{passages:?}") };
    assert_eq!(taken.step, Step::Taken { conn: ConnId(7), operation: "Say" });
    let of_it = |number: usize| -> Vec<Step> {
        let of_it = passages[number - 1].iter().filter(|passage| passage.request == taken.request);
        of_it.map(|passage| passage.step).collect()
    };
    let [_, applied @ Step::Applied { outcome: Outcome::Done, .. }] = of_it(1)[..] else {
        panic!("{passages:?}");
    };
    assert_eq!(of_it(2), [applied]);
    assert_eq!(of_it(3), [Step::Proposed, applied]);
    assert_ne!(passages[1][0].request, passages[1][1].request, "another request has another id");
}
