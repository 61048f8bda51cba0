//! All fuzz targets in one program, so that there is one thing to link: libFuzzer's main, and the target that
//! `IMBRIDGE_FUZZ` names. `scripts/fuzz` builds and runs it; it knows nothing of what a target checks.

#![no_main]

use std::sync::LazyLock;

mod targets;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("IMBRIDGE_FUZZ").expect("IMBRIDGE_FUZZ names a target");
    targets::find(&name).unwrap_or_else(|| panic!("IMBRIDGE_FUZZ={name} is no target"))
});

// The first input loads the schemas: not in the time of one that is measured.
libfuzzer_sys::fuzz_target!(init: TARGET(b""), |data: &[u8]| TARGET(data));
