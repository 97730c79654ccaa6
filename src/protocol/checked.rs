//! Checked values: one of these types was checked once, when it was made. Names, passwords and tokens have
//! files of their own.
//!
//! In JSON each has the form of the contract (a string, a number); in the log it is written by position,
//! without the name of its type. Limits of the configuration, such as the longest body, are not checked here
//! but by [`super::Request::check`].

use std::{borrow::Cow, fmt};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    file::{FILE_CHUNK_BYTES, FILE_NAME_BYTES, is_content_type, is_file_name},
    limits::{CLIENT_MSG_ID_BYTES, DISPLAY_NAME_BYTES, EMOJI_BYTES, QUERY_BYTES, TIME_END_S, TOPIC_BYTES},
    refusal::Refusal,
    text::{counted, is_visible},
};

/// Why a value cannot be of its type: the predicate of a sentence, such as "is empty". Its subject is the
/// field of the value, which only the code that reads the field knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(Cow<'static, str>);

impl Invalid {
    /// The refusal of a request in which `field` holds the value.
    pub fn of(&self, field: &str) -> Refusal {
        Refusal::bad_request(format!("{field} {}", self.0))
    }
}

impl From<&'static str> for Invalid {
    fn from(predicate: &'static str) -> Self {
        Invalid(predicate.into())
    }
}

impl From<String> for Invalid {
    fn from(predicate: String) -> Self {
        Invalid(predicate.into())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $check:path) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// It is too long, or has a character that may not be in it.
            pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
                let text = text.into();
                $check(&text)?;
                Ok($name(text))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                $name::new(text)
            }
        }
        impl From<$name> for String {
            fn from(checked: $name) -> String {
                checked.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text! {
    /// The text of a message: without NUL, and with something visible.
    Body, check_body
}
checked_text! {
    /// What a room is about: at most [`TOPIC_BYTES`] without control characters, with something visible;
    /// empty for no topic.
    Topic, check_topic
}
checked_text! {
    /// A reaction: 1 to [`EMOJI_BYTES`] bytes without white space and control characters.
    Emoji, check_emoji
}
checked_text! {
    /// What a webhook calls its sender: at most [`DISPLAY_NAME_BYTES`] without control characters.
    DisplayName, check_display_name
}
checked_text! {
    /// The words to search for: at most [`QUERY_BYTES`].
    Words, check_words
}
checked_text! {
    /// A client's own id for a message: any text of 1 to [`CLIENT_MSG_ID_BYTES`] bytes.
    ClientMsgId, check_client_msg_id
}
checked_text! {
    /// The name of a file, without a way into another folder (see [`is_file_name`]).
    FileName, check_file_name
}
checked_text! {
    /// A content type, `type/subtype` (see [`is_content_type`]).
    ContentType, check_content_type
}

fn check_body(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        Err("is empty".into())
    } else if text.contains('\0') {
        Err("contains a NUL character".into())
    } else {
        check_visible(text)
    }
}

fn check_visible(text: &str) -> Result<(), Invalid> {
    if is_visible(text) { Ok(()) } else { Err("has nothing that could be seen".into()) }
}

/// A text of one line for people to read.
fn check_line(text: &str, most: usize) -> Result<(), Invalid> {
    if text.len() > most {
        Err(format!("has {}; at most {most} are allowed", counted(text.len() as u64, "byte")).into())
    } else if text.chars().any(char::is_control) {
        Err("contains a control character".into())
    } else {
        Ok(())
    }
}

fn check_topic(text: &str) -> Result<(), Invalid> {
    check_line(text, TOPIC_BYTES)?;
    if text.is_empty() { Ok(()) } else { check_visible(text) }
}

fn check_display_name(text: &str) -> Result<(), Invalid> {
    check_line(text, DISPLAY_NAME_BYTES)
}

fn check_emoji(text: &str) -> Result<(), Invalid> {
    check_line(text, EMOJI_BYTES)?;
    if text.is_empty() || text.chars().any(char::is_whitespace) {
        return Err("must be one to 64 bytes without white space".into());
    }
    check_visible(text)
}

fn check_words(text: &str) -> Result<(), Invalid> {
    if text.len() > QUERY_BYTES {
        return Err(format!("may have {QUERY_BYTES} bytes").into());
    }
    Ok(())
}

fn check_client_msg_id(text: &str) -> Result<(), Invalid> {
    if !(1..=CLIENT_MSG_ID_BYTES).contains(&text.len()) {
        return Err(format!("must have 1 to {CLIENT_MSG_ID_BYTES} bytes").into());
    }
    Ok(())
}

fn check_file_name(text: &str) -> Result<(), Invalid> {
    if !is_file_name(text) {
        return Err(format!(
            "must be a file name of 1 to {FILE_NAME_BYTES} bytes, without slashes and control characters"
        )
        .into());
    }
    check_visible(text)
}

fn check_content_type(text: &str) -> Result<(), Invalid> {
    if !is_content_type(text) {
        return Err("must be like text/plain".into());
    }
    Ok(())
}

/// The place of an event in its room, as a client names it: below 2^63, so that the database can hold it.
/// 0 is before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Seq(u64);

impl Seq {
    /// The place as a number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Seq {
    type Error = Invalid;
    fn try_from(number: u64) -> Result<Seq, Invalid> {
        match i64::try_from(number) {
            Ok(_) => Ok(Seq(number)),
            Err(_) => Err("must be an unsigned integer below 2^63".into()),
        }
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Whole<const LEAST: u64, const MOST: u64>(u64);

/// How many items an answer may hold: 1 to `MOST`.
pub type Limit<const MOST: u64> = Whole<1, MOST>;
/// How long a ban or a mute lasts.
pub type Seconds = Whole<1, { u32::MAX as u64 }>;
/// A setting of a room that 0 switches off.
pub type Setting = Whole<0, { u32::MAX as u64 }>;

impl<const LEAST: u64, const MOST: u64> Whole<LEAST, MOST> {
    /// The number nearest to `number` in the range.
    pub fn clamped(number: u64) -> Self {
        Whole(number.clamp(LEAST, MOST))
    }

    pub fn get(self) -> u64 {
        self.0
    }
}

impl<const LEAST: u64, const MOST: u64> TryFrom<u64> for Whole<LEAST, MOST> {
    type Error = Invalid;
    fn try_from(number: u64) -> Result<Self, Invalid> {
        if (LEAST..=MOST).contains(&number) {
            Ok(Whole(number))
        } else {
            Err(format!("must be {LEAST} to {MOST}").into())
        }
    }
}

impl<const LEAST: u64> From<Whole<LEAST, { u32::MAX as u64 }>> for u32 {
    fn from(number: Whole<LEAST, { u32::MAX as u64 }>) -> u32 {
        number.0 as u32
    }
}

/// A point in time: seconds with a fraction in JSON, milliseconds since the Unix epoch here and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_f64(self.at_ms as f64 / 1000.0)
        } else {
            self.at_ms.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(|at_ms| Time { at_ms });
        }
        let wrong = || D::Error::custom("must be a number of seconds since 1970");
        let seconds = f64::deserialize(deserializer).map_err(|_| wrong())?;
        if !(0.0..TIME_END_S).contains(&seconds) {
            return Err(wrong());
        }
        Ok(Time { at_ms: (seconds * 1000.0).round() as u64 })
    }
}

