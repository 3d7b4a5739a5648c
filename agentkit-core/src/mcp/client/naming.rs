//! Names of tools that every provider takes, made of names that servers choose freely.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::tool::MAX_NAME;

/// The names of one server's tools, no two alike.
#[derive(Debug)]
pub(super) struct Names<'p> {
    prefix: &'p str,
    taken: BTreeSet<String>,
}

impl<'p> Names<'p> {
    pub(super) fn new(prefix: &'p str) -> Self {
        Self { prefix, taken: BTreeSet::new() }
    }

    /// A name for the tool that the server calls `name`: the same for the same tools in the same order.
    pub(super) fn of(&mut self, name: &str) -> Result<String> {
        if name.is_empty() {
            return Err(Error::invalid_input("the tool has no name"));
        }
        let is_taken = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let whole: String =
            self.prefix.chars().chain(name.chars()).map(|c| if is_taken(c) { c } else { '_' }).collect();
        let fits = |end: &str| {
            format!("{}{end}", whole.get(..whole.len().min(MAX_NAME - end.len())).unwrap_or(&whole))
        };
        let numbered = (2..=self.taken.len() + 2).map(|number| fits(&format!("_{number}")));
        let free = std::iter::once(fits("")).chain(numbered).find(|name| !self.taken.contains(name));
        let free = free.ok_or_else(|| Error::internal("no name is left for the tool"))?;
        self.taken.insert(free.clone());
        Ok(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_fit_for_providers_and_differ() {
        let mut names = Names::new("docs.");
        assert_eq!(names.of("files/read").unwrap(), "docs_files_read");
        assert_eq!(names.of("files.read").unwrap(), "docs_files_read_2");
        assert_eq!(names.of("größe 茶").unwrap(), "docs_gr__e__");
        assert!(names.of("").is_err());
        let long = "x".repeat(200);
        let (first, second) = (names.of(&long).unwrap(), names.of(&long).unwrap());
        assert_eq!((first.len(), second.len()), (MAX_NAME, MAX_NAME));
        assert!(second.ends_with("_2") && first != second);
    }
}
