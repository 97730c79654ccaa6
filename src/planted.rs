//! Bugs on purpose, so that the simulation can show that it would notice them.
//!
//! Without the feature `planted-bugs` [`planted`] is a constant `false` and costs nothing. With it,
//! a test plants at most one bug for the thread it runs on.

/// A bug that can be planted. Its name says what goes wrong; the place that asks for it says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The consensus library is told that entries are synced although nothing was written.
    AckBeforeSync,
    /// A vote (hard state) is not written.
    ForgetVote,
    /// The replicated dedup table is left out of a snapshot.
    SnapshotDropsDedup,
    /// A repeated `client_msg_id` is not recognised.
    DedupForgotten,
    /// The per-server proposal counter is not checked: resent proposals apply twice.
    OriginRepeatAccepted,
    /// A gap in the per-server proposal counter is accepted: proposals overtake each other.
    OriginGapAccepted,
    /// A resume starts one event too late.
    ResumeGap,
    /// A resume starts one event too early.
    ResumeRepeat,
    /// An error of the disk is ignored and the server goes on.
    IgnoreSyncError,
    /// A message is acknowledged when it is proposed, not when it is committed.
    AckOnPropose,
    /// The applied index is not written with the rows it covers.
    AppliedIndexLost,
    /// The sequence number of a room is counted by each process and not replicated.
    SeqFromMemory,
    /// A follower stamps the time by its own clock while it applies.
    ClockInApply,
    /// A server whose data was lost comes back under its old identity and votes.
    AmnesiacVotes,
    /// A read is answered by a server without asking whether it is up to date, though asked for a barrier.
    BarrierSkipped,
    /// A timed-out request is answered as refused ("nothing happened") and not as unknown.
    TimeoutSaysRefused,
    /// A slow reader is skipped ahead and not cut.
    SlowReaderSkipped,
    /// The leader never hands over to a higher ring position.
    NoHandover,
    /// The election lets the ring position outrank the log.
    RankIgnoresLog,
    /// A new connection's resent messages go out in reverse order.
    ClientResendsReversed,
    /// A client gives a message a new id when it resends it.
    ClientRenumbers,
    /// After a leader change waiting proposals are not sent on to the new leader.
    ForwardForgotten,
    /// The Lamport clock is not carried over a snapshot.
    SnapshotDropsClock,
    /// The fan-out drops every hundredth event.
    FanoutDrops,
    /// A ban lasts by the clock of the server that applies it.
    BanByLocalClock,
    /// Who is banned from a room may enter it again.
    BannedEnters,
    /// A search looks into private rooms of others.
    SearchLeaksPrivate,
    /// The history of a private room is answered to whoever asks.
    HistoryForStrangers,
    /// Who is invited counts as a member before entering.
    InvitedReads,
    /// Who is muted goes on by editing what they have said.
    MutedMayEdit,
    /// What a session asks for is done though it has ended meanwhile.
    RevokedSessionAccepted,
    /// A login with a password that was changed meanwhile succeeds.
    OldPasswordAccepted,
    /// The text of a deleted message stays in its newest edit.
    DeletedTextInEdit,
    /// A message that names somebody counts twice for them.
    MentionCountedTwice,
    /// How far somebody has read is kept in memory only.
    ReadingNotStored,
    /// A file stays readable when the last message that shows it is deleted.
    FileOutlivesMessage,
    /// A room whose owner leaves has none any more.
    OwnerLost,
    /// Whether a message exists is told before whether the room may be seen.
    EvidenceBeforeRights,
    /// A connection goes on getting the events of a room that its user was kicked from.
    KickKeepsFollowing,
    /// Who posts by a webhook's token gets the events of its room from then on.
    HookFollows,
    /// Who catches up is shown a message as it was before it was edited or deleted.
    RewrittenStaysRecent,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Bug; 41] = [
        Bug::AckBeforeSync,
        Bug::ForgetVote,
        Bug::SnapshotDropsDedup,
        Bug::DedupForgotten,
        Bug::OriginRepeatAccepted,
        Bug::OriginGapAccepted,
        Bug::ResumeGap,
        Bug::ResumeRepeat,
        Bug::IgnoreSyncError,
        Bug::AckOnPropose,
        Bug::AppliedIndexLost,
        Bug::SeqFromMemory,
        Bug::ClockInApply,
        Bug::AmnesiacVotes,
        Bug::BarrierSkipped,
        Bug::TimeoutSaysRefused,
        Bug::SlowReaderSkipped,
        Bug::NoHandover,
        Bug::RankIgnoresLog,
        Bug::ClientResendsReversed,
        Bug::ClientRenumbers,
        Bug::ForwardForgotten,
        Bug::SnapshotDropsClock,
        Bug::FanoutDrops,
        Bug::BanByLocalClock,
        Bug::BannedEnters,
        Bug::SearchLeaksPrivate,
        Bug::HistoryForStrangers,
        Bug::InvitedReads,
        Bug::MutedMayEdit,
        Bug::RevokedSessionAccepted,
        Bug::OldPasswordAccepted,
        Bug::DeletedTextInEdit,
        Bug::MentionCountedTwice,
        Bug::ReadingNotStored,
        Bug::FileOutlivesMessage,
        Bug::OwnerLost,
        Bug::EvidenceBeforeRights,
        Bug::KickKeepsFollowing,
        Bug::HookFollows,
        Bug::RewrittenStaysRecent,
    ];
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants `bug` on this thread, or none.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.with(|planted| planted.set(bug));
}

/// Whether `bug` is planted on this thread.
#[cfg(feature = "planted-bugs")]
#[inline]
pub fn planted(bug: Bug) -> bool {
    PLANTED.with(|planted| planted.get() == Some(bug))
}

/// Whether a planted bug leaves the row of state with this key out of snapshots: the storage, which makes them, does
/// not know what a row means.
#[cfg(feature = "planted-bugs")]
pub fn is_left_out(key: &[u8]) -> bool {
    use crate::chat::rows;
    (planted(Bug::SnapshotDropsDedup) && key.first() == Some(&rows::SENT))
        || (planted(Bug::SnapshotDropsClock) && key.first() == Some(&rows::CLOCK))
}

/// Whether a planted bug leaves the row of state with this key out of snapshots: there is none in a build without
/// the feature.
#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub const fn is_left_out(_key: &[u8]) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static WALL_CLOCK_MS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Sets the clock that [`Bug::ClockInApply`] reads, for this thread: a simulator that plays several
/// servers sets it to the clock of the one whose turn it is.
#[cfg(feature = "planted-bugs")]
pub fn set_wall_clock_ms(wall_ms: u64) {
    WALL_CLOCK_MS.with(|clock| clock.set(wall_ms));
}

/// The clock that [`Bug::ClockInApply`] reads, milliseconds since the Unix epoch.
#[cfg(feature = "planted-bugs")]
pub fn wall_clock_ms() -> u64 {
    WALL_CLOCK_MS.with(std::cell::Cell::get)
}

/// The clock that [`Bug::ClockInApply`] reads: there is none in a build without the feature.
#[cfg(not(feature = "planted-bugs"))]
pub const fn wall_clock_ms() -> u64 {
    0
}

/// Whether `bug` is planted on this thread: never, in a build without the feature.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn planted(_bug: Bug) -> bool {
    false
}
