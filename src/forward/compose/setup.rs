//! Making a composer, changing its schemas and rules, and what other parts ask of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Composer, LETTERS_MAX};
use crate::callback::{CommandTable, Provider};
use crate::forward::history::{self, History};
use crate::forward::metrics::Metrics;
use crate::forward::names::Names;
use crate::forward::recent::{Latest, Sample};
use crate::forward::refusals::Refusals;
use crate::forward::renewal::Renewal;
use crate::forward::sequences::Irregularity;
use crate::forward::timeline::Timeline;
use crate::provider::Privacy;
use crate::publish;
use crate::schema::registry::Ids;
use crate::schema::{Catalogue, Command, Encoder, Style};

impl Composer {
    /// A composer for this spool's records.
    pub fn new(
        catalogue: Arc<Catalogue>,
        commands: Arc<CommandTable>,
        config: &publish::Config,
        spool: &str,
        metrics: Metrics,
    ) -> Composer {
        let names = Names::new(&catalogue, config, spool);
        let timeline = Timeline::new(config, &names);
        Composer {
            catalogue,
            commands,
            names,
            encoder: timeline
                .as_ref()
                .map_or_else(Encoder::new, |_| Encoder::with_meanings()),
            timeline,
            privacy: Privacy::default(),
            history: History::new(&history::Config::default(), metrics.clone()),
            metrics,
            framing: Style::default(),
            registry: None,
            recent: Latest::new(LETTERS_MAX),
            recalled: false,
            refusals: Refusals::new(Duration::from_secs(config.refusal_grace_s)),
            composed: 0,
            counted: BTreeSet::new(),
        }
    }

    /// The same, with these privacy rules.
    #[must_use]
    pub fn with_privacy(self, privacy: Privacy) -> Composer {
        Composer { privacy, ..self }
    }

    /// The same, with a history of this size.
    #[must_use]
    pub fn with_history(self, config: &history::Config) -> Composer {
        let history = History::new(config, self.metrics.clone());
        Composer { history, ..self }
    }

    /// The latest dead letters.
    pub fn recent_letters(&self) -> Latest<Sample> {
        self.recent.clone()
    }

    /// The latest groups with a gap or disorder.
    pub fn irregularities(&self) -> Latest<Irregularity> {
        self.history.irregularities.clone()
    }

    /// The same, with this framing of records, and with the ids of a registry where there is one.
    #[must_use]
    pub fn with_framing(self, framing: Style, registry: Option<Ids>) -> Composer {
        Composer {
            framing,
            registry,
            ..self
        }
    }

    /// Changes schemas and rules; the history stays.
    pub(in crate::forward) fn renew(&mut self, renewal: Renewal, topic_prefix: &str) {
        self.names.rename(&renewal.catalogue, topic_prefix);
        self.catalogue = renewal.catalogue;
        if let Some(registry) = &mut self.registry {
            let schemas = self.catalogue.commands().chain([self.catalogue.timeline()]);
            registry.retain(schemas.map(Command::fingerprint));
        }
        self.commands = renewal.commands;
        self.privacy = renewal.privacy;
    }

    /// Every topic that a message can go to.
    pub fn topics(&self) -> Vec<String> {
        self.names.all_topics(&Provider::ALL)
    }

    /// Every topic that events of these providers can go to.
    pub fn topics_of(&self, providers: &[Provider]) -> Vec<String> {
        self.names.all_topics(providers)
    }
}
