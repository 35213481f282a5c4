//! The traffic that a node shows is what went over the wire and to its devices.

use super::{Checked, ensure};

/// What a node counted, and what was seen of it.
pub fn check(what: &str, counted: u64, seen: u64) -> Checked {
    ensure!(counted == seen, "traffic: {what}: {counted} packets counted, {seen} seen");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_off_by_one_is_found() {
        assert_eq!(check("sent", 7, 7), Ok(()));
        assert!(check("sent", 7, 8).is_err());
        assert!(check("sent", 8, 7).is_err());
    }
}
