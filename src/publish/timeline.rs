//! `[timeline]` of the configuration: the topic that has the events of all commands in order.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::config::{is_topic_name, topic_config_problem};

/// Which events the timeline gets, and how its topic is created.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeline {
    /// Whether there is a timeline.
    pub enabled: bool,
    /// The topic's name without `kafka.topic_prefix` and the dot.
    pub topic: String,
    /// The commands whose events go there, named as the IM server names them; `*` means all.
    pub commands: Vec<String>,
    /// Configuration for this topic only, in addition to `kafka.topic_config`.
    pub topic_config: BTreeMap<String, String>,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline {
            enabled: true,
            topic: "timeline".into(),
            commands: vec!["*".into()],
            topic_config: BTreeMap::new(),
        }
    }
}

impl Timeline {
    /// The first invalid value: its key and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let Timeline { topic, commands, .. } = self;
        if topic.len() > 100 || !is_topic_name(topic) || topic.contains('.') {
            let allowed = "1 to 100 characters of A-Z a-z 0-9 _ - are allowed";
            return Some(("topic", format!("{topic:?}: {allowed}")));
        }
        if ["dead-letter", "checkpoints"].contains(&topic.as_str()) {
            return Some((
                "topic",
                format!("{topic:?} is the name of another topic of the bridge: choose another name"),
            ));
        }
        if commands.is_empty() {
            return Some((
                "commands",
                "is empty: [\"*\"] means all commands; enabled = false means no timeline".into(),
            ));
        }
        topic_config_problem(&self.topic_config)
    }

    /// The topic's full name.
    pub fn topic(&self, prefix: &str) -> String {
        format!("{prefix}.{}", self.topic)
    }

    /// Whether a command's events go there.
    pub fn has(&self, command: &str) -> bool {
        self.commands.iter().any(|name| name == "*" || name == command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_another_topic_and_a_policy_that_deletes_events_are_refused() {
        assert_eq!(Timeline::default().problem(), None);
        for (key, text) in [
            ("topic", "topic = \"dead-letter\""),
            ("topic", "topic = \"tencent.unknown\""),
            ("topic", "topic = \"\""),
            ("commands", "commands = []"),
            (
                "topic_config.\"cleanup.policy\"",
                "topic_config = {\"cleanup.policy\" = \"compact\"}",
            ),
        ] {
            let timeline: Timeline = toml::from_str(text).unwrap();
            assert_eq!(timeline.problem().map(|(key, _)| key), Some(key), "{text}");
        }
    }

    #[test]
    fn commands_are_listed_by_name_or_all_with_a_star() {
        let timeline: Timeline = toml::from_str("commands = [\"Group.A\"]").unwrap();
        assert!(timeline.has("Group.A") && !timeline.has("Group.B"));
        assert!(Timeline::default().has("Group.B"));
    }
}
