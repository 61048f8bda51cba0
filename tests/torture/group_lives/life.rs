//! The simulated life of one group: the calls that an IM server would post, and the group's expected state. The bodies
//! are the commands' samples with other values. The servers, and OpenIM's versions, differ in their commands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::support::samples::sample;

const ACCOUNTS: u32 = 24;
/// A placeholder for half of a surrogate pair, which JSON text may contain and Rust's strings cannot.
const HALF: &str = "<half>";

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Version {
    Tencent,
    /// The first commands, of v3.6.
    OldOpenim,
    Openim,
}

/// An app on an IM server.
#[derive(Debug, Clone)]
pub struct Server {
    pub app: String,
    pub version: Version,
    /// Where it posts to, with `{}` for the command.
    pub target: String,
}

/// The expected state of a group.
#[derive(Debug, Clone, Default)]
pub struct Group {
    owner: Option<String>,
    info: BTreeMap<&'static str, String>,
    custom: BTreeMap<String, String>,
    members: BTreeSet<String>,
}

/// A call to post.
pub struct Call {
    pub target: String,
    pub body: String,
}

/// A group's id and its state, which is `None` before the group is created and after it is destroyed.
pub struct Life {
    pub server: Server,
    pub id: String,
    pub group: Option<Group>,
    random: Rng,
}

impl Group {
    /// The row of the table, without its position.
    pub fn row(&self) -> Value {
        let stored = |text: &String| text.replace(['\0'], "?").replace(HALF, "?");
        let mut attributes: Map<String, Value> = Map::new();
        attributes.extend(
            self.info
                .iter()
                .map(|(name, text)| ((*name).to_owned(), stored(text).into())),
        );
        attributes.insert("custom".into(), json!(self.custom));
        json!({"owner": self.owner, "attributes": attributes, "members": self.members})
    }
}

impl Life {
    pub fn new(server: Server, id: String, random: Rng) -> Life {
        Life {
            server,
            id,
            group: None,
            random,
        }
    }

    /// The next call of the group.
    pub fn next(&mut self) -> Call {
        let Some(mut group) = self.group.take() else {
            let (group, call) = self.create();
            self.group = Some(group);
            return call;
        };
        let number = self.random.u8(0..100);
        let call = match number {
            0..30 => self.join(&mut group),
            30..48 => self.leave(&mut group, number < 40),
            48..57 => self.owner(&mut group),
            57..73 => self.info(&mut group),
            73..82 if self.is_tencent() => self.attributes(&mut group),
            73..92 => self.other(),
            _ => return self.destroy(group),
        };
        self.group = Some(group);
        call
    }

    fn create(&mut self) -> (Group, Call) {
        let mut group = Group::default();
        let others: Vec<String> = (0..self.random.usize(0..4)).map(|_| self.account()).collect();
        let owner = self.account();
        group.members.extend(others.iter().cloned());
        let call = if self.is_tencent() {
            // The REST API can create groups without an owner.
            let owner = if self.random.u8(0..5) == 0 {
                String::new()
            } else {
                owner
            };
            group.owner = Some(owner.clone()).filter(|owner| !owner.is_empty());
            let (name, operator) = (self.text(&mut group, "name"), self.account());
            self.call(
                "Group.CallbackAfterCreateGroup",
                json!({"Owner_Account": owner, "Operator_Account": operator, "Name": name, "MemberList": accounts(&others)}),
            )
        } else {
            group.owner = Some(owner.clone());
            let roles = others.iter().map(|who| json!({"userID": who, "roleLevel": 20}));
            // The list contains the owner, possibly twice.
            let first = json!({"userID": owner, "roleLevel": 100});
            let list: Vec<Value> = [first.clone(), first].into_iter().chain(roles).collect();
            let [name, notification, introduction, picture] =
                ["name", "notification", "introduction", "picture"].map(|what| self.text(&mut group, what));
            self.call(
                "callbackAfterCreateGroupCommand",
                json!({"ownerUserID": owner, "creatorUserID": owner, "groupName": name, "notification": notification,
                    "introduction": introduction, "faceURL": picture, "initMemberList": list}),
            )
        };
        group.members.extend(group.owner.clone());
        (group, call)
    }

