//! The table of all requests: what each needs in the cluster, and the command that it becomes. A write that
//! does not say how it becomes one ([`Write`]) does not compile.

use super::{
    command::Command,
    draft::{Asked, Draft, OneOf, Write},
    rights::{ClusterPermission, NeedsInCluster},
};
use crate::protocol::{
    refusal::Refusal,
    request::{self, Request, requests},
};

impl<A: Into<Command>, B: Into<Command>> From<OneOf<A, B>> for Command {
    fn from(command: OneOf<A, B>) -> Command {
        match command {
            OneOf::First(command) => command.into(),
            OneOf::Second(command) => command.into(),
        }
    }
}

/// Makes a function over all requests of the table that does the same for those of one kind.
macro_rules! by_kind {
    ($($msg_type:literal $(or $alias:literal)? => $name:ident $({$room:ident $(, $seq:ident)?})?:
        $kind:ident -> $answer:ty $(, $next:ident)?;)*) => {
        /// What a request needs in the cluster.
        pub fn permission_of_request(request: &Request) -> ClusterPermission {
            match request {
                $(Request::$name(request) => by_kind!(@permission $kind $name request),)*
            }
        }

        /// The command for a request; `None` if it changes nothing in the log.
        pub fn draft_of(request: Request, asked: &Asked<'_>) -> Option<Result<Draft<Command>, Refusal>> {
            match request {
                $(Request::$name(request) => by_kind!(@draft $kind request asked),)*
            }
        }
    };
    (@permission Write $name:ident $request:ident) => { Write::needs($request) };
    (@permission $kind:ident $name:ident $request:ident) => {{
        let _ = $request;
        <request::$name as NeedsInCluster>::PERMISSION
    }};
    (@draft Write $request:ident $asked:ident) => {
        Some(Write::draft($request, $asked).map(|draft| draft.map(Command::from)))
    };
    (@draft $kind:ident $request:ident $asked:ident) => {{
        let _ = $request;
        None
    }};
}
requests!(by_kind);
