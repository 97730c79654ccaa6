//! What is judged of the servers that the cluster has, while they change and at the end.

use std::collections::BTreeSet;

use syncnet::protocol::directory::Directory;

use crate::{
    checker::{Point, Verdict, Violation},
    cluster::Cluster,
    host::server_id,
    operator::Acked,
};

impl Cluster {
    /// Servers follow a directory: it is committed, so no other has its version.
    pub fn note_directory(&mut self, directory: &Directory) -> Verdict {
        let Some(operator) = &mut self.operator else { return Ok(()) };
        if directory.version == 0 {
            return Ok(());
        }
        let known = operator.seen.entry(directory.version).or_insert_with(|| directory.clone());
        if known != directory {
            let text = format!("two directories of one version: {known:?} and {directory:?}");
            return Err(Violation::new(Point::Members, text));
        }
        if directory.version > operator.directory.version {
            let (now, from) = (self.now, operator.directory.under_way.clone());
            operator.directory = directory.clone();
            let names: Vec<&str> = directory.iter().map(|server| server.server_id.as_str()).collect();
            self.trace.say(now, || {
                format!(
                    "+++ {names:?}, {:?}, was {from:?} (version {})",
                    directory.under_way, directory.version
                )
            });
        }
        Ok(())
    }

    /// Why the servers are not what they are to be yet, if they are not.
    pub fn unsettled_servers(&self) -> Option<String> {
        let operator = self.operator.as_ref()?;
        let directory = &operator.directory;
        if let Some(under_way) = &directory.under_way {
            return Some(format!("{under_way:?} is still under way"));
        }
        for machine in 0..self.hosts.len() {
            let Some(process) = &self.hosts[machine].process else {
                if operator.has(machine) {
                    return Some(format!("server {} does not run", machine + 1));
                }
                continue;
            };
            let known = process.replica.servers();
            if operator.has(machine) && known != directory {
                return Some(format!("server {} knows {known:?}, not {directory:?}", machine + 1));
            }
            let has_cluster = process.replica.node().identity.cluster.is_some();
            let may_hear = operator.members().iter().any(|other| known.entry(&server_id(*other)).is_some());
            if !operator.has(machine) && has_cluster && may_hear {
                return Some(format!("server {} was removed and runs", machine + 1));
            }
        }
        None
    }

    /// Judges at the end what the operator and the clients were told.
    pub fn judge_changes(&mut self) -> Verdict {
        let Some(operator) = &mut self.operator else { return Ok(()) };
        let due: BTreeSet<u16> = operator.directory.for_clients().iter().map(|server| server.port).collect();
        if let Some(device) = self.devices.iter().find(|device| device.listed != due) {
            let text =
                format!("{} knows the servers {:?}, and there are {due:?}", device.user, device.listed);
            return Err(Violation::new(Point::Members, text));
        }
        let is_settled = |directory: &&Directory| directory.under_way.is_none();
        let settled: Vec<&Directory> = operator.seen.values().filter(is_settled).collect();
        let names = |directory: &Directory| -> BTreeSet<String> {
            directory.iter().map(|server| server.server_id.to_string()).collect()
        };
        let mut last = BTreeSet::new();
        self.tally.settled = Some(0);
        for directory in &settled {
            let now = names(directory);
            if now != last && !last.is_empty() {
                self.tally.settled = self.tally.settled.map(|count| count + 1);
            }
            last = now;
        }
        operator.acked.sort_by_key(|acked| acked.version);
        let begins = |acked: &&Acked| {
            ["add", "replace", "remove"].iter().any(|change| acked.change["change"] == **change)
        };
        let begun: Vec<&Acked> = operator.acked.iter().filter(begins).collect();
        for pair in begun.windows(2) {
            let [first, second] = pair else { continue };
            let takes_back = first.change["change"] != "remove"
                && second.change["change"] == "remove"
                && second.change["server_id"] == first.change["server_id"];
            let is_between = operator
                .seen
                .range(first.version..second.version)
                .any(|(_, directory)| directory.under_way.is_none());
            if !takes_back && !is_between {
                let text = format!("{second:?} is let in while {first:?} is under way");
                return Err(Violation::new(Point::Members, text));
            }
        }
        Ok(())
    }
}