    fn join(&mut self, group: &mut Group) -> Call {
        let number = if self.is_tencent() { self.random.usize(1..4) } else { 1 };
        let new: Vec<String> = (0..number).map(|_| self.account()).collect();
        group.members.extend(new.iter().cloned());
        match self.server.version {
            Version::Tencent => self.call(
                "Group.CallbackAfterNewMemberJoin",
                json!({"Operator_Account": new[0], "NewMemberList": accounts(&new)}),
            ),
            _ => self.call("callbackAfterJoinGroupCommand", json!({"inviterUserID": new[0]})),
        }
    }

    /// Members leave or are removed. The owner stays.
    fn leave(&mut self, group: &mut Group, by_itself: bool) -> Call {
        let mut gone: Vec<String> = group.members.iter().cloned().collect();
        gone.retain(|who| Some(who) != group.owner.as_ref());
        self.random.shuffle(&mut gone);
        gone.truncate(if by_itself { 1 } else { 3 });
        if gone.is_empty() {
            return self.join(group);
        }
        group.members.retain(|who| !gone.contains(who));
        match (self.server.version, by_itself) {
            (Version::Tencent, _) => {
                let (way, operator) = if by_itself {
                    ("Quit", gone[0].clone())
                } else {
                    ("Kicked", self.account())
                };
                self.call(
                    "Group.CallbackAfterMemberExit",
                    json!({"ExitType": way, "Operator_Account": operator, "ExitMemberList": accounts(&gone)}),
                )
            }
            (Version::Openim, true) => self.call("callbackAfterQuitGroupCommand", json!({"userID": gone[0]})),
            (Version::Openim, false) => self.call("callbackAfterKickGroupCommand", json!({"kickedUserIDs": gone})),
            (Version::OldOpenim, true) => self.call("callbackQuitGroupCommand", json!({"userID": gone[0]})),
            (Version::OldOpenim, false) => self.call("callbackKillGroupCommand", json!({"kickedUserIDs": gone})),
        }
    }

    fn owner(&mut self, group: &mut Group) -> Call {
        let (new, operator) = (self.account(), self.account());
        let old = group.owner.replace(new.clone());
        group.members.insert(new.clone());
        match self.server.version {
            Version::Tencent => self.call(
                "Group.CallbackAfterChangeGroupOwner",
                json!({"Operator_Account": operator, "OldOwner_Account": old, "NewOwner_Account": new}),
            ),
            Version::Openim => self.call(
                "callbackAfterTransferGroupOwnerCommand",
                json!({"oldOwnerUserID": old, "newOwnerUserID": new}),
            ),
            Version::OldOpenim => self.call(
                "callbackAfterTransferGroupOwner",
                json!({"oldOwnerUserID": old, "newOwnerUserID": new}),
            ),
        }
    }

    /// Some of the group's attributes change. Those that do not are absent, null or an empty text.
    fn info(&mut self, group: &mut Group) -> Call {
        let older = self.server.version == Version::OldOpenim || self.random.bool();
        let stays = if !self.is_tencent() && older {
            json!("")
        } else {
            Value::Null
        };
        let [name, introduction, notification, picture] =
            ["name", "introduction", "notification", "picture"].map(|what| {
                if self.random.bool() {
                    return stays.clone();
                }
                let before = group.info.get(what).cloned();
                let text = self.text(group, what);
                // Here an empty text means no change.
                if stays == text.as_str()
                    && let Some(before) = before
                {
                    group.info.insert(what, before);
                } else if stays == text.as_str() {
                    group.info.remove(what);
                }
                text.into()
            });
        if self.is_tencent() {
            let muted = [Value::Null, json!("On"), json!("Off")][self.random.usize(0..3)].clone();
            return self.call(
                "Group.CallbackAfterGroupInfoChanged",
                json!({"Name": name, "Introduction": introduction, "Notification": notification, "FaceUrl": picture, "ShutUpAllMember": muted}),
            );
        }
        let command = if older {
            "callbackAfterSetGroupInfoCommand"
        } else {
            "callbackAfterSetGroupInfoExCommand"
        };
        let changes =
            json!({"groupName": name, "introduction": introduction, "notification": notification, "faceURL": picture});
        self.call(command, changes)
    }

