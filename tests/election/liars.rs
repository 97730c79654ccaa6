//! Even if peers with the right secret lie, a server campaigns at its own pace and sends little for each
//! datagram that it hears.

use syncnet::{
    election::{
        Election, FORCED_GAP_MS, Input, Output, PLAIN_GAP_MS, Standing,
        membership::{PeerView, View},
    },
    protocol::{
        ServerId,
        datagram::{Datagram, Rank, Receipt, Run, Token},
        peer::{DataMark, LogMark, NodeId},
    },
};

use crate::world::{Random, config, id};

const COUNT: usize = 5;

fn some_id(random: &mut Random) -> ServerId {
    id(random.below(COUNT as u64 + 1) as usize)
}

fn some_log(random: &mut Random) -> LogMark {
    LogMark { last_log_term: random.below(3), last_log_index: random.below(3) }
}

fn some_data(random: &mut Random) -> DataMark {
    DataMark {
        cluster_id: Some(1),
        node_id: NodeId(random.below(2)),
        boot: random.below(2),
        term: random.below(4),
        log: some_log(random),
    }
}

fn some_peer(random: &mut Random) -> PeerView {
    let alive = random.percent(80);
    PeerView {
        alive,
        gone: !alive && random.percent(50),
        linked: random.percent(80),
        leads_term: (alive && random.percent(1)).then(|| random.below(4)),
        votes: random.percent(90),
        data: Some(some_data(random)),
        ..PeerView::default()
    }
}

/// A token that is valid, or nearly.
fn some_token(random: &mut Random) -> Token {
    let initiator = some_id(random);
    let mut visited = vec![initiator.clone()];
    for _ in 0..random.below(COUNT as u64 + 1) {
        visited.push(some_id(random));
    }
    let place = (0..COUNT).find(|place| id(*place) == initiator).unwrap_or(0);
    Token {
        initiator,
        run: Run { node_id: NodeId(random.below(2)), boot: random.below(2) },
        rank: Rank { log: some_log(random), ring_position: 3 * place as u32 + 1 },
        round: random.below(200),
        term: random.below(4),
        visited,
        returning: random.percent(30),
    }
}

fn some_input(random: &mut Random) -> Input {
    match random.below(100) {
        0..50 => Input::Token { from: some_id(random), token: some_token(random) },
        50..60 => Input::Receipt {
            from: some_id(random),
            receipt: Receipt {
                initiator: some_id(random),
                round: random.below(200),
                hops: random.below(6) as usize,
                returning: random.percent(30),
            },
        },
        60..70 => {
            Input::View(View { peers: (1..COUNT).map(|place| (id(place), some_peer(random))).collect() })
        }
        70..75 => Input::Standing(Standing {
            data: some_data(random),
            log: some_log(random),
            leads: random.percent(3),
            leader: random.percent(5).then(|| some_id(random)),
            votes: random.percent(95),
        }),
        _ => Input::Tick,
    }
}

#[test]
fn lies_start_campaigns_at_an_honest_pace_at_most() {
    let mut campaigns = 0;
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut election = Election::new(&config(COUNT, 0));
        let mut campaigned_ms = None;
        let mut overheard: Option<Token> = None;
        let mut now_ms = 0;
        for _ in 0..2_000 {
            now_ms += random.below(4);
            let mut input = some_input(&mut random);
            // The best liar says that all servers have agreed already.
            if let (Some(token), true) = (&overheard, random.percent(20)) {
                let visited = (0..COUNT).map(id).collect();
                input = Input::Token { from: id(1), token: Token { visited, ..Token::clone(token) } };
            }
            election.handle(now_ms, input);
            let mut said = 0;
            while let Some(output) = election.output() {
                said += 1;
                match output {
                    Output::Campaign { leader_is_dead, .. } => {
                        campaigns += 1;
                        let least_ms = if leader_is_dead { FORCED_GAP_MS } else { PLAIN_GAP_MS };
                        let before_ms = campaigned_ms.replace(now_ms);
                        assert!(
                            before_ms.is_none_or(|before_ms| now_ms >= before_ms + least_ms),
                            "seed {seed}"
                        );
                    }
                    Output::Send { datagram: Datagram::Token(token), .. } if token.initiator == id(0) => {
                        overheard = Some(token);
                    }
                    _ => {}
                }
            }
            assert!(said <= 2 * COUNT, "seed {seed}: {said} outputs for one input");
            assert!(election.due_ms().is_none_or(|due_ms| due_ms > now_ms), "seed {seed}: due in the past");
        }
    }
    assert!(campaigns > 30, "only {campaigns} campaigns: the liars were not believed at all");
}
