//! How answers come from the fan-out to a thread of this server (see `local_session`).
//!
//! Pushes (events, lists of servers) are thrown away on arrival. Only answers are kept, and of these no more
//! than were asked for.

use std::{io, sync::Arc};

use crate::protocol::{
    RequestId,
    said::{Content, Said},
};

use super::outgoing::Outgoing;
use crate::server::machine::mailbox::{Bell, Receiver, Sender, Unsent, mailbox};

/// Answers that may wait to be taken. If it is full the fan-out keeps the rest in the session's outbox, as
/// for a socket whose reader is slow.
pub const ANSWERS: usize = 64;

/// What the fan-out thread of a local session writes to.
#[derive(Debug)]
pub struct Answers(Sender<Arc<Said>>);

/// A new one, and where the answers are taken out.
pub fn answers() -> (Answers, Receiver<Arc<Said>>) {
    let (sender, receiver) = mailbox(ANSWERS, &Bell::default());
    (Answers(sender), receiver)
}

impl Answers {
    /// Takes the answers that have come; `WouldBlock` if there is no room for even one.
    pub fn put(&self, outgoing: &mut Outgoing) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::WouldBlock.into());
        while let Some(said) = outgoing.take_value() {
            if number(&said).is_some() {
                match self.0.try_send(said) {
                    Ok(()) => {}
                    Err(Unsent::Full(said)) => {
                        outgoing.give_back(said);
                        return result;
                    }
                    Err(Unsent::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
            result = Ok(());
        }
        Ok(())
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.0.close();
    }
}

/// The number of the request that this answers; `None` of a push.
pub fn number(said: &Said) -> Option<i64> {
    match said.content() {
        Content::Answer { to, .. } => match to.request_id {
            Some(RequestId::Number(number)) => Some(number),
            Some(RequestId::Text(_)) | None => None,
        },
        Content::Push { .. } | Content::Event(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::{
            AnswerTo, ServerId,
            answer::{Done, SessionEnded, Signature},
        },
        server::clients::outgoing::Framing,
    };

    fn by() -> Signature {
        Signature { server_id: ServerId::new("server1").unwrap(), lamport_timestamp: 0, now_ms: 0 }
    }

    fn answer(request_id: Option<RequestId>) -> Arc<Said> {
        Said::answer(AnswerTo { msg_type: "leave".into(), request_id }, Done {}, by())
    }

    fn numbered(number: i64) -> Arc<Said> {
        answer(Some(RequestId::Number(number)))
    }

    #[test]
    fn only_answers_are_kept() {
        let (answers, receiver) = answers();
        let mut outgoing = Outgoing::new(Framing::Values);
        outgoing.push(Said::push(SessionEnded { reason: "over".into() }, by()));
        outgoing.push(numbered(3));
        outgoing.push(answer(None));
        answers.put(&mut outgoing).unwrap();
        assert!(outgoing.is_empty() && outgoing.bytes() == 0);
        answers.close();
        assert_eq!(receiver.receive().and_then(|said| number(&said)), Some(3));
        assert!(receiver.is_finished());
    }

    #[test]
    fn a_full_session_holds_the_fan_out_back_and_a_closed_one_ends_it() {
        let (sender, receiver) = mailbox(1, &Bell::default());
        let answers = Answers(sender);
        let mut outgoing = Outgoing::new(Framing::Values);
        outgoing.push(numbered(1));
        outgoing.push(numbered(2));
        answers.put(&mut outgoing).unwrap();
        assert!(!outgoing.is_empty());
        assert_eq!(answers.put(&mut outgoing).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(receiver.receive().is_some());
        answers.put(&mut outgoing).unwrap();
        outgoing.push(numbered(3));
        drop(receiver);
        assert_eq!(answers.put(&mut outgoing).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
