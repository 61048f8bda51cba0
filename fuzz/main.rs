//! All fuzz targets in one program, so that only one must be linked. It has libFuzzer's main, and runs the target that
//! `IMBRIDGE_FUZZ` names. `scripts/fuzz` builds and runs it. Does not know what a target checks.

#![no_main]

use std::sync::LazyLock;

mod targets;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("IMBRIDGE_FUZZ").expect("IMBRIDGE_FUZZ names a target");
    targets::find(&name).unwrap_or_else(|| panic!("IMBRIDGE_FUZZ={name} is no target"))
});

// The first input loads the schemas, so that no measured input has to.
libfuzzer_sys::fuzz_target!(init: TARGET(b""), |data: &[u8]| TARGET(data));
