//! The words behind a command, read one after the other.

use std::path::PathBuf;

use crate::{
    client::{
        ask::TargetedRequest,
        directory::Address,
        login::{Login, Secret},
        own::Target,
    },
    protocol::{
        FileId, RoomName, UserName,
        checked::{self, Body, Emoji, HookId, Invalid, Limit, Seconds, Seq, Setting, Time, Topic},
        credential::Password,
        limits::{HISTORY_MAX, SEARCH_DEFAULT},
        request::{ChangeSettings, History, HistoryRange, NewRole, Request, Search},
    },
};

use super::{
    date,
    mistake::Mistake,
    paths,
    secrets::{PasswordKind, Secrets},
    typed::Typed,
    usage::Usage,
};

/// Events that `/history` shows if no number is given.
const HISTORY: u64 = 20;

/// The part of a command that is not read yet.
pub struct Line<'a> {
    usage: Usage,
    rest: &'a str,
    /// The current room.
    room: Option<&'a RoomName>,
    secrets: &'a mut dyn Secrets,
}

impl<'a> Line<'a> {
    pub fn new(
        usage: Usage,
        words: &'a str,
        room: Option<&'a RoomName>,
        secrets: &'a mut dyn Secrets,
    ) -> Line<'a> {
        Line { usage, rest: words, room, secrets }
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), Mistake> {
        if self.rest.is_empty() { Ok(()) } else { Err(Mistake::TooMany(self.usage)) }
    }

    pub fn misused(&self) -> Mistake {
        Mistake::Usage(self.usage)
    }

    pub fn word(&mut self) -> Option<&'a str> {
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    pub fn needed(&mut self) -> Result<&'a str, Mistake> {
        self.word().ok_or_else(|| self.misused())
    }

    fn all(&mut self) -> &'a str {
        std::mem::take(&mut self.rest)
    }

    /// The rest of the line, which is not empty.
    pub fn text(&mut self) -> Result<&'a str, Mistake> {
        match self.all() {
            "" => Err(self.misused()),
            text => Ok(text),
        }
    }

    pub fn optional<T>(&mut self, read: fn(&mut Self) -> Result<T, Mistake>) -> Result<Option<T>, Mistake> {
        if self.rest.is_empty() { Ok(None) } else { read(self).map(Some) }
    }

    /// Whether `expected` is there, and nothing else.
    pub fn optional_word(&mut self, expected: &str) -> Result<bool, Mistake> {
        match self.word() {
            None => Ok(false),
            Some(word) if word == expected => Ok(true),
            Some(_) => Err(self.misused()),
        }
    }

    /// The current room.
    pub fn here(&self) -> Result<RoomName, Mistake> {
        self.room.cloned().ok_or(Mistake::NoRoom)
    }

    pub fn room(&mut self) -> Result<RoomName, Mistake> {
        let name = self.needed()?;
        RoomName::new(name).ok_or_else(|| Mistake::RoomName(name.into()))
    }

    pub fn room_or_here(&mut self) -> Result<RoomName, Mistake> {
        self.optional(Self::room)?.map_or_else(|| self.here(), Ok)
    }

    pub fn user(&mut self) -> Result<UserName, Mistake> {
        let name = self.needed()?;
        let bare = name.strip_prefix('@').unwrap_or(name);
        UserName::new(bare).ok_or_else(|| Mistake::UserName(name.into()))
    }

    /// A request about a user in the current room.
    pub fn of_user<R: Into<Request>>(
        &mut self,
        make: impl FnOnce(&mut Self, RoomName, UserName) -> Result<R, Mistake>,
    ) -> Result<Typed, Mistake> {
        let (room, user) = (self.here()?, self.user()?);
        make(self, room, user).map(Typed::ask)
    }

    /// A request about a message of the current room: its place is filled in when it is known.
    pub fn about<R: Into<Request>>(
        &mut self,
        make: impl FnOnce(&mut Self, RoomName, Seq) -> Result<R, Mistake>,
    ) -> Result<Typed, Mistake> {
        let (room, target) = (self.here()?, self.target()?);
        let request = make(self, room, Seq::default())?;
        Ok(Typed::ask(TargetedRequest::about(target, request)))
    }

    /// The number of a message, as it is shown (`#12` too), or `^`.
    pub fn target(&mut self) -> Result<Target, Mistake> {
        let word = self.needed()?;
        if word == "^" {
            return Ok(Target::Last);
        }
        let number = word.strip_prefix('#').unwrap_or(word).parse().ok();
        let seq = number.and_then(|number: u64| Seq::try_from(number).ok());
        match seq {
            Some(seq) => Ok(Target::Seq(seq.get())),
            None => Err(Mistake::MessageNumber(word.into(), self.usage)),
        }
    }

    pub fn body(&mut self) -> Result<Body, Mistake> {
        field("the text", Body::new(self.text()?))
    }

    pub fn emoji(&mut self) -> Result<Emoji, Mistake> {
        field("the reaction", Emoji::new(self.needed()?))
    }

    /// The new topic; without text, none.
    pub fn topic(&mut self) -> Result<Topic, Mistake> {
        field("the topic", Topic::new(self.all()))
    }

    pub fn role(&mut self) -> Result<NewRole, Mistake> {
        let word = self.needed()?;
        NewRole::try_from(word.to_owned()).map_err(|_| Mistake::Role(word.into()))
    }

    pub fn hook_id(&mut self) -> Result<HookId, Mistake> {
        field("the webhook's id", HookId::parse(self.needed()?))
    }

    pub fn seconds(&mut self) -> Result<Seconds, Mistake> {
        let word = self.needed()?;
        let seconds = word.parse::<u64>().ok().and_then(|seconds| Seconds::try_from(seconds).ok());
        seconds.ok_or_else(|| Mistake::Seconds(word.into()))
    }

    pub fn file_id(&mut self) -> Result<FileId, Mistake> {
        let word = self.needed()?;
        FileId::parse(word).ok_or_else(|| Mistake::FileId(word.into()))
    }

    pub fn path(&mut self) -> Result<PathBuf, Mistake> {
        Ok(paths::read(self.text()?))
    }

    /// A password. It is asked for only when the rest of the line is known to be right.
    pub fn secret<T>(
        &mut self,
        wanted: PasswordKind,
        check: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<T, Mistake> {
        let secret = self.raw_secret(wanted)?;
        field(wanted.name(), check(secret.expose()))
    }

    fn raw_secret(&mut self, wanted: PasswordKind) -> Result<Secret, Mistake> {
        self.end()?;
        Ok(self.secrets.secret(wanted)?)
    }

    pub fn join(&mut self) -> Result<Typed, Mistake> {
        let room = self.room()?;
        let password = match self.all() {
            "" => None,
            "?" => Some(self.secret(PasswordKind::Room, Password::new)?),
            password => Some(field("the password", Password::new(password))?),
        };
        Ok(Typed::Enter { room, private: false, password })
    }

    pub fn create(&mut self) -> Result<Typed, Mistake> {
        let room = self.room()?;
        let (mut private, mut opens_by_password) = (false, false);
        while let Some(word) = self.word() {
            match word {
                "private" => private = true,
                "password" => opens_by_password = true,
                _ => return Err(self.misused()),
            }
        }
        let ask = |line: &mut Self| line.secret(PasswordKind::RoomChosen, Password::new);
        let password = opens_by_password.then(|| ask(self)).transpose()?;
        Ok(Typed::Enter { room, private, password })
    }

    /// A login by the password that is wanted. Without one the user is a guest.
    pub fn log_in(&mut self, wanted: PasswordKind) -> Result<Typed, Mistake> {
        let user = self.optional(Self::user)?;
        let password = self.raw_secret(wanted)?;
        let login = if wanted == PasswordKind::Chosen {
            Login::by_registering(password)
        } else if password.expose().is_empty() {
            Login::default()
        } else {
            Login::by_password(password)
        };
        Ok(Typed::LogIn(user, login))
    }

    pub fn history(&mut self) -> Result<History, Mistake> {
        let room = self.here()?;
        let (range, limit) = match self.word() {
            None => (HistoryRange::Last, HISTORY),
            Some("since") => {
                let text = self.text()?;
                let at_ms = date::read(text).ok_or_else(|| Mistake::Date(text.into()))?;
                (HistoryRange::Since(at_ms), HISTORY_MAX as u64)
            }
            Some("before") => match self.target()? {
                Target::Seq(seq) => (HistoryRange::Before(seq), HISTORY),
                _ => return Err(self.misused()),
            },
            Some(count) => (HistoryRange::Last, self::count(count)?),
        };
        Ok(History { room, range, limit: Some(Limit::clamped(limit)) })
    }

    pub fn search(&mut self) -> Result<Search, Mistake> {
        let text = self.text()?;
        let (mut words, mut room, mut author, mut since, mut until) = (vec![], None, None, None, None);
        let time = |day: &str, at_ms: Option<u64>| {
            at_ms.map(|at_ms| Some(Time { at_ms })).ok_or_else(|| Mistake::Date(day.into()))
        };
        for word in text.split_whitespace() {
            match word.split_once(':') {
                Some((_, "")) | None => words.push(word),
                Some(("in", name)) => {
                    room = Some(RoomName::new(name).ok_or_else(|| Mistake::RoomName(name.into()))?);
                }
                Some(("by", name)) => {
                    let bare = name.strip_prefix('@').unwrap_or(name);
                    author = Some(UserName::new(bare).ok_or_else(|| Mistake::UserName(name.into()))?);
                }
                Some(("since", day)) => since = time(day, date::read(day))?,
                Some(("until", day)) => until = time(day, date::end(day))?,
                Some(_) => words.push(word),
            }
        }
        let query = field("the search", checked::Words::new(words.join(" ")))?;
        let limit = Some(Limit::clamped(SEARCH_DEFAULT as u64));
        Ok(Search { query, room, author, since, until, before: None, limit })
    }

    pub fn settings(&mut self) -> Result<ChangeSettings, Mistake> {
        let (usage, room, text) = (self.usage, self.here()?, self.text()?);
        let mut settings = ChangeSettings {
            room,
            private: None,
            archived: None,
            slow_s: None,
            keep_days: None,
            keep_events: None,
        };
        for word in text.split_whitespace() {
            let wrong = || Mistake::Setting(word.into(), usage);
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            let flag = || match value {
                "yes" => Ok(Some(true)),
                "no" => Ok(Some(false)),
                _ => Err(wrong()),
            };
            let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
            let setting = |text: &str| Setting::try_from(number(text)?).map(Some).map_err(|_| wrong());
            let limit = if value == "forever" { "0" } else { value };
            match name {
                "private" => settings.private = flag()?,
                "archived" => settings.archived = flag()?,
                "slow" => settings.slow_s = setting(value)?,
                "keep-days" => settings.keep_days = setting(limit)?,
                "keep-events" => {
                    settings.keep_events = Some(Seq::try_from(number(limit)?).map_err(|_| wrong())?);
                }
                _ => return Err(wrong()),
            }
        }
        Ok(settings)
    }

    /// `HOST:PORT`, or `PORT` on this machine; an IPv6 address is in brackets.
    pub fn address(&mut self) -> Result<Address, Mistake> {
        let text = self.needed()?;
        let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match port.parse() {
            Ok(port) if port != 0 && !host.is_empty() => Ok(Address::new(host, port)),
            _ => Err(Mistake::Address),
        }
    }
}

