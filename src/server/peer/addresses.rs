//! The addresses of the configured servers. Names are looked up in the background and the results kept, so
//! that no thread waits for a name server if it need not.
//!
//! A name may lead to another address later: a container that starts again has a new one. So a thread that
//! sees a sign of an old address asks for another look. That happens on a thread of its own, while the old
//! address stays in use.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};

use crate::{
    config::ServerEntry,
    protocol::name::ServerId,
    server::{config::Config, machine::ports::Port},
};

/// Shortest time between two looks at one name.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Finds the addresses of a host; the port is only passed on.
type Resolver = Box<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The addresses of the other servers.
pub struct Addresses {
    servers: RwLock<BTreeMap<ServerId, ServerEntry>>,
    found: RwLock<BTreeMap<ServerId, IpAddr>>,
    /// When a look at each name began, and whether it goes on.
    looks: Mutex<BTreeMap<ServerId, (Instant, bool)>>,
    /// Whether this server's sockets speak IPv6.
    is_v6: bool,
    resolver: Resolver,
}

impl Addresses {
    /// Addresses that need no name server are known at once.
    pub fn new(config: &Config) -> Self {
        Addresses::with_resolver(config, Box::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())))
    }

    fn with_resolver(config: &Config, resolver: Resolver) -> Self {
        let addresses = Addresses {
            servers: RwLock::default(),
            found: RwLock::default(),
            looks: Mutex::default(),
            is_v6: config.peer_ip.is_ipv6(),
            resolver,
        };
        addresses.follow(config.peers());
        addresses
    }

    /// The other servers are these from now on.
    pub fn follow<'a>(&self, peers: impl Iterator<Item = &'a ServerEntry>) {
        let mut servers: BTreeMap<_, _> =
            peers.map(|server| (server.server_id.clone(), server.clone())).collect();
        std::mem::swap(&mut *self.servers.write(), &mut servers);
        let before = servers;
        let now = self.servers.read().clone();
        let moved = |id: &ServerId| {
            before.get(id).map(|server| &server.host) != now.get(id).map(|server| &server.host)
        };
        self.found.write().retain(|id, _| !moved(id));
        self.looks.lock().retain(|id, _| now.contains_key(id));
        for (server_id, _) in now.iter().filter(|(id, server)| moved(id) && is_fixed(&server.host)) {
            // Should it fail all the same, the thread that connects looks again and says so.
            let _ = self.look_up(server_id);
        }
    }

    /// The address of a server's port, as far as it is known.
    pub fn of(&self, server_id: &ServerId, port: Port) -> Option<SocketAddr> {
        let ip = *self.found.read().get(server_id)?;
        Some(SocketAddr::new(ip, port.of(self.servers.read().get(server_id)?.port)?))
    }

    /// Whether a configured server is at this address, as far as is known.
    pub fn is_known(&self, ip: IpAddr) -> bool {
        self.found.read().values().any(|known| *known == ip)
    }

    /// Looks a server's host up, however long that takes.
    ///
    /// # Errors
    /// The name leads nowhere, or only to addresses that this server's sockets cannot use.
    pub fn look_up(&self, server_id: &ServerId) -> io::Result<()> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no address of this server's kind");
        let server = self.servers.read().get(server_id).cloned().ok_or_else(unknown)?;
        let found = (self.resolver)(&server.host, server.port)?;
        let fitting = found.iter().find(|address| address.is_ipv6() == self.is_v6);
        let ip = fitting.ok_or_else(unknown)?.ip();
        if let Some(old) = self.found.write().insert(server_id.clone(), ip)
            && old != ip
        {
            log::info!("{server_id} is at {ip} now; it was at {old}");
        }
        Ok(())
    }

    /// A server's address may be old: looks its host up again on a thread of its own, unless that was done a
    /// moment ago or goes on.
    pub fn refresh(self: &Arc<Self>, server_id: &ServerId) {
        let is_fixed = self.servers.read().get(server_id).is_none_or(|server| is_fixed(&server.host));
        if is_fixed || !self.begin_look(server_id) {
            return;
        }
        let (addresses, id) = (self.clone(), server_id.clone());
        let look = move || {
            // The address that is known stays in use if this fails.
            if let Err(error) = addresses.look_up(&id) {
                log::debug!("the host of {id} cannot be looked up: {error}");
            }
            addresses.end_look(&id);
        };
        if std::thread::Builder::new().name("peer-look-up".into()).spawn(look).is_err() {
            self.end_look(server_id);
        }
    }

    /// A server was heard from `ip`. If that is not its known address, the known one may be old.
    pub fn heard_from(self: &Arc<Self>, server_id: &ServerId, ip: IpAddr) {
        let known = self.found.read().get(server_id).copied();
        if known != Some(ip.to_canonical()) {
            self.refresh(server_id);
        }
    }

    fn begin_look(&self, server_id: &ServerId) -> bool {
        let mut looks = self.looks.lock();
        if let Some((began, goes_on)) = looks.get(server_id)
            && (*goes_on || began.elapsed() < LOOK_EVERY)
        {
            return false;
        }
        looks.insert(server_id.clone(), (Instant::now(), true));
        true
    }

    fn end_look(&self, server_id: &ServerId) {
        if let Some((_, goes_on)) = self.looks.lock().get_mut(server_id) {
            *goes_on = false;
        }
    }
}

