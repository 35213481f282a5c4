//! Setting a device up by netlink: MTU, queue, addresses, bridge, routes; and undoing it.
//!
//! [`apply`] looks at everything first, then changes one thing after the other and remembers each
//! as a step; a failure undoes the steps in reverse. What the device already was is not touched
//! and not undone. Routes and addresses carry the protocol number [`PROTOCOL`], so that what a
//! killed daemon left on a persistent device is recognised and removed at the next start.

mod link;
mod netlink;
mod step;

use std::io;

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::Handle;
use serde::{Deserialize, Serialize};

use link::Link;
use step::Step;

pub use link::{bridge_mtu, bridge_of, link_mac, link_mtu};

/// The origin that our routes and addresses are marked with (`rtm_protocol`, IFA_PROTO). Not
/// assigned in `/etc/iproute2/rt_protos`.
pub const PROTOCOL: u8 = 84;

/// The smallest MTU that IPv6 works with (RFC 8200 section 5).
const IPV6_MTU_MIN: u32 = 1280;

/// What a device shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup<'a> {
    /// The MTU; `None` leaves it. A port of a bridge gets the bridge's MTU instead.
    pub mtu: Option<u32>,
    /// The length of the queue of packets to be read; `None` leaves it.
    pub txqueuelen: Option<u32>,
    /// The most segments of a GSO packet; `None` leaves it. Not for a port of a bridge, which
    /// would cut every larger packet that it forwards in software.
    pub gso_max_segments: Option<u32>,
    /// The addresses.
    pub addresses: &'a [IpNet],
    /// The bridge to join; with `None` a persistent device stays in the one that it is in.
    pub bridge: Option<&'a str>,
    /// The prefixes to route into the device.
    pub routes: &'a [IpNet],
    /// The routes' table; `None` is the main one.
    pub table: Option<u32>,
    /// Somebody else brings it up.
    pub stays_down: bool,
}

/// Why a device cannot be set up, or not be undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// There is no such interface.
    #[error("interface {name}: does not exist")]
    NoLink {
        /// The name.
        name: String,
    },
    /// The bridge is something else.
    #[error("bridge {name}: is not a bridge but {found}")]
    NotABridge {
        /// The name.
        name: String,
        /// What it is.
        found: String,
    },
    /// The device is part of something else.
    #[error("interface {name}: is a port of {found} already")]
    OtherBridge {
        /// The device.
        name: String,
        /// The interface that it is a port of.
        found: String,
    },
    /// A port of a bridge has no addresses of its own.
    #[error("interface {name}: addresses and a bridge exclude each other")]
    AddressesOnPort {
        /// The device.
        name: String,
    },
    /// The MTU is too small for the addresses.
    #[error("interface {name}: IPv6 addresses need an MTU of 1280, not {mtu}")]
    MtuBelowIpv6 {
        /// The device.
        name: String,
        /// Its MTU.
        mtu: u32,
    },
    /// Another route has the prefix.
    #[error("route {prefix}: exists already, to {found} (give `routes` a table of its own)")]
    RouteExists {
        /// The prefix.
        prefix: IpNet,
        /// Where it leads.
        found: String,
    },
    /// The kernel refused a step.
    #[error("interface {name}: {step}: {cause}")]
    Kernel {
        /// The device.
        name: String,
        /// What was asked of the kernel.
        step: String,
        /// The kernel's error.
        cause: io::Error,
    },
}

/// What [`apply`] has changed, to be undone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    name: String,
    index: u32,
    steps: Vec<Step>,
}

/// Sets a device up.
///
/// # Errors
///
/// Names the step that failed; what was done before is undone then.
pub async fn apply(handle: &Handle, name: &str, setup: &Setup<'_>) -> Result<Applied, SetupError> {
    let link = Link::named(handle, name).await?;
    let bridge = match setup.bridge {
        Some(bridge) => Some(link::bridge_named(handle, bridge).await?),
        None => link::bridge_above(handle, &link).await?,
    };
    check(handle, &link, setup, bridge.as_ref()).await?;
    purge(handle, &link).await?;
    let mut applied = Applied { name: name.into(), index: link.index, steps: Vec::new() };
    for step in plan(&link, setup, bridge.as_ref()) {
        match step.make(handle, &link).await {
            Ok(step::Made::Done) => applied.steps.push(step),
            Ok(step::Made::WasThere) => {}
            Err(error) => {
                for error in applied.undo(handle).await {
                    tracing::warn!(%error, "undoing the set-up of the device");
                }
                return Err(error);
            }
        }
    }
    Ok(applied)
}

