//! The program that libFuzzer drives; `AGENTKIT_FUZZ_TARGET` names the target.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var_os("AGENTKIT_FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name.to_string_lossy())
        .unwrap_or_else(|| panic!("AGENTKIT_FUZZ_TARGET must be one of {:?}", fuzz::names()))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (*TARGET)(data));
