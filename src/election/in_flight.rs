//! Tokens on their next hop: sent again until they are received, or until the next one is found silent.

use std::collections::BTreeMap;

use crate::protocol::{
    datagram::{Receipt, Token},
    name::ServerId,
};

/// A token that was not received is sent again after this time. A datagram on a local network takes less
/// than 1 ms; a loaded server takes some more to answer.
const RESEND_MS: u64 = 20;
/// How often a token is sent before the next server counts as silent.
const TRIES: u32 = 4;
/// How long a server counts as silent, unless it is heard before.
const SILENT_MS: u64 = 2_000;

/// The tokens that wait for their receipts: at most one of each initiator, since a newer one replaces it.
#[derive(Debug, Default)]
pub(super) struct TokensInFlight {
    waiting: BTreeMap<ServerId, TokenInFlight>,
    silent_until_ms: BTreeMap<ServerId, u64>,
}

#[derive(Debug)]
struct TokenInFlight {
    token: Token,
    to: ServerId,
    tries: u32,
    again_ms: u64,
}

/// What is to be done about a token whose receipt is late.
#[derive(Debug)]
pub(super) enum Late {
    Again {
        to: ServerId,
        token: Token,
    },
    /// Find another way for it: its receiver counts as silent now.
    Silent {
        token: Token,
    },
}

impl TokensInFlight {
    /// Notes a token that goes out.
    pub fn sent(&mut self, now_ms: u64, to: ServerId, token: Token) {
        let hopping = TokenInFlight { to, tries: 1, again_ms: now_ms + RESEND_MS, token };
        self.waiting.insert(hopping.token.initiator.clone(), hopping);
    }

    /// Takes in a receipt. Any that is not for a waiting token is ignored.
    pub fn received(&mut self, from: &ServerId, receipt: &Receipt) {
        self.silent_until_ms.remove(from);
        let is_meant = self
            .waiting
            .get(&receipt.initiator)
            .is_some_and(|hopping| hopping.to == *from && receipt_of(&hopping.token) == *receipt);
        if is_meant {
            self.waiting.remove(&receipt.initiator);
        }
    }

    /// Notes a sign that `from` can be reached again: a token of it came, or its link came up.
    pub fn heard(&mut self, from: &ServerId) {
        self.silent_until_ms.remove(from);
    }

    /// Drops the token of `initiator`: it need not arrive any more.
    pub fn forget(&mut self, initiator: &ServerId) {
        self.waiting.remove(initiator);
    }

    /// Drops all tokens; no server counts as silent any more.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.silent_until_ms.clear();
    }

    /// Whether `id` has left tokens without receipt lately.
    pub fn is_silent(&self, now_ms: u64, id: &ServerId) -> bool {
        self.silent_until_ms.get(id).is_some_and(|until_ms| now_ms < *until_ms)
    }

    /// Takes one of those that are late; to be called until there are none.
    pub fn late(&mut self, now_ms: u64) -> Option<Late> {
        let (initiator, hopping) = self.waiting.iter_mut().find(|(_, hopping)| now_ms >= hopping.again_ms)?;
        if hopping.tries < TRIES {
            hopping.tries += 1;
            hopping.again_ms = now_ms + RESEND_MS;
            return Some(Late::Again { to: hopping.to.clone(), token: hopping.token.clone() });
        }
        let initiator = initiator.clone();
        let hopping = self.waiting.remove(&initiator)?;
        self.silent_until_ms.insert(hopping.to, now_ms + SILENT_MS);
        Some(Late::Silent { token: hopping.token })
    }

    /// When the next one will be late.
    pub fn due_ms(&self) -> Option<u64> {
        self.waiting.values().map(|hopping| hopping.again_ms).min()
    }
}

/// The receipt that the receiver of this token sends.
pub(super) fn receipt_of(token: &Token) -> Receipt {
    Receipt {
        initiator: token.initiator.clone(),
        round: token.round,
        hops: token.visited.len(),
        returning: token.returning,
    }
}