/// Looks for everything that can be found wrong before anything is changed.
async fn check(
    handle: &Handle,
    link: &Link,
    setup: &Setup<'_>,
    bridge: Option<&Link>,
) -> Result<(), SetupError> {
    let name = link.name.clone();
    if let (Some(bridge), Some(master)) = (bridge, link.master)
        && bridge.index != master
    {
        let found = link::name_of(handle, master).await;
        return Err(SetupError::OtherBridge { name, found });
    }
    if bridge.is_some() && !setup.addresses.is_empty() {
        return Err(SetupError::AddressesOnPort { name });
    }
    let mtu = setup.mtu.unwrap_or(link.mtu);
    let has_ipv6 = setup.addresses.iter().any(|address| matches!(address, IpNet::V6(_)));
    if has_ipv6 && mtu < IPV6_MTU_MIN {
        return Err(SetupError::MtuBelowIpv6 { name, mtu });
    }
    Ok(())
}

/// Removes what a daemon that was killed left on a persistent device.
async fn purge(handle: &Handle, link: &Link) -> Result<(), SetupError> {
    if !link.is_persistent {
        return Ok(());
    }
    for step in netlink::stale(handle, link.index).await.map_err(|error| {
        netlink::failed(&link.name, "looking for what is left of an earlier run", error)
    })? {
        tracing::info!(interface = link.name, "removing {step}, left by an earlier run");
        step.undo(handle, &link.name, link.index).await?;
    }
    Ok(())
}

/// Gives the steps that are not there already, in the order to make them.
fn plan(link: &Link, setup: &Setup<'_>, bridge: Option<&Link>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mtu = bridge.map(|bridge| bridge.mtu).or(setup.mtu);
    if let Some(to) = mtu.filter(|to| *to != link.mtu) {
        steps.push(Step::Mtu { to, before: link.mtu });
    }
    if let Some(to) = setup.txqueuelen.filter(|to| *to != link.txqueuelen) {
        steps.push(Step::TxQueueLen { to, before: link.txqueuelen });
    }
    if let Some(to) = setup.gso_max_segments.filter(|to| *to != link.gso_max_segments) {
        steps.push(Step::GsoMaxSegments { to, before: link.gso_max_segments });
    }
    // A TUN has nobody to solicit, and a port of a bridge is no host: without this the kernel
    // gives each a link-local address of its own and speaks from it into the tunnel.
    let to = link::ADDRESS_MODE_NONE;
    let is_mute = !link.is_ethernet || bridge.is_some();
    if let Some(before) = link.address_mode.filter(|before| is_mute && *before != to) {
        steps.push(Step::AddressMode { to, before });
    }
    steps.extend(setup.addresses.iter().map(|address| Step::Address(*address)));
    if let Some(bridge) = bridge.filter(|bridge| link.master != Some(bridge.index)) {
        steps.push(Step::Join { bridge: bridge.index });
    }
    if !link.is_up && !setup.stays_down {
        steps.push(Step::Up);
    }
    let table = setup.table;
    steps.extend(setup.routes.iter().map(|prefix| Step::Route { prefix: prefix.trunc(), table }));
    steps
}

impl Applied {
    /// Gives the interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Undoes everything, in reverse. What is gone already is no error. Needed for a device that
    /// was there before; with one that was made by opening it everything vanishes anyway.
    pub async fn undo(&self, handle: &Handle) -> Vec<SetupError> {
        let mut errors = Vec::new();
        for step in self.steps.iter().rev() {
            if let Err(error) = step.undo(handle, &self.name, self.index).await {
                errors.push(error);
            }
        }
        errors
    }
}

/// Whether an error says that there is nothing left to undo.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENODEV | Errno::ESRCH | Errno::ENOENT | Errno::EADDRNOTAVAIL)
}

#[cfg(test)]
mod tests;
