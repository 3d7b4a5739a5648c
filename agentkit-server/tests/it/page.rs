//! The page in a real browser, where `AGENTKIT_PAGE_MODULES` names a folder whose `node_modules` has playwright-core and axe-core.

use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/page.mjs");

#[test]
fn the_page_does_in_a_browser_what_it_promises() {
    let Some(modules) = std::env::var_os("AGENTKIT_PAGE_MODULES") else {
        println!("skipped: AGENTKIT_PAGE_MODULES names no folder with playwright-core and axe-core");
        return;
    };
    let mut node = Command::new("node");
    node.args([SCRIPT, env!("CARGO_BIN_EXE_agentkit-server")]).env("AGENTKIT_PAGE_MODULES", modules);
    let output = match node.output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: node does not start: {error}");
            return;
        }
    };
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    // What the script says where there is no browser.
    if told.contains("skipped: ") {
        return;
    }
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.lines().filter(|line| line.starts_with("ok: ")).count() >= 15, "{told}");
}
