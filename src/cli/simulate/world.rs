//! The callbacks to post: the samples of the schemas folder with new groups, users, sequence numbers and times. Most
//! are messages; fewer concern members, and fewest the groups themselves. It knows no HTTP.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use serde_json::Value;

use crate::app::Config;
use crate::callback::{Callback, Head, Phase, Provider};
use crate::cli::post::plain_head;
use crate::schema::{Catalogue, Command};

const USERS: usize = 5000;
const WORDS: [&str; 12] = [
    "hello", "tomorrow", "we", "meet", "at", "the", "station", "世界", "ok", "👍", "later", "photo",
];

/// One IM server and what it posts.
struct Side {
    provider: Provider,
    app: String,
    templates: Vec<Template>,
    /// Indices of templates. Each stands there as often as its weight.
    choices: Vec<usize>,
}

struct Template {
    command: String,
    sample: Value,
    /// Whether it has the next sequence number of its group.
    is_numbered: bool,
}

/// Everything that can be posted.
pub(super) struct World {
    sides: Vec<Side>,
    /// Part of the groups' names, so that each run has new groups, whose sequence numbers begin at 1.
    run: String,
    /// By group, the sequence number of its last message.
    numbers: Mutex<HashMap<usize, u64>>,
}

/// The values for one callback.
struct Moment<'a> {
    app: &'a str,
    group: String,
    number: u64,
    now_ms: i64,
}

impl World {
    /// Reads the samples of after-commands. If `only` names commands, reads only those.
    pub fn new(config: &Config, only: &[String], run: i64) -> Result<World> {
        let dir = &config.schemas.dir;
        let catalogue = Catalogue::load(dir)?;
        let (tencent, openim) = (config.tencent.first(), config.openim.first());
        let tencent = tencent.map(|app| (Provider::Tencent, app.sdk_app_id.to_string()));
        let openim = openim.map(|instance| (Provider::OpenIm, instance.name.clone()));
        let mut sides = Vec::new();
        for (provider, app) in tencent.into_iter().chain(openim) {
            let (mut templates, mut choices) = (Vec::new(), Vec::new());
            for command in catalogue.commands().filter(|it| is_simulated(it, provider, only)) {
                if let Some(template) = template(dir, command)? {
                    choices.extend(std::iter::repeat_n(templates.len(), weight(command.name())));
                    templates.push(template);
                }
            }
            if !templates.is_empty() {
                sides.push(Side {
                    provider,
                    app,
                    templates,
                    choices,
                });
            }
        }
        if sides.is_empty() {
            bail!(
                "nothing to post: {} has no after-command with a sample.json of these senders and commands",
                dir.display()
            );
        }
        Ok(World {
            sides,
            run: format!("{run:x}"),
            numbers: Mutex::default(),
        })
    }

    /// The number of commands.
    pub fn commands(&self) -> usize {
        self.sides.iter().map(|side| side.templates.len()).sum()
    }

    /// A callback of this group. The groups are divided among the IM servers.
    pub fn callback(&self, group: usize, rng: &mut Rng, now_ms: i64) -> Callback {
        let side = &self.sides[group % self.sides.len()];
        let template = &side.templates[side.choices[rng.usize(..side.choices.len())]];
        let moment = Moment {
            app: &side.app,
            group: match side.provider {
                Provider::Tencent => format!("@TGS#SIM{}-{group:06}", self.run),
                Provider::OpenIm => format!("sim{}-{group:06}", self.run),
            },
            number: self.number(group, template.is_numbered),
            now_ms,
        };
        let mut body = template.sample.clone();
        fill(&mut body, "", &moment, rng);
        let tencent = side.provider == Provider::Tencent;
        let head = Head {
            client_ip: tencent.then(|| format!("10.{}.{}.{}", rng.u8(..), rng.u8(..), rng.u8(..))),
            platform: tencent.then(|| ["RESTAPI", "iOS", "Android", "Web"][rng.usize(..4)].to_owned()),
            request_id: Some(format!("sim-{:016x}", rng.u64(..))),
            ..plain_head(side.provider, &side.app, &template.command, now_ms)
        };
        Callback {
            head,
            body: body.to_string().into(),
        }
    }

    /// The next sequence number of a group, or the last one for a callback that refers to an earlier message.
    fn number(&self, group: usize, is_next: bool) -> u64 {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let last = numbers.entry(group).or_insert(0);
        *last += u64::from(is_next);
        (*last).max(1)
    }
}

/// After-commands whose callback is one event, so that accepted callbacks can be compared with events in Kafka.
fn is_simulated(command: &Command, provider: Provider, only: &[String]) -> bool {
    command.provider() == provider.as_str()
        && command.rule().phase == Phase::After
        && command.rule().expand.is_none()
        && (only.is_empty() || only.iter().any(|name| name == command.name()))
}

fn template(dir: &Path, command: &Command) -> Result<Option<Template>> {
    let path = dir.join(command.provider()).join(command.name()).join("sample.json");
    let text = match std::fs::read_to_string(&path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| path.display().to_string())?,
    };
    let sample = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(Some(Template {
        command: command.name().to_owned(),
        sample,
        is_numbered: command.is_numbered(),
    }))
}

