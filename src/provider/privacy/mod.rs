//! `[[privacy]]`: fields that are dropped, hashed or masked before anything of a callback leaves the bridge - to Kafka, the
//! dead-letter topic or the log. The spool holds callbacks as they came. It knows JSON text and no schema.

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
    /// It is taken out; in a list it becomes null, so that the others keep their places.
    Drop,
    /// It becomes the HMAC-SHA256 of its text under the rule's key, 32 hex digits of it: equal values stay equal.
    Hash,
    /// Text becomes `***`, anything else null.
    Mask,
}

/// One `[[privacy]]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyConfig {
    /// Commands as on the wire; `*` is all of them.
    pub commands: Vec<String>,
    /// Fields by their path: names on the wire, separated by `/`; `*` is every field or element. `meta/client_ip`,
    /// `meta/platform` and `meta/request_id` are what the request said beside its body.
    pub paths: Vec<String>,
    /// What happens to them.
    pub action: Action,
    /// For `hash`: the key, the same for as long as hashes are to be compared.
    pub key: Option<Secret>,
}

impl PrivacyConfig {
    /// What is wrong with a value: the key and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let wrong = |key, problem: &str| Some((key, problem.to_owned()));
        if self.commands.is_empty() {
            return wrong("commands", "is empty: commands as on the wire, or \"*\", are needed");
        }
        let broken = |path: &&String| path.is_empty() || path.split('/').any(str::is_empty);
        if let Some(path) = self.paths.iter().find(broken) {
            return Some((
                "paths",
                format!("{path:?}: names separated by single / are allowed, as in MsgBody/*/MsgContent/Text"),
            ));
        }
        let unknown = |path: &&String| path.starts_with("meta/") && !META.contains(&path.as_str());
        if let Some(path) = self.paths.iter().find(unknown) {
            return Some(("paths", format!("{path:?}: {} are allowed", META.join(", "))));
        }
        if self.paths.is_empty() {
            return wrong("paths", "is empty: at least one path is needed");
        }
        match (self.action, &self.key) {
            (Action::Hash, None) => wrong(
                "key",
                "is missing: action = \"hash\" needs one, as \"env:NAME\" or \"file:/path\"",
            ),
            (Action::Drop | Action::Mask, Some(_)) => wrong("key", "has no use here: only action = \"hash\" takes one"),
            _ => None,
        }
    }
}

/// What stands in a request beside its body.
const META: [&str; 3] = ["meta/client_ip", "meta/platform", "meta/request_id"];

fn meta<'h>(head: &'h mut Head, path: &str) -> Option<&'h mut Option<String>> {
    let fields = [&mut head.client_ip, &mut head.platform, &mut head.request_id];
    let (_, field) = META.into_iter().zip(fields).find(|(known, _)| *known == path)?;
    Some(field)
}

/// OpenIM's own secret, with which whoever has it registers administrators: v3.6.0 to v3.8.0 write it into these bodies.
static OPENIM_SECRET: LazyLock<PrivacyConfig> = LazyLock::new(|| PrivacyConfig {
    commands: ["Before", "After"]
        .map(|when| format!("callback{when}UserRegisterCommand"))
        .into(),
    paths: vec!["secret".into()],
    action: Action::Drop,
    key: None,
});

/// All rules, ready for use: those that were configured, and the built-in one.
#[derive(Debug, Clone, Default)]
pub struct Privacy(Vec<PrivacyConfig>);

impl Privacy {
    /// Rules that were checked.
    pub fn new(rules: &[PrivacyConfig]) -> Privacy {
        Privacy(rules.to_vec())
    }

    /// Whether anything of this command may not leave; of every command that has a configured rule, where it is not known.
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

    /// The head without what may not leave.
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

    /// A body without what may not leave; the same bytes where no rule is for its command. `None` when it is no JSON
    /// object, so that nobody can tell what stands in it.
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
