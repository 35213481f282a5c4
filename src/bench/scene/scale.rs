//! A left daemon that knows many peers and many addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::teach::{Mac, Teacher, mac};
use super::wire::{INTERFACE, Site};
use super::{Scale, Scene, TUNNEL};
use crate::bench::BenchError;
use crate::bench::case::Case;
use crate::lab;

/// The network of the peers beyond the right host (RFC 2544, appendix C.2.2).
const PEERS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// The address of the first destination of a spread; all are in the tunnel's network.
const FIRST_DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 0);

/// The most destinations of a spread: up to the last address of the tunnel's network but one.
const DESTINATIONS_MAX: usize = 255 * 256 - 1;

/// The kinds of MACs.
const LEARNED: u8 = 0x5c;
const DESTINATION: u8 = 0x5d;

/// Gives the underlay address of a peer beyond the first, which is the right host itself.
pub(super) fn endpoint(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(PEERS.addr().to_bits() + number as u32)
}

/// Lets the left host reach the addresses of many peers, all of which are the right host.
pub(super) fn prepare(sites: &[Site; 2]) -> Result<(), BenchError> {
    let [left, right] = sites;
    lab::add_route(&left.host, INTERFACE, IpNet::V4(PEERS), IpAddr::V4(right.underlay))?;
    Ok(())
}

impl Scene {
    /// Teaches the left daemon what a scaled scene knows beforehand.
    pub(super) fn teach_scale(&self, scale: Scale) -> Result<(), BenchError> {
        let mut teacher = self.teacher()?;
        let [_, right] = &self.sites;
        for peer in 0..scale.peers {
            let source = if peer == 0 { right.underlay } else { endpoint(peer) };
            let indices = share(scale, peer)..share(scale, peer + 1);
            let macs: Vec<Mac> = indices.map(|index| mac(LEARNED, index)).collect();
            teacher.teach(source, &macs)?;
        }
        teacher.check(scale.learned)
    }

    /// Makes destinations that are all behind the right host, each with a MAC of its own that no
    /// device has: permanent neighbours of the left host, learned by its daemon. For
    /// [`Case::VxlanTap`] only. It may be called again, so that nothing has aged in between.
    ///
    /// # Errors
    ///
    /// Fails if the daemon does not learn them: within the limits of its configuration it does.
    pub fn prepare_spread(&self, destinations: usize) -> Result<Vec<Ipv4Addr>, BenchError> {
        if destinations > DESTINATIONS_MAX {
            let source = io::Error::other(format!("at most {DESTINATIONS_MAX} are possible"));
            return Err(BenchError::step(format!("make {destinations} destinations"), source));
        }
        let mut teacher = self.teacher()?;
        let [left, right] = &self.sites;
        let address = |index| Ipv4Addr::from_bits(FIRST_DESTINATION.to_bits() + index as u32);
        let addresses: Vec<_> = (0..destinations).map(address).collect();
        let macs: Vec<_> = (0..destinations).map(|index| mac(DESTINATION, index)).collect();
        let neighbours: Vec<_> =
            addresses.iter().map(|address| IpAddr::V4(*address)).zip(macs.clone()).collect();
        lab::set_neighbours(&left.host, TUNNEL, &neighbours)?;
        teacher.teach(right.underlay, &macs)?;
        teacher.check(destinations + self.scale.map_or(0, |scale| scale.learned))?;
        Ok(addresses)
    }

    fn teacher(&self) -> Result<Teacher<'_>, BenchError> {
        let [left, right] = &self.sites;
        match (self.case, self.daemons.first()) {
            (Case::VxlanTap, Some(daemon)) => Teacher::new(right, left, daemon),
            _ => Err(BenchError::NoScale { case: self.case }),
        }
    }
}

/// Gives the number of the first MAC behind a peer.
fn share(scale: Scale, peer: usize) -> usize {
    scale.learned * peer / scale.peers.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_shared_evenly_and_to_the_last() {
        let scale = Scale { peers: 7, learned: 100 };
        let shares = (0..7).map(|peer| share(scale, peer + 1) - share(scale, peer));
        assert!(shares.clone().all(|share| share == 14 || share == 15));
        assert_eq!(shares.sum::<usize>(), 100);
    }

    #[test]
    fn all_peers_and_destinations_are_in_their_networks() {
        assert_eq!(endpoint(1), Ipv4Addr::new(198, 18, 0, 1));
        assert!(PEERS.contains(&endpoint(65_536)));
        let last = Ipv4Addr::from_bits(FIRST_DESTINATION.to_bits() + DESTINATIONS_MAX as u32 - 1);
        assert_eq!(last, Ipv4Addr::new(10, 9, 255, 254));
    }
}
