//! How series are declared: with a name, a sentence, and all the values that a label can have.

use std::{collections::BTreeMap, fmt::Debug};

use parking_lot::RwLock;
use prometheus_client::{
    encoding::EncodeMetric,
    metrics::{TypedMetric, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::protocol::name::ServerId;

/// A series for each value of a label. The values are known from the start, so that none appears later, and
/// nothing that users choose can become one.
#[derive(Debug)]
pub struct Labelled<L, M> {
    by: BTreeMap<L, M>,
    /// Counts values that have no series. It is shown nowhere.
    hidden: M,
}

impl<L: Ord, M> Labelled<L, M> {
    pub fn of(&self, value: &L) -> &M {
        self.by.get(value).unwrap_or(&self.hidden)
    }

    pub fn all(&self) -> impl Iterator<Item = (&L, &M)> {
        self.by.iter()
    }
}

/// A series for each server but this one, as long as the cluster has it.
#[derive(Debug)]
pub struct OfServers<M> {
    family: Family<[(&'static str, String); 1], M>,
    label: &'static str,
    by: RwLock<BTreeMap<ServerId, M>>,
}

impl<M: Clone + Default> OfServers<M> {
    /// The series of this server. What is counted of any other is shown nowhere.
    pub fn of(&self, server_id: &ServerId) -> M {
        self.by.read().get(server_id).cloned().unwrap_or_default()
    }

    /// The others are these from now on.
    pub fn follow<'a>(&self, others: impl Iterator<Item = &'a ServerId>) {
        let labels = |id: &ServerId| [(self.label, id.to_string())];
        let mut by = self.by.write();
        let mut before = std::mem::take(&mut *by);
        for id in others {
            let series = before.remove(id).unwrap_or_else(|| self.family.get_or_create_owned(&labels(id)));
            by.insert(id.clone(), series);
        }
        for id in before.keys() {
            self.family.remove(&labels(id));
        }
    }
}

#[derive(Debug, Default)]
pub struct Table(pub Registry);

impl Table {
    /// Something that only grows. The name is shown with `_total` added.
    pub fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.register(name, help, Counter::default())
    }

    /// Something that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// How long things took, in seconds.
    pub fn seconds(&mut self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.register(name, help, Histogram::new(bounds.iter().copied()))
    }

    /// A series for each value of `label`, which is shown as the given word.
    pub fn labelled<L: Ord, M>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (L, String)>,
    ) -> Labelled<L, M>
    where
        M: EncodeMetric + TypedMetric + Default + Clone + Debug + Send + Sync + 'static,
    {
        let family = self.register(name, help, Family::<[(&'static str, String); 1], M>::default());
        let by =
            values.into_iter().map(|(value, word)| (value, family.get_or_create_owned(&[(label, word)])));
        Labelled { by: by.collect(), hidden: M::default() }
    }

    /// One of these for each other server.
    pub fn of_servers<M>(&mut self, name: &str, help: &str, label: &'static str) -> OfServers<M>
    where
        M: EncodeMetric + TypedMetric + Default + Clone + Debug + Send + Sync + 'static,
    {
        let family = self.register(name, help, Family::default());
        OfServers { family, label, by: RwLock::default() }
    }

    /// Registers a series of any kind.
    pub fn register<M>(&mut self, name: &str, help: &str, metric: M) -> M
    where
        M: EncodeMetric + Clone + Debug + Send + Sync + 'static,
    {
        self.0.register(name, help, metric.clone());
        metric
    }
}