/// Whether a host needs no name server and never moves.
fn is_fixed(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::server::program::args::Args;

    #[test]
    fn a_name_that_moves_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("cluster.secret");
        std::fs::write(&secret, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut args = Args::parse_from([
            "syncnet-server",
            "--server-id=a",
            "--servers=a=a.example:8000,b=b.example:8000,c=10.9.9.9:8000",
        ]);
        (args.data_dir, args.log_dir) = (folder.path().into(), folder.path().into());
        let config = Config::load(&args).unwrap();
        let now_at = Arc::new(Mutex::new([10, 0, 0, 1]));
        let (tell, looked) = crossbeam_channel::unbounded();
        let at = now_at.clone();
        let resolver = move |host: &str, port| {
            let ip = host.parse().unwrap_or_else(|_| IpAddr::from(*at.lock()));
            tell.send(host.to_owned()).unwrap();
            Ok(vec![SocketAddr::new(ip, port)])
        };
        let addresses = Arc::new(Addresses::with_resolver(&config, Box::new(resolver)));
        let (b, c) = (ServerId::new("b").unwrap(), ServerId::new("c").unwrap());
        assert_eq!(addresses.of(&b, Port::Peer), None);
        assert_eq!(addresses.of(&c, Port::Peer).unwrap().to_string(), "10.9.9.9:8030");
        addresses.look_up(&b).unwrap();
        assert_eq!(addresses.of(&b, Port::Peer).unwrap().to_string(), "10.0.0.1:8030");

        *now_at.lock() = [10, 0, 0, 2];
        // Heard from its known address: no reason to look.
        addresses.heard_from(&b, [10, 0, 0, 1].into());
        addresses.heard_from(&c, [10, 0, 0, 7].into());
        assert_eq!(looked.try_iter().collect::<Vec<_>>(), ["10.9.9.9", "b.example"]);
        addresses.heard_from(&b, [10, 0, 0, 2].into());
        looked.recv_timeout(Duration::from_secs(30)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while addresses.of(&b, Port::Peer).unwrap().to_string() != "10.0.0.2:8030" {
            assert!(Instant::now() < deadline, "the new address was not taken in");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_name_is_looked_up_once_at_a_time_and_not_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = Args::parse_from(["syncnet-server", "--server-id=server1"]);
        (args.data_dir, args.log_dir) = (folder.path().into(), folder.path().into());
        let addresses = Addresses::new(&Config::load(&args).unwrap());
        let id = ServerId::new("server2").unwrap();
        assert!(addresses.begin_look(&id));
        assert!(!addresses.begin_look(&id));
        let long_ago = Instant::now().checked_sub(2 * LOOK_EVERY).expect("the machine runs for longer");
        addresses.looks.lock().insert(id.clone(), (long_ago, true));
        assert!(!addresses.begin_look(&id), "one goes on");
        addresses.end_look(&id);
        assert!(addresses.begin_look(&id));
        addresses.end_look(&id);
        assert!(!addresses.begin_look(&id), "one has just ended");
    }
}
