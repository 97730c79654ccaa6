//! How the threads of connections reach the rest of the server.

use std::{io, sync::Arc, time::Instant};

use crate::{
    protocol::{
        envelope::{BadRequest, RequestHead},
        request::Request,
    },
    replica::io::Input,
};

use super::{
    challenges::Challenges,
    clients::{Client, ReaderTask, queues::FanOutQueues},
    context::Context,
    credentials::Credentials,
    data::backups::Backups,
    machine::mailbox::Sender,
    reload::Reloader,
};

/// How the thread of a connection reaches the rest of the server.
pub struct ServerHandle {
    /// To the replica. If it is full the reader waits, and through TCP the client.
    pub inbox: Sender<Input>,
    /// For control frames of WebSockets, which the replica knows nothing of.
    pub fan_outs: FanOutQueues,
    pub credentials: Arc<Credentials>,
    pub backups: Backups,
    /// How operators prove over HTTP that they are.
    pub challenges: Challenges,
    /// Reads the configuration again.
    pub reloader: Arc<Reloader>,
    pub context: Arc<Context>,
}

impl ServerHandle {
    /// Hands a request, or what is wrong with it, to the replica. If no request may overtake it, does the
    /// hashing that it needs and waits for the answer; at most until `deadline`, if there is one.
    pub fn hand_over(
        &self,
        client: &Client,
        (head, request): (RequestHead, Result<Request, BadRequest>),
        bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<(), ServerStopping> {
        let conn = client.conn;
        let is_awaited = request.as_ref().is_ok_and(Request::is_awaited);
        self.send(Input::Request { conn, head, request, bytes })?;
        while is_awaited && let Some(ReaderTask::Work(job)) = client.next_task(deadline) {
            let done = self.credentials.work(job);
            self.send(Input::Credential { conn, done })?;
        }
        Ok(())
    }

    pub fn send(&self, input: Input) -> Result<(), ServerStopping> {
        self.inbox.send(input).map_err(|_| ServerStopping)
    }
}

/// The replica is gone, so the process is ending.
pub struct ServerStopping;

impl From<ServerStopping> for io::Error {
    fn from(_: ServerStopping) -> Self {
        io::Error::other("the server is stopping")
    }
}