    fn attributes(&mut self, group: &mut Group) -> Call {
        let change = ["set", "modify", "modify", "delete", "clear"][self.random.usize(0..5)];
        let count = if change == "clear" { 0 } else { self.random.usize(1..4) };
        let keys: BTreeSet<String> = (0..count).map(|_| format!("k{}", self.random.u8(0..6))).collect();
        if ["set", "clear"].contains(&change) {
            group.custom.clear();
        }
        let mut listed = Vec::new();
        for key in keys {
            if change == "delete" {
                group.custom.remove(&key);
                listed.push(json!({"key": key}));
            } else {
                let value = self.random.u32(..).to_string();
                listed.push(json!({"key": key, "value": value}));
                group.custom.insert(key, value);
            }
        }
        let operator = self.account();
        self.call(
            "Group.CallbackAfterGroupAttrChanged",
            json!({"Operator_Account": operator, "OptionType": change, "GroupAttr": listed}),
        )
    }

    /// A call that changes nothing in the copy: a message, a member's card, or a before-callback.
    fn other(&mut self) -> Call {
        let commands = if self.is_tencent() {
            [
                "Group.CallbackAfterSendMsg",
                "Group.CallbackAfterMemberFieldChanged",
                "Group.CallbackBeforeApplyJoinGroup",
            ]
        } else {
            [
                "callbackAfterSendGroupMsgCommand",
                "callbackAfterSetGroupMemberInfoCommand",
                "callbackBeforeJoinGroupCommand",
            ]
        };
        let command = commands[self.random.usize(0..3)];
        self.call(command, json!({"MsgSeq": tick()}))
    }

    fn destroy(&mut self, group: Group) -> Call {
        let members: Vec<String> = group.members.into_iter().collect();
        match self.server.version {
            Version::Tencent => {
                let list = if self.random.bool() {
                    accounts(&members)
                } else {
                    Value::Null
                };
                let changes = json!({"Owner_Account": group.owner, "MemberList": list});
                self.call("Group.CallbackAfterGroupDestroyed", changes)
            }
            Version::Openim => self.call("callbackAfterDisMissGroupCommand", json!({"membersID": members})),
            Version::OldOpenim => self.call("callbackDisMissGroupCommand", json!({"membersID": members})),
        }
    }

    fn is_tencent(&self) -> bool {
        self.server.version == Version::Tencent
    }

    /// An account. Some have characters that must be quoted in a list.
    fn account(&mut self) -> String {
        match self.random.u32(0..ACCOUNTS) {
            number if number % 8 == 0 => format!(r#"ü "{number}", {{\}}"#),
            number => format!("u{number}"),
        }
    }

    /// A new text for an attribute.
    fn text(&mut self, group: &mut Group, what: &'static str) -> String {
        let text = match self.random.u8(0..8) {
            0 => String::new(),
            1 => format!("a\0b \\u0000 {}", self.random.u8(..)),
            2 if self.is_tencent() => format!("cut {HALF}"),
            _ => format!("Team 😀 {}", self.random.u32(..)),
        };
        group.info.insert(what, text.clone());
        text
    }

    /// A command's sample for this group with these values. Tencent leaves out null values.
    fn call(&mut self, command: &str, changes: Value) -> Call {
        let (provider, id) = if self.is_tencent() {
            ("tencent", "GroupId")
        } else {
            ("openim", "groupID")
        };
        let sample = sample(&format!("{provider}/{command}")).1;
        let mut body: Map<String, Value> = serde_json::from_str(&sample).expect("JSON");
        body.insert(id.into(), self.id.clone().into());
        body.extend(changes.as_object().expect("an object").clone());
        if self.is_tencent() {
            body.retain(|_, value| !value.is_null());
            body.insert("EventTime".into(), tick().to_string().into());
        }
        let body = Value::Object(body).to_string().replace(HALF, r"\ud83d");
        Call {
            target: self.server.target.replace("{}", command),
            body,
        }
    }
}

/// A time in milliseconds, later than the last one: it is part of the identity of Tencent's events.
fn tick() -> u64 {
    static TIME: AtomicU64 = AtomicU64::new(1_795_873_465_418);
    TIME.fetch_add(1, Ordering::Relaxed)
}

/// Tencent's list of accounts.
fn accounts(names: &[String]) -> Value {
    names.iter().map(|name| json!({"Member_Account": name})).collect()
}