/// How often a command is posted, relative to the others.
fn weight(command: &str) -> usize {
    let has = |parts: &[&str]| parts.iter().any(|part| command.contains(part));
    if has(&["AfterSend"]) {
        100
    } else if has(&["StateChange", "UserOnline", "UserOffline", "Read"]) {
        10
    } else if has(&["Join", "Exit", "Quit", "Kick", "Member"]) {
        5
    } else {
        1
    }
}

/// Replaces the fields of a sample that differ from callback to callback, at every depth.
fn fill(value: &mut Value, name: &str, moment: &Moment<'_>, rng: &mut Rng) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, it)| fill(it, name, moment, rng)),
        Value::Array(items) => items.iter_mut().for_each(|it| fill(it, name, moment, rng)),
        Value::String(_) | Value::Number(_) => {
            if let Some(new) = fresh(value, name, moment, rng) {
                *value = new;
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The new value of a field with this name, of the same type; nothing if the field stays unchanged.
fn fresh(old: &Value, name: &str, moment: &Moment<'_>, rng: &mut Rng) -> Option<Value> {
    let number = moment.number;
    let text = match name {
        "GroupId" | "groupID" | "groupId" | "GroupID" | "ToGroupId" => moment.group.clone(),
        "MsgKey" => format!("{number}_{}_{}", rng.usize(..1 << 31), moment.now_ms / 1000),
        "MsgId" | "MsgID" | "operationID" | "clientMsgID" | "serverMsgID" => {
            format!("{:016x}{number:016x}", rng.u64(..))
        }
        "Text" => {
            let words: Vec<_> = (0..=rng.usize(..20)).map(|_| WORDS[rng.usize(..WORDS.len())]).collect();
            words.join(" ")
        }
        _ if is_user(name) => format!("user-{}", rng.usize(..USERS)),
        "SdkAppId" => moment.app.to_owned(),
        "MsgSeq" | "seq" | "Seq" => number.to_string(),
        "Random" | "MsgRandom" => rng.usize(..1 << 31).to_string(),
        _ if name.ends_with("Time") => now_like(old, moment.now_ms)?,
        _ => return None,
    };
    match old {
        Value::String(_) => Some(text.into()),
        _ => text.parse::<u64>().ok().map(Value::from),
    }
}

fn is_user(name: &str) -> bool {
    name.ends_with("_Account") || name.ends_with("UserID") || ["userID", "userId", "sendID", "recvID"].contains(&name)
}

/// The time in the unit of the old one, which its number of digits shows; nothing if the old value is not a time.
fn now_like(old: &Value, now_ms: i64) -> Option<String> {
    let digits = old.as_str().map_or_else(|| old.to_string(), str::to_owned);
    match digits.len() {
        _ if !digits.bytes().all(|byte| byte.is_ascii_digit()) => None,
        10 => Some((now_ms / 1000).to_string()),
        13 => Some(now_ms.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sample_keeps_its_shape_and_gets_new_values() {
        let mut body = json!({
            "CallbackCommand": "X", "GroupId": "old", "MsgSeq": 1, "EventTime": "1670574414123", "MsgTime": 1490686222,
            "MuteTime": 60, "From_Account": "jared", "MemberList": [{"Member_Account": "a"}], "OnlineOnlyFlag": 1
        });
        let moment = Moment {
            app: "7",
            group: "g".into(),
            number: 42,
            now_ms: 1_700_000_000_123,
        };
        fill(&mut body, "", &moment, &mut Rng::with_seed(1));
        assert_eq!(body["GroupId"], "g");
        assert_eq!(body["MsgSeq"], 42);
        assert_eq!(body["EventTime"], "1700000000123");
        assert_eq!(body["MsgTime"], 1_700_000_000);
        assert_eq!((&body["MuteTime"], &body["OnlineOnlyFlag"]), (&json!(60), &json!(1)));
        assert!(
            body["MemberList"][0]["Member_Account"]
                .as_str()
                .is_some_and(|user| user.starts_with("user-"))
        );
    }

    #[test]
    fn every_shipped_sample_can_be_simulated_and_most_callbacks_are_messages() {
        let text = "[[tencent]]\nsdk_app_id = 7\n[[openim]]\nname = \"m\"\n";
        let mut config = Config::parse("test", text, []).unwrap();
        config.schemas.dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let world = World::new(&config, &[], 1).unwrap();
        assert!(world.commands() > 60, "{}", world.commands());
        let mut rng = Rng::with_seed(3);
        let callbacks: Vec<_> = (0..2000).map(|group| world.callback(group % 10, &mut rng, 5)).collect();
        let commands = callbacks.iter().filter_map(|callback| callback.head.command.as_ref());
        let messages = commands.filter(|name| name.contains("AfterSend")).count();
        assert!((1000..1900).contains(&messages), "{messages} of 2000");
        assert!(
            callbacks
                .iter()
                .all(|callback| serde_json::from_slice::<Value>(&callback.body).is_ok())
        );
        let none = World::new(&config, &["No.Such".into()], 1);
        assert!(none.err().unwrap().to_string().contains("nothing to post"));
    }
}
