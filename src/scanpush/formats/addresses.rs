//! Addresses that are written once each, in bounded memory.

use std::collections::HashSet;
use std::net::IpAddr;

/// Addresses that are remembered, so that each is written once. Of more, those that are not in order may be written again.
const ADDRESSES_REMEMBERED_MAX: usize = 200_000;

/// The addresses that were written.
#[derive(Debug, Default)]
pub struct WrittenAddresses {
    last: Option<IpAddr>,
    remembered: HashSet<IpAddr>,
}

impl WrittenAddresses {
    /// Whether this one is to be written now: it was not before.
    pub fn is_new(&mut self, ip: IpAddr) -> bool {
        if self.last.replace(ip) == Some(ip) {
            return false;
        }
        match self.remembered.len() < ADDRESSES_REMEMBERED_MAX {
            true => self.remembered.insert(ip),
            false => !self.remembered.contains(&ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_new_once() {
        let mut written = WrittenAddresses::default();
        let new = [1u8, 2, 2, 1, 3].map(|last| written.is_new(IpAddr::from([10, 0, 0, last])));
        assert_eq!(new, [true, true, false, false, true]);
    }
}
