//! A connection that speaks JSON lines: what is read is cut into lines, and each is handed to the replica.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::protocol::{
    limits::COMMIT_TIMEOUT_MS,
    refusal::{Code, Refusal},
};

use super::{
    conversation::Conversation,
    framing::{Lines, TooLong},
    stream::READ_BYTES,
};

/// A client that has closed its half still gets its answers. They are taken as complete when something was
/// written after the last request and then nothing for this time.
const QUIET: Duration = Duration::from_millis(300);

/// The last line that a client has sent, whole or too long.
#[derive(Debug, Clone, Copy)]
struct LastLine {
    at: Instant,
    /// How often something had been written to the client by then.
    writes: u64,
}

/// JSON lines, of which `head` are the first bytes.
pub fn talk(conversation: &mut Conversation<'_>, deadline: Instant, head: &[u8]) -> io::Result<()> {
    let mut lines = Lines::new(conversation.server.context.config().replica.limits.line_bytes);
    let mut last = None;
    let mut more = head.to_vec();
    while !conversation.is_open() {
        take(conversation, &mut lines, &more, &mut last)?;
        more.clear();
        if !conversation.is_open() && conversation.stream.read_until(deadline, &mut more)? == 0 {
            return Ok(());
        }
    }
    drop(more);
    conversation.stream.read_without_deadline()?;
    let mut buffer = [0; READ_BYTES];
    loop {
        let length = conversation.stream.read(&mut buffer)?;
        if length == 0 {
            let_answers_out(conversation, last);
            return Ok(());
        }
        take(conversation, &mut lines, &buffer[..length], &mut last)?;
    }
}

/// Hands the lines that `bytes` complete to the replica. Drops them if the connection is closing.
fn take(
    conversation: &mut Conversation<'_>,
    lines: &mut Lines,
    bytes: &[u8],
    last: &mut Option<LastLine>,
) -> io::Result<()> {
    if conversation.client.is_closing() {
        return Ok(());
    }
    let mut result = Ok(());
    let framed = lines.feed(bytes, |line| {
        if result.is_ok() {
            *last = Some(LastLine { at: Instant::now(), writes: conversation.client.writes() });
            result = conversation.hand_over(line);
        }
    });
    result?;
    if framed == Err(TooLong) {
        let limit = conversation.server.context.config().replica.limits.line_bytes;
        *last = Some(LastLine { at: Instant::now(), writes: conversation.client.writes() });
        conversation.refuse(Refusal::new(Code::TooLarge, format!("a line is longer than {limit} bytes")))?;
        conversation.drain()?;
    }
    Ok(())
}

/// The client has closed its half. Waits, within bounds, until what it asked for is answered.
fn let_answers_out(conversation: &Conversation<'_>, last: Option<LastLine>) {
    let Some(last) = last else { return };
    let (mut writes, mut quiet_since) = (conversation.client.writes(), Instant::now());
    while last.at.elapsed() < Duration::from_millis(COMMIT_TIMEOUT_MS) && !conversation.client.is_closing() {
        if writes != last.writes && quiet_since.elapsed() >= QUIET {
            return;
        }
        std::thread::sleep(QUIET / 6);
        let mut byte = [0];
        if conversation.stream.read(&mut byte).is_err() {
            // It has closed the other half, too.
            return;
        }
        let now_writes = conversation.client.writes();
        if now_writes != writes {
            (writes, quiet_since) = (now_writes, Instant::now());
        }
    }
}
