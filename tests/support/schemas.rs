//! Schemas folders for tests: a few commands, so that a test's topics are few.

use std::path::Path;

/// The four commands of the first documents.
pub const FOUR: [&str; 4] = [
    "tencent/Group.CallbackAfterChangeGroupOwner",
    "tencent/Group.CallbackAfterCreateGroup",
    "tencent/Group.CallbackAfterGroupAttrChanged",
    "openim/callbackAfterTransferGroupOwnerCommand",
];

/// Copies these commands of the project's folder, and the timeline's schema for the readers, into `dir`.
pub fn copy(commands: &[impl AsRef<Path>], dir: &Path) {
    let timeline = Path::new("bridge/Timeline");
    for command in commands.iter().map(AsRef::as_ref).chain([timeline]) {
        let to = dir.join(command);
        std::fs::create_dir_all(&to).expect("a temporary folder is writable");
        for file in std::fs::read_dir(Path::new("schemas").join(command)).expect("the command has a folder") {
            let file = file.expect("the folder can be listed").path();
            std::fs::copy(&file, to.join(file.file_name().expect("a file"))).expect("a schema can be copied");
        }
    }
}

/// Writes a before-command that is made from the schema of creating a group: the same fields with another name and
/// phase.
pub fn add_before_command(dir: &Path) -> &'static str {
    let created =
        std::fs::read_to_string("schemas/tencent/Group.CallbackAfterCreateGroup/v1.avsc").expect("it is there");
    let before = created.replace("CallbackAfterCreateGroup", "CallbackBeforeTest");
    let mut before: serde_json::Value = serde_json::from_str(&before).expect("a schema is JSON");
    let attributes = before["imbridge"].as_object_mut().expect("an object");
    attributes.insert("phase".into(), "before".into());
    // A before-command asks, so it has no kind of event.
    attributes.retain(|name, _| !["kind", "actor", "targets", "lacks"].contains(&name.as_str()));
    let folder = dir.join("tencent/Group.CallbackBeforeTest");
    std::fs::create_dir_all(&folder).expect("a temporary folder is writable");
    std::fs::write(folder.join("v1.avsc"), before.to_string()).expect("a temporary folder is writable");
    "Group.CallbackBeforeTest"
}