fn field<T>(name: &str, value: Result<T, Invalid>) -> Result<T, Mistake> {
    value.map_err(|invalid| Mistake::Field(invalid.of(name)))
}

fn count(text: &str) -> Result<u64, Mistake> {
    text.parse().ok().filter(|count| (1..=HISTORY_MAX as u64).contains(count)).ok_or(Mistake::Count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::terminal::{input, secrets::NoSecret, typed::Say},
        protocol::{
            credential::ChosenPassword,
            request::{self, Ban, Edit, Pin, Pins, Unpin},
        },
    };

    /// A user who knows one password; counts how often it was asked for.
    struct Knows(u32);

    impl Secrets for Knows {
        fn secret(&mut self, _: PasswordKind) -> Result<Secret, NoSecret> {
            self.0 += 1;
            Ok(Secret::new("hunter22"))
        }
    }

    fn read(line: &str) -> Result<Typed, String> {
        let den = RoomName::new("den").unwrap();
        input::read(line, Some(&den), &mut Knows(0)).map_err(|mistake| mistake.to_string())
    }

    fn room(name: &str) -> RoomName {
        RoomName::new(name).unwrap()
    }

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    #[test]
    fn lines_are_messages_unless_they_are_commands() {
        assert_eq!(read("hi /there "), Ok(Typed::Say(Say::here("hi /there "))));
        assert_eq!(read("//quit"), Ok(Typed::Say(Say::here("/quit"))));
        assert_eq!(read("  "), Ok(Typed::Nothing));
        assert_eq!(read("/quit"), Ok(Typed::Quit));
        assert_eq!(read("/server 8001"), Ok(Typed::MoveTo(Address::new("localhost", 8001))));
        assert_eq!(read("/server [::1]:9"), Ok(Typed::MoveTo(Address::new("::1", 9))));
    }

    #[test]
    fn commands_become_requests_and_texts_stay_as_they_are() {
        let (den, none) = (room("den"), Seq::default());
        let search = |words: &str| Search {
            query: checked::Words::new(words).unwrap(),
            room: None,
            author: None,
            since: None,
            until: None,
            before: None,
            limit: Some(Limit::clamped(SEARCH_DEFAULT as u64)),
        };
        let history = |range, limit| History { room: room("den"), range, limit: Some(Limit::clamped(limit)) };
        let day = |text: &str| Some(Time { at_ms: date::read(text).unwrap() });
        let body = Body::new("two  spaces").unwrap();
        for (line, typed) in [
            (
                "/edit #12 two  spaces",
                TargetedRequest::about(12, Edit { room: den.clone(), seq: none, body }),
            ),
            ("/pin #12", TargetedRequest::about(12, Pin { room: den.clone(), seq: none })),
            ("/unpin ^", TargetedRequest::about(Target::Last, Unpin { room: den.clone(), seq: none })),
            ("/pins", Pins { room: den.clone() }.into()),
            (
                "/ban @bob 60",
                Ban { room: Some(den.clone()), username: user("bob"), seconds: Seconds::try_from(60).ok() }
                    .into(),
            ),
            ("/ban bob", Ban { room: Some(den.clone()), username: user("bob"), seconds: None }.into()),
            (
                "/admin ban @bob 60",
                Ban { room: None, username: user("bob"), seconds: Seconds::try_from(60).ok() }.into(),
            ),
            ("/admin revoke bob", request::SetAdmin { username: user("bob"), admin: false }.into()),
            ("/topic", request::SetTopic { room: den.clone(), topic: Topic::new("").unwrap() }.into()),
            (
                "/search in:lobby red by:bob fox",
                Search { room: Some(room("lobby")), author: Some(user("bob")), ..search("red fox") }.into(),
            ),
            (
                "/search note: since:1970-01-02 until:1970-01-02T00:01 a:b",
                Search { since: day("1970-01-02"), until: day("1970-01-02T00:02"), ..search("note: a:b") }
                    .into(),
            ),
            ("/history 5", history(HistoryRange::Last, 5).into()),
            ("/history before #40", history(HistoryRange::Before(40), HISTORY).into()),
            (
                "/history since 1970-01-02",
                history(HistoryRange::Since(day("1970-01-02").unwrap().at_ms), HISTORY_MAX as u64).into(),
            ),
            (
                "/room-settings private=yes keep-days=forever slow=3",
                ChangeSettings {
                    room: den.clone(),
                    private: Some(true),
                    archived: None,
                    slow_s: Setting::try_from(3).ok(),
                    keep_days: Setting::try_from(0).ok(),
                    keep_events: None,
                }
                .into(),
            ),
            (
                "/room-password",
                request::RoomPassword { room: den.clone(), password: ChosenPassword::new("hunter22").ok() }
                    .into(),
            ),
            ("/room-password none", request::RoomPassword { room: den, password: None }.into()),
        ] {
            assert_eq!(read(line), Ok(Typed::ask(typed)), "{line}");
        }
    }

    #[test]
    fn what_the_client_does_itself_is_read_too() {
        let enter = |private, password: Option<&str>| {
            let password = password.map(|password| Password::new(password).unwrap());
            Ok(Typed::Enter { room: room("lobby"), private, password })
        };
        assert_eq!(read("/msg bob hi there"), Ok(Typed::Say(Say::to(user("bob"), "hi there"))));
        assert_eq!(read("/create lobby private"), enter(true, None));
        assert_eq!(read("/create lobby private password"), enter(true, Some("hunter22")));
        assert_eq!(read("/join lobby a b"), enter(false, Some("a b")));
        assert_eq!(read("/leave"), Ok(Typed::Leave(room("den"))));
        assert_eq!(read("/more"), Ok(Typed::More));
        let login = Login::by_password(Secret::new("hunter22"));
        assert_eq!(read("/login bob"), Ok(Typed::LogIn(Some(user("bob")), login)));
    }

    #[test]
    fn what_is_no_command_is_named_and_not_sent() {
        for line in [
            "/dance",
            "/",
            "/join",
            "/join a/b",
            "/quit now",
            "/history 0",
            "/server x:",
            "/who a b",
            "/block",
            "/pin",
            "/unpin x",
            "/pin 9223372036854775808",
            "/edit 1",
            "/edit x y",
            "/ban",
            "/ban bob soon",
            "/kick bob now",
            "/msg bob",
            "/get 7",
            "/logout here",
            "/create den public",
            "/room-settings slow",
            "/room-settings colour=red",
            "/history since monday",
            "/history before",
            "/history before ^",
            "/search tea until:monday",
            "/admin",
            "/admin bob",
            "/admin password",
            "/delete-file plan.pdf",
            "/role bob king",
            "/react 1 a\u{7}b",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
        let here = input::read("/topic tea", None, &mut Knows(0));
        assert!(matches!(here, Err(Mistake::NoRoom)), "{here:?}");
    }

    #[test]
    fn no_password_is_asked_for_where_the_line_is_wrong() {
        for line in
            ["/password now", "/close-account please", "/login bob hunter2", "/create den shut password"]
        {
            let mut knows = Knows(0);
            assert!(input::read(line, None, &mut knows).is_err(), "{line}");
            assert_eq!(knows.0, 0, "{line}");
        }
    }

    #[test]
    fn lines_with_passwords_are_known() {
        for line in [
            "/join den hunter2",
            "/login bob hunter2",
            "/password hunter2",
            "/room-password hunter2",
            "/admin password bob hunter2",
        ] {
            assert!(Typed::is_secret(line), "{line}");
        }
        for line in ["/join den", "/password", "/room-password ", "/admin password bob", "hello /join den x"]
        {
            assert!(!Typed::is_secret(line), "{line}");
        }
    }
}