/// Bytes that are lower-case hexadecimal digits in JSON.
macro_rules! hex_bytes {
    ($(#[$meta:meta])* $name:ident, $length:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Reads the digits.
            ///
            /// # Errors
            /// There are more or fewer of them, or something else is among them.
            pub fn parse(text: &str) -> Result<$name, Invalid> {
                let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
                let wrong = || format!("must be {} lower-case hexadecimal digits", 2 * $length).into();
                bytes.map($name).ok_or_else(wrong)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                if !deserializer.is_human_readable() {
                    return <[u8; $length]>::deserialize(deserializer).map($name);
                }
                $name::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

hex_bytes! {
    /// A SHA-256, an HMAC-SHA-256, or a challenge of that length.
    Digest, 32
}
hex_bytes! {
    /// What tells the webhooks of a room apart; no secret.
    HookId, 8
}

/// Bytes of a file in one request or answer: at most [`FILE_CHUNK_BYTES`]. Base64 with its padding in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkBytes(Vec<u8>);

impl ChunkBytes {
    /// A piece of a file, as a request carries it.
    ///
    /// # Errors
    /// It is empty or too long.
    pub fn new(bytes: Vec<u8>) -> Result<ChunkBytes, Invalid> {
        if bytes.is_empty() || bytes.len() > FILE_CHUNK_BYTES {
            return Err(format!("must hold 1 to {FILE_CHUNK_BYTES} bytes").into());
        }
        Ok(ChunkBytes(bytes))
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for ChunkBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for ChunkBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        base64_text::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ChunkBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ChunkBytes, D::Error> {
        ChunkBytes::new(base64_text::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Bytes that are base64 in JSON, and bytes in the log. For `#[serde(with = …)]`.
pub mod base64_text {
    use super::{BASE64, Deserialize, Deserializer, Error, Serialize, Serializer};

    /// Writes base64 with its padding.
    pub fn serialize<S: Serializer>(bytes: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&BASE64.encode(bytes))
        } else {
            bytes.serialize(serializer)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer);
        }
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(|_| D::Error::custom("must be base64 with its padding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives<T>(value: &T)
    where
        T: Serialize + for<'de> Deserialize<'de> + PartialEq + fmt::Debug,
    {
        let json = serde_json::to_string(value).unwrap();
        assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
        let log = postcard::to_allocvec(value).unwrap();
        assert_eq!(&postcard::from_bytes::<T>(&log).unwrap(), value);
    }

    #[test]
    fn values_survive_json_and_the_log() {
        survives(&Body::new("hi").unwrap());
        survives(&Seq::try_from(i64::MAX as u64).unwrap());
        survives(&Seconds::try_from(5).unwrap());
        survives(&Time { at_ms: 1_763_677_200_123 });
        survives(&Digest([0xab; 32]));
        survives(&HookId([7; 8]));
        survives(&ChunkBytes::new(vec![1, 2, 3]).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words_that_follow_the_field() {
        let said = |refused: Result<String, Invalid>| refused.unwrap_err().of("field").reason;
        let text = |checked: Result<Topic, Invalid>| checked.map(String::from);
        assert_eq!(said(text(Topic::new("\u{1b}"))), "field contains a control character");
        assert_eq!(said(Body::new("").map(String::from)), "field is empty");
        assert_eq!(said(Body::new("\0").map(String::from)), "field contains a NUL character");
        assert_eq!(
            said(Emoji::new("a b").map(String::from)),
            "field must be one to 64 bytes without white space"
        );
        assert_eq!(said(Seconds::try_from(0).map(|_| String::new())), "field must be 1 to 4294967295");
        let below = "field must be an unsigned integer below 2^63";
        assert_eq!(said(Seq::try_from(1 << 63).map(|_| String::new())), below);
        assert!(serde_json::from_str::<Time>("-1").is_err() && serde_json::from_str::<Time>("1e13").is_err());
        assert!(ChunkBytes::new(vec![0; FILE_CHUNK_BYTES + 1]).is_err());
        assert!(serde_json::from_str::<ChunkBytes>("\"*\"").is_err());
    }
}
