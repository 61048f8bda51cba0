//! How a composer is made, what it is asked from outside, and how its schemas and rules change.

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

    /// The same, without what these rules keep back.
    #[must_use]
    pub fn with_privacy(self, privacy: Privacy) -> Composer {
        Composer { privacy, ..self }
    }

    /// The same, with this much of a memory.
    #[must_use]
    pub fn with_history(self, config: &history::Config) -> Composer {
        let history = History::new(config, self.metrics.clone());
        Composer { history, ..self }
    }

    /// The latest dead letters.
    pub fn recent_letters(&self) -> Latest<Sample> {
        self.recent.clone()
    }

    /// The groups whose numbers did not follow one another lately.
    pub fn irregularities(&self) -> Latest<Irregularity> {
        self.history.irregularities.clone()
    }

    /// The same, for records framed like this, with the numbers of a registry where there is one.
    #[must_use]
    pub fn with_framing(self, framing: Style, registry: Option<Ids>) -> Composer {
        Composer {
            framing,
            registry,
            ..self
        }
    }

    /// From here on with other schemas and rules; what is remembered of earlier events stays.
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

    /// Every topic that something can go to.
    pub fn topics(&self) -> Vec<String> {
        self.names.all_topics(&Provider::ALL)
    }

    /// Every topic that events of these providers can go to.
    pub fn topics_of(&self, providers: &[Provider]) -> Vec<String> {
        self.names.all_topics(providers)
    }
}
