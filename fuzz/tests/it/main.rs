//! Every target over its seeds, past findings among them.

use std::fs;
use std::path::Path;

#[test]
fn no_seed_breaks_a_promise() {
    for (name, target) in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for seed in seeds.map(|seed| seed.expect("an entry").path()) {
            target(&fs::read(&seed).expect("a seed"));
            count += 1;
        }
        assert!(count > 0, "{name} has no seed");
    }
}

#[test]
fn targets_are_found_by_their_names() {
    assert!(fuzz::names().iter().all(|name| fuzz::target(name).is_some()));
    assert!(fuzz::target("unknown").is_none());
}
