//! The records of a peer link: two bytes of length (big endian), then one Noise transport message.

use std::io::{self, Read};

use snow::StatelessTransportState;

/// Longest Noise transport message (revision 34, section 3).
pub const RECORD_BYTES: usize = 65_535;
/// The authentication tag in each of them.
const TAG_BYTES: usize = 16;
/// Most that one record can carry.
pub const CONTENT_BYTES: usize = RECORD_BYTES - TAG_BYTES;
/// Encrypts `content` as record number `number` and appends it to `out`.
pub fn seal_record(keys: &StatelessTransportState, number: u64, content: &[u8], out: &mut Vec<u8>) {
    let length = content.len() + TAG_BYTES;
    out.extend_from_slice(&(length as u16).to_be_bytes());
    let start = out.len();
    out.resize(start + length, 0);
    keys.write_message(number, content, &mut out[start..]).expect("the content fits into a record");
}

/// Reads record number `number` by way of the buffer `record` and appends its content to `content`;
/// `false` at the end of the stream.
pub fn read_record(
    stream: &mut impl Read,
    keys: &StatelessTransportState,
    number: u64,
    record: &mut Vec<u8>,
    content: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut length = [0; 2];
    if stream.read(&mut length[..1])? == 0 {
        return Ok(false);
    }
    stream.read_exact(&mut length[1..])?;
    let length = usize::from(u16::from_be_bytes(length));
    if length < TAG_BYTES {
        return Err(invalid("a record is too short"));
    }
    record.resize(length, 0);
    stream.read_exact(record)?;
    let start = content.len();
    content.resize(start + length - TAG_BYTES, 0);
    keys.read_message(number, record, &mut content[start..])
        .map_err(|_| invalid("a record does not decrypt: it was changed, repeated or left out on its way"))?;
    Ok(true)
}

/// An error about what the other end sent.
pub fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
