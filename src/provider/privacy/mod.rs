//! `[[privacy]]`: drops, hashes or masks fields before a callback leaves the bridge, to Kafka, the dead-letter topic or
//! the log. The spool holds callbacks as they came. This module knows JSON text and no schema.

mod rewrite;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::LazyLock;

use ring::hmac;
use serde::Deserialize;

use crate::callback::Head;
use crate::secret::Secret;

/// What happens to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The field is removed. An element of a list becomes null, so that the other elements keep their indexes.
    Drop,
    /// The value becomes the first 32 hex digits of the HMAC-SHA256 of its text, with the rule's key. Equal values stay
    /// equal.
    Hash,
    /// Text becomes `***`, any other value null.
    Mask,
}

/// One `[[privacy]]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyConfig {
    /// Commands as on the wire; `*` is all of them.
    pub commands: Vec<String>,
    /// Fields by their path: names on the wire, separated by `/`; `*` is every field or element. `meta/client_ip`,
    /// `meta/platform` and `meta/request_id` are values of the request that are not in its body.
    pub paths: Vec<String>,
    /// What happens to the fields.
    pub action: Action,
    /// The key for `hash`. Hashes can be compared as long as it is the same.
    pub key: Option<Secret>,
}

impl PrivacyConfig {
    /// The first key with a wrong value, and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let wrong = |key, problem: &str| Some((key, problem.to_owned()));
        if self.commands.is_empty() {
            return wrong("commands", "is empty: name commands as on the wire, or \"*\"");
        }
        let broken = |path: &&String| path.is_empty() || path.split('/').any(str::is_empty);
        if let Some(path) = self.paths.iter().find(broken) {
            return Some((
                "paths",
                format!("{path:?}: write names with single / between them, as in MsgBody/*/MsgContent/Text"),
            ));
        }
        let unknown = |path: &&String| path.starts_with("meta/") && !META.contains(&path.as_str());
        if let Some(path) = self.paths.iter().find(unknown) {
            return Some(("paths", format!("{path:?}: {} are allowed", META.join(", "))));
        }
        if self.paths.is_empty() {
            return wrong("paths", "is empty: name at least one path");
        }
        match (self.action, &self.key) {
            (Action::Hash, None) => wrong(
                "key",
                "is missing: action = \"hash\" needs one, as \"env:NAME\" or \"file:/path\"",
            ),
            (Action::Drop | Action::Mask, Some(_)) => wrong("key", "is not used: only action = \"hash\" has a key"),
            _ => None,
        }
    }
}

/// The paths of values that are not in the body.
const META: [&str; 3] = ["meta/client_ip", "meta/platform", "meta/request_id"];

fn meta<'h>(head: &'h mut Head, path: &str) -> Option<&'h mut Option<String>> {
    let fields = [&mut head.client_ip, &mut head.platform, &mut head.request_id];
    let (_, field) = META.into_iter().zip(fields).find(|(known, _)| *known == path)?;
    Some(field)
}

/// OpenIM's own secret, which allows to register administrators. OpenIM v3.6.0 to v3.8.0 write it into these bodies.
static OPENIM_SECRET: LazyLock<PrivacyConfig> = LazyLock::new(|| PrivacyConfig {
    commands: ["Before", "After"]
        .map(|when| format!("callback{when}UserRegisterCommand"))
        .into(),
    paths: vec!["secret".into()],
    action: Action::Drop,
    key: None,
});

/// All rules: the configured ones and the built-in one.
#[derive(Debug, Clone, Default)]
pub struct Privacy(Vec<PrivacyConfig>);

impl Privacy {
    /// The rules of a configuration, which must have been checked.
    pub fn new(rules: &[PrivacyConfig]) -> Privacy {
        Privacy(rules.to_vec())
    }

    /// Whether a rule applies to this command. If the command is unknown (`None`): whether any rule is configured.
    pub fn concerns(&self, command: Option<&str>) -> bool {
        let Some(command) = command else {
            return !self.0.is_empty();
        };
        self.rules(command).next().is_some()
    }

    fn rules<'a>(&'a self, command: &'a str) -> impl Iterator<Item = &'a PrivacyConfig> {
        let concerned = move |rule: &&PrivacyConfig| rule.commands.iter().any(|name| name == "*" || name == command);
        self.0.iter().chain([&*OPENIM_SECRET]).filter(concerned)
    }

    /// Applies the rules to the head.
    pub fn head(&self, command: &str, head: &mut Head) {
        for rule in self.rules(command) {
            for path in &rule.paths {
                let Some(value) = meta(head, path) else { continue };
                *value = value.take().and_then(|text| match rule.action {
                    Action::Drop => None,
                    Action::Hash => Some(rule.hash(&text)),
                    Action::Mask => Some(rewrite::MASK.to_owned()),
                });
            }
        }
    }

    /// The body after the rules were applied; the same bytes if no rule applies to its command. `None` if the body is
    /// not a JSON object, so that the rules cannot be applied.
    pub fn body<'a>(&self, command: &str, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if !self.concerns(Some(command)) {
            return Some(Cow::Borrowed(body));
        }
        let text = std::str::from_utf8(body).ok()?.trim();
        if !text.starts_with('{') {
            return None;
        }
        let rules = self.rules(command).flat_map(|rule| {
            let fields = rule.paths.iter().filter(|path| !META.contains(&path.as_str()));
            fields.map(move |path| rewrite::Step {
                path: path.as_str(),
                rule,
            })
        });
        let rules: Vec<_> = rules.collect();
        let mut out = String::with_capacity(text.len());
        rewrite::value(text, &rules, &mut out).ok()?;
        Some(Cow::Owned(out.into_bytes()))
    }
}

impl PrivacyConfig {
    fn hash(&self, text: &str) -> String {
        let key = self
            .key
            .as_ref()
            .expect("a rule that hashes has a key, which was checked");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
        hex::encode(&hmac::sign(&key, text.as_bytes()).as_ref()[..16])
    }
}
