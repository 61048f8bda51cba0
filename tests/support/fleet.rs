//! Several bridges that share their topics and the load. Each has its own folder, spool id and ports.

use super::bridge::{Bridge, Home};
use super::oracle::Plan;

/// The bridges, running or not, by their number from 0.
pub struct Fleet {
    // Dropped before the folders of their logs.
    bridges: Vec<Option<Bridge>>,
    /// What each bridge keeps over restarts. All use the prefix of the first one.
    pub homes: Vec<Home>,
}

impl Fleet {
    /// Makes a fleet of the homes' bridges. Starts none.
    pub fn new(mut homes: Vec<Home>) -> Fleet {
        let prefix = homes[0].prefix.clone();
        for (number, home) in homes.iter_mut().enumerate() {
            home.prefix.clone_from(&prefix);
            home.set("KAFKA__TOPIC_PREFIX", prefix.clone());
            home.set("SPOOL__ID", format!("replica-{number}"));
        }
        Fleet {
            bridges: homes.iter().map(|_| None).collect(),
            homes,
        }
    }

    /// The numbers of all bridges.
    pub fn numbers(&self) -> std::ops::Range<usize> {
        0..self.homes.len()
    }

    /// Starts one bridge and waits until it is ready.
    pub fn start(&mut self, number: usize) {
        self.bridges[number] = Some(self.homes[number].start());
    }

    /// Starts all bridges at the same time and waits until each is ready.
    pub fn start_all(&mut self) {
        let started: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> = self.homes.iter().map(|home| scope.spawn(|| home.start())).collect();
            starting
                .into_iter()
                .map(|start| Some(start.join().expect("it starts")))
                .collect()
        });
        self.bridges = started;
    }

    /// A running bridge.
    pub fn bridge(&self, number: usize) -> &Bridge {
        self.bridges[number].as_ref().expect("it runs")
    }

    /// All running bridges.
    pub fn running(&self) -> impl Iterator<Item = &Bridge> {
        self.bridges.iter().flatten()
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self, number: usize) {
        self.bridges[number].take().expect("it runs").kill();
    }

    /// Deletes the spool of a stopped bridge.
    pub fn lose_spool(&mut self, number: usize) {
        assert!(self.bridges[number].is_none(), "its spool is in use");
        std::fs::remove_dir_all(self.homes[number].path().join("spool")).expect("it has run");
    }

    /// Sends SIGTERM. Its records are then in Kafka or stay in its spool.
    pub fn terminate(&mut self, number: usize) {
        assert!(self.bridges[number].take().expect("it runs").terminate().success());
    }

    /// A load through all bridges.
    pub fn plan(&self) -> Plan {
        let [first, others @ ..] = self.homes.as_slice() else {
            panic!("no fleet is without a bridge");
        };
        others
            .iter()
            .fold(Plan::new(first), |plan, home| plan.with("port", home.port))
    }

    /// Waits until everything that they accepted is in Kafka.
    pub fn settle(&self) {
        self.running().for_each(Bridge::settle);
    }

    /// The sum of a metric over all running bridges.
    pub fn metric(&self, parts: &[&str]) -> f64 {
        self.running().map(|bridge| bridge.metric(parts)).sum()
    }
}
