//! A topic with records of two versions of one schema.

use std::path::PathBuf;

use serde_json::json;

use super::bridge::{APP, Bridge, Home};

/// The command that gets a second version.
pub const COMMAND: &str = "Group.CallbackAfterChangeGroupOwner";

fn post(bridge: &Bridge, group: &str) {
    let body = json!({"GroupId": group, "NewOwner_Account": "b", "Reason": "left"});
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}");
    assert_eq!(
        bridge
            .connect()
            .post(&target, body.to_string())
            .expect("an answer")
            .status,
        200
    );
    bridge.settle();
}

/// The first version with an optional field before the fields of the bridge.
fn second_version(v1: &str) -> String {
    let field = r#"{"name": "Reason", "doc": "Why the owner changed, where it is said.", "type": ["null", "string"], "default": null},"#;
    let own = ["spool", "meta"].map(|name| v1.find(&format!("{{\"name\": \"{name}\"")));
    let own = own
        .into_iter()
        .flatten()
        .min()
        .expect("every record ends with what the bridge writes");
    format!("{}{field}\n    {}", &v1[..own], &v1[own..])
}

/// Posts "old" to a bridge with the first version, and "new" to one with both. Returns the files of the versions.
pub fn post_by_two_versions(home: &Home) -> [PathBuf; 2] {
    let folder = home.schemas().join("tencent").join(COMMAND);
    let [v1, v2] = ["v1.avsc", "v2.avsc"].map(|file| folder.join(file));
    let bridge = home.start();
    post(&bridge, "old");
    assert!(bridge.terminate().success());
    std::fs::write(&v2, second_version(&std::fs::read_to_string(&v1).unwrap())).unwrap();
    post(&home.start(), "new");
    [v1, v2]
}
