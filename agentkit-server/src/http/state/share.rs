//! How many of the slots one person may hold, so that nobody can take all of them away from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http::runs::Owner;

/// The slots that everybody holds at this moment.
#[derive(Debug, Clone)]
pub(in crate::http) struct Shares {
    held: Arc<Mutex<HashMap<Owner, usize>>>,
    most: usize,
}

/// One slot of somebody; free again when it is dropped.
#[derive(Debug)]
pub(in crate::http) struct Share {
    shares: Shares,
    owner: Owner,
}

impl Shares {
    /// Shares of so many slots: one person may hold three of four.
    pub(super) fn of(slots: usize) -> Self {
        Self { held: Arc::default(), most: slots - slots / 4 }
    }

    /// How many one person may hold.
    pub(in crate::http) fn most(&self) -> usize {
        self.most
    }

    /// One more for somebody, if they may have it.
    pub(in crate::http) fn take(&self, owner: Owner) -> Option<Share> {
        let mut held = self.lock();
        let count = held.get(&owner).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        held.insert(owner.clone(), count + 1);
        drop(held);
        Some(Share { shares: self.clone(), owner })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.lock();
        match held.get_mut(&self.owner) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.owner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use agentkit_core::TenantId;

    use super::*;

    #[test]
    fn one_person_leaves_a_quarter_to_the_others_and_nothing_is_kept_of_who_has_left() {
        let shares = Shares::of(8);
        let owner = |name: &str| Owner { tenant: TenantId::new("acme").unwrap(), person: name.into() };
        let held: Vec<_> = (0..6).map(|_| shares.take(owner("ann")).unwrap()).collect();
        assert!(shares.take(owner("ann")).is_none());
        let other = shares.take(owner("bob")).unwrap();
        drop(held);
        assert!(shares.take(owner("ann")).is_some());
        drop(other);
        assert!(shares.lock().is_empty());
        assert_eq!(Shares::of(1).most(), 1);
    }
}
