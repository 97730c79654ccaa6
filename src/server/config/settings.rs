//! What the command line, the environment and the configuration file say together; not checked yet.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use crate::{
    config::ServerEntry,
    server::program::{args::Args, server_address::ServerAddress},
};

use super::{
    addresses::{listening_ip, loopback_like},
    checks::{check_servers, find_server},
    error::ConfigError,
    file::ConfigFile,
};

/// This machine's address of the client port of the server that `args` names, and its certificate if it
/// requires TLS. Needs no folder and no secret.
pub fn own_client_address(args: &Args) -> Result<(SocketAddr, Option<PathBuf>), ConfigError> {
    let (file, place) = read_settings(args)?;
    let certificate = file.tls.certificate.clone().filter(|_| file.tls.required);
    let find = || {
        check_servers(&file.servers)?;
        let me = find_server(&file.servers, &args.server_id)?;
        let ip = listening_ip(&file.bind, me);
        Ok(SocketAddr::new(if ip.is_unspecified() { loopback_like(ip) } else { ip }, me.port))
    };
    let address = find().map_err(|source| ConfigError::Setting { place, source })?;
    Ok((address, certificate))
}

/// The configuration file with the settings that the command line and the environment replace, and what to
/// call that in an error. The values that came from the file are not checked yet.
pub(super) fn read_settings(args: &Args) -> Result<(ConfigFile, String), ConfigError> {
    let (mut file, mut source) = match &args.config {
        Some(path) => (ConfigFile::load(path)?, format!("the configuration {}", path.display())),
        None => (ConfigFile::default(), "the built-in configuration (name another with --config)".into()),
    };
    if !args.servers.is_empty() {
        file.servers = (0..)
            .zip(&args.servers)
            .map(|(place, server)| {
                ServerEntry::new(server.server_id.clone(), &*server.host, server.port, place)
            })
            .collect();
        source += " with --servers (SYNCNET_SERVERS)";
    }
    let mut told = BTreeSet::new();
    for ServerAddress { server_id, host, port } in &args.client_addresses {
        let server = file.servers.iter_mut().find(|server| server.server_id == *server_id);
        let server = server.ok_or_else(|| ConfigError::Stranger(server_id.clone()))?;
        if !told.insert(server_id) {
            return Err(ConfigError::Twice(server_id.clone()));
        }
        (server.client_host, server.client_port) = (Some(host.clone()), Some(*port));
    }
    if let Some(name) = &args.cluster_name {
        file.cluster_name.clone_from(name);
    }
    file.join = args.join.unwrap_or(file.join);
    file.bind = args.bind.or(file.bind);
    file.log.level = args.log_level.unwrap_or(file.log.level);
    file.metrics.listen = args.metrics_listen.or(file.metrics.listen);
    if args.tls_certificate.is_some() || args.tls_key.is_some() {
        // The two belong together: one from the file must not be mixed with one from the command line.
        (file.tls.certificate, file.tls.key) = (args.tls_certificate.clone(), args.tls_key.clone());
    }
    file.tls.required = args.tls_required.unwrap_or(file.tls.required);
    file.metrics.token_file = args.metrics_token_file.clone().or(file.metrics.token_file);
    Ok((file, source))
}
