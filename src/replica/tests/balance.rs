//! Clients that are offered another server.

use super::cluster::Cluster;

#[test]
fn some_clients_of_a_crowded_server_are_offered_another_one_once() {
    let mut cluster = Cluster::led_by_the_last(3);
    let conns = 1..=120;
    for conn in conns.clone() {
        let login = format!(r#"{{"msg_type":"login","data":{{"username":"user{conn}"}}}}"#);
        cluster.say(3, conn, &[&login]);
    }
    cluster.run_ms(1_000);
    conns.clone().for_each(|conn| assert_eq!(cluster.heard(3, conn)[0]["msg_type"], "ack"));
    let offers = |cluster: &mut Cluster| -> Vec<u64> {
        let mut redirects = |conn| {
            let heard = cluster.heard(3, conn);
            heard.iter().filter(|said| said["msg_type"] == "redirect").count()
        };
        let asked = conns.clone().flat_map(|conn| vec![conn; redirects(conn)]);
        asked.collect()
    };
    cluster.run_ms(50_000);
    assert!(offers(&mut cluster).is_empty(), "they have only just come");
    cluster.run_ms(60_000);
    let first = offers(&mut cluster);
    assert!((1..60).contains(&first.len()), "a few at a time: {first:?}");
    cluster.run_ms(60_000);
    let second = offers(&mut cluster);
    assert!(!second.is_empty() && second.iter().all(|conn| !first.contains(conn)), "{first:?} {second:?}");
    assert!(first.is_sorted_by(|one, other| one < other), "nobody is asked twice: {first:?}");
    assert!(!cluster.is_closed(3, first[0]), "who stays is served as ever");
}
