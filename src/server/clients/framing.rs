//! Cuts a stream of bytes into lines.

/// Capacity that an empty buffer may keep: an idle connection holds no more.
const IDLE_BYTES: usize = 4096;

/// Cuts a stream into lines. Holds at most one unfinished line, and of that no more than the limit.
#[derive(Debug)]
pub struct Lines {
    unfinished: Vec<u8>,
    limit: usize,
}

/// A line is longer than the limit. It is no longer known where the next one begins.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// For lines of up to `limit` bytes without their line end.
    pub fn new(limit: usize) -> Self {
        Lines { unfinished: Vec::new(), limit }
    }

    /// Takes the next bytes and hands each line that they complete to `each`, without its line end
    /// (`\n` or `\r\n`). Blank lines are left out. What has not come with its line end is no line: the rest
    /// of it may be missing, so it is never handed out.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.unfinished.is_empty() {
                self.finish(line, &mut each)?;
            } else {
                self.keep(line)?;
                let line = std::mem::take(&mut self.unfinished);
                self.finish(&line, &mut each)?;
                self.reuse(line);
            }
        }
        self.keep(bytes)
    }

    fn finish(&self, line: &[u8], each: &mut impl FnMut(&[u8])) -> Result<(), TooLong> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.limit {
            return Err(TooLong);
        }
        if !line.trim_ascii().is_empty() {
            each(line);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        // One more than the limit may be the `\r` of a line end.
        if self.unfinished.len() + bytes.len() > self.limit + 1 {
            self.unfinished = Vec::new();
            return Err(TooLong);
        }
        self.unfinished.extend_from_slice(bytes);
        Ok(())
    }

    fn reuse(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= IDLE_BYTES {
            buffer.clear();
            self.unfinished = buffer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(lines: &mut Lines, bytes: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut found = Vec::new();
        lines.feed(bytes, |line| found.push(String::from_utf8(line.to_vec()).unwrap()))?;
        Ok(found)
    }

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        let stream = b"\n\r\n \t\none\r\ntwo\n\nthree four\nfive";
        let mut whole = Lines::new(20);
        assert_eq!(feed(&mut whole, stream).unwrap(), ["one", "two", "three four"]);
        for size in 1..stream.len() {
            let mut lines = Lines::new(20);
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                found.extend(feed(&mut lines, piece).unwrap());
            }
            assert_eq!(found, ["one", "two", "three four"], "in pieces of {size}");
            assert_eq!(lines.unfinished, b"five");
        }
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_byte_more_does_not() {
        for end in ["\n", "\r\n"] {
            for size in [1, 3, 100] {
                let run = |length: usize| {
                    let stream = format!("{}{end}", "x".repeat(length));
                    let mut lines = Lines::new(10);
                    stream.as_bytes().chunks(size).try_for_each(|piece| feed(&mut lines, piece).map(drop))
                };
                assert_eq!(run(10), Ok(()), "{end:?} {size}");
                assert_eq!(run(11), Err(TooLong), "{end:?} {size}");
            }
        }
    }

    #[test]
    fn a_line_that_never_ends_is_not_kept() {
        let mut lines = Lines::new(1000);
        let mut result = Ok(());
        for _ in 0..300 {
            result = lines.feed(&[b'x'; 7], |_| {});
            assert!(lines.unfinished.len() <= 1001);
            if result.is_err() {
                break;
            }
        }
        assert_eq!(result, Err(TooLong));
        assert!(lines.unfinished.capacity() == 0);
    }

    #[test]
    fn a_long_line_leaves_no_large_buffer_behind() {
        let mut lines = Lines::new(100_000);
        feed(&mut lines, &[b'x'; 50_000]).unwrap();
        feed(&mut lines, b"\n").unwrap();
        assert!(lines.unfinished.capacity() <= IDLE_BYTES);
    }
}
