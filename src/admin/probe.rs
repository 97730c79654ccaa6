//! Asking servers for their status, all at once.

use std::{io, thread, time::Duration};

use super::{
    line_client::{CallError, LineClient},
    target::Target,
};
use crate::protocol::{Status, request::AskStatus};

/// The result of asking one server.
#[derive(Debug)]
pub struct Observation {
    /// The server that was asked.
    pub target: Target,
    /// Its status, or why there is none.
    pub outcome: Result<Status, CallError>,
}

impl Observation {
    /// The server's own id if it answered, else the target's label.
    pub fn name(&self) -> String {
        match &self.outcome {
            Ok(status) => status.server_id.to_string(),
            Err(_) => self.target.label(),
        }
    }
}

/// Asks every target, each in a thread of its own; takes little longer than `timeout` in all.
///
/// The observations are in the order of the targets.
pub fn ask_all(targets: &[Target], timeout: Duration) -> Vec<Observation> {
    thread::scope(|scope| {
        let asked: Vec<_> =
            targets.iter().map(|target| (target, scope.spawn(move || ask(target, timeout)))).collect();
        asked
            .into_iter()
            .map(|(target, thread)| Observation {
                target: target.clone(),
                outcome: thread
                    .join()
                    .unwrap_or_else(|_| Err(CallError::Lost(io::Error::other("the asking thread failed")))),
            })
            .collect()
    })
}

/// Asks one server, waiting at most about `timeout` to connect and as long for the answer.
///
/// # Errors
/// It does not answer, or with something else.
pub fn ask(target: &Target, timeout: Duration) -> Result<Status, CallError> {
    LineClient::open(target, timeout)?.ask(AskStatus {}).map(|status| *status)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
    };

    use super::*;

    fn answering(lines: &'static [u8]) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
            assert!(asked.contains("status_request"));
            stream.write_all(lines).unwrap();
        });
        Target { server_id: None, host: "127.0.0.1".into(), port, trust: None }
    }

    #[test]
    fn pushes_before_the_answer_are_passed_over() {
        let target = answering(
            b"{\"msg_type\":\"server_list\",\"data\":{\"servers\":[],\"leader_id\":null,\"term\":1}}\n\
              {\"msg_type\":\"nack\",\"data\":{\"for\":\"status_request\",\"code\":\"overloaded\",\"reason\":\"busy\"}}\n",
        );
        let error = ask(&target, Duration::from_secs(20)).unwrap_err();
        assert_eq!(error.to_string(), "it refuses: overloaded: busy");
    }

    #[test]
    fn what_is_not_an_answer_is_said() {
        let sentence = ask(&answering(b"HTTP/1.1 400\r\n"), Duration::from_secs(20)).unwrap_err().to_string();
        assert!(sentence.contains("not JSON"), "{sentence}");
        let sentence = ask(&answering(b""), Duration::from_secs(20)).unwrap_err().to_string();
        assert!(sentence.contains("without an answer"), "{sentence}");
    }

    #[test]
    fn all_are_asked_and_keep_their_order() {
        // Bound and never accepted from: the connection opens and stays silent.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let targets = [
            Target { server_id: Some("a".into()), host: "127.0.0.1".into(), port, trust: None },
            answering(b""),
        ];
        let seen = ask_all(&targets, Duration::from_millis(200));
        assert_eq!(seen[0].name(), "a");
        assert!(matches!(seen[0].outcome, Err(CallError::Silent | CallError::Lost(_))));
        assert_eq!(seen[1].target, targets[1]);
    }
}
