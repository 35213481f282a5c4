//! Connection IDs that we know again, also after a restart, and nobody can make but us: who uses one
//! has heard from us, and is where it says it is.

use aws_lc_rs::{hmac, rand};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

/// Bytes of an ID: random ones, and the beginning of a hash of these.
pub(super) const LEN: usize = 8;
const RANDOM_LEN: usize = 4;

/// Makes IDs, and knows them again.
#[derive(Clone)]
pub(super) struct Ids(hmac::Key);

impl Ids {
    /// Takes the key of the stateless resets, which is secret and stays the same.
    pub(super) fn new(key: &hmac::Key) -> Self {
        let own = hmac::sign(key, b"tunctl connection IDs");
        Self(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }

    /// Whether an ID is one of ours.
    pub(super) fn has(&self, id: &[u8]) -> bool {
        let Some((random, tag)) = id.split_at_checked(RANDOM_LEN) else { return false };
        id.len() == LEN && hmac::sign(&self.0, random).as_ref()[..LEN - RANDOM_LEN] == *tag
    }
}

impl ConnectionIdGenerator for Ids {
    /// # Panics
    ///
    /// Panics if the system has no random numbers: then nothing here is safe.
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; LEN];
        rand::fill(&mut id[..RANDOM_LEN]).expect("the system has random numbers");
        let tag = hmac::sign(&self.0, &id[..RANDOM_LEN]);
        id[RANDOM_LEN..].copy_from_slice(&tag.as_ref()[..LEN - RANDOM_LEN]);
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        if self.has(id) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_again_with_the_same_key_and_no_other() {
        let key = |byte| hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]);
        let id = Ids::new(&key(1)).generate_cid();
        assert!(Ids::new(&key(1)).has(&id));
        assert!(!Ids::new(&key(2)).has(&id));
        for bit in 0..LEN * 8 {
            let mut other = id.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!Ids::new(&key(1)).has(&other), "bit {bit}");
        }
        assert!((0..LEN).all(|len| !Ids::new(&key(1)).has(&id[..len])));
    }
}
