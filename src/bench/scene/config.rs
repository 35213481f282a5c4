//! The configuration of our daemons in a scene.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use toml::{Table, Value};

use super::wire::Site;
use super::{Scale, SceneOptions, TUNNEL, VNI};
use crate::api::report::DeviceKind;
use crate::bench::BenchError;
use crate::lab::Crossing;

/// Room in the tables of a scaled scene beyond what is learned beforehand.
const ROOM: usize = 65_536;

/// The most entries that the configuration takes.
const ENTRIES_MAX: usize = 16_777_216;

/// One end of a tunnel, from its own view.
pub(super) struct End<'a> {
    /// Its place: 0 is the left one.
    pub(super) place: usize,
    pub(super) sites: &'a [Site; 2],
    pub(super) device: DeviceKind,
    pub(super) crossing: &'a Crossing,
}

/// Gives the configuration of the daemon at an end.
pub(super) fn text(end: &End<'_>, options: &SceneOptions) -> Result<String, BenchError> {
    // Only the sending daemon is scaled.
    let scale = options.scale.filter(|_| end.place == 0);
    let mut config: Table = base(end, scale).parse().map_err(BenchError::Settings)?;
    let settings: Table = options.settings.parse().map_err(BenchError::Settings)?;
    put_over(&mut config, settings);
    Ok(config.to_string())
}

fn base(end: &End<'_>, scale: Option<Scale>) -> String {
    let End { place, sites, device, crossing } = *end;
    let (near, far) = (&sites[place], &sites[1 - place]);
    let (kind, allowed) = match device {
        DeviceKind::Tun => ("tun", format!("allowed_ips = [\"{}/32\"]\n", far.overlay)),
        DeviceKind::Tap => ("tap", String::new()),
    };
    let mut text = format!(
        "name = \"{}\"\n\
         {}\
         [[network]]\n\
         name = \"bench\"\n\
         vni = {VNI}\n\
         device = \"{kind}\"\n\
         interface = \"{TUNNEL}\"\n\
         addresses = [\"{}\"]\n",
        near.host.name(),
        crossing.table(place, near.underlay.into(), device),
        near.overlay_net(),
    );
    if let Some(Scale { peers, learned }) = scale {
        let entries = (learned + ROOM).min(ENTRIES_MAX);
        let of_one = (learned.div_ceil(peers.max(1)) + ROOM).min(entries);
        let _ = write!(
            text,
            "ageing_secs = 604800\nmax_entries = {entries}\nmax_entries_per_peer = {of_one}\n"
        );
    }
    let peer = |name: &str, endpoint: Ipv4Addr| {
        let crossing = crossing.peer(1 - place, endpoint.into(), device);
        format!("[[peer]]\nname = \"{name}\"\n{crossing}{allowed}")
    };
    text.push_str(&peer(far.host.name(), far.underlay));
    for number in 1..scale.map_or(1, |scale| scale.peers) {
        text.push_str(&peer(&format!("peer-{number}"), super::scale::endpoint(number)));
    }
    text
}

/// Puts the keys of one table over those of another: tables are merged, arrays of tables one table
/// after the other, everything else is replaced.
fn put_over(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => put_over(below, above),
            (Some(Value::Array(below)), Value::Array(above)) if has_tables(&above) => {
                put_over_each(below, above);
            }
            (_, value) => drop(below.insert(key, value)),
        }
    }
}

fn has_tables(array: &[Value]) -> bool {
    array.iter().any(Value::is_table)
}

fn put_over_each(below: &mut Vec<Value>, above: Vec<Value>) {
    for (index, value) in above.into_iter().enumerate() {
        match (below.get_mut(index), value) {
            (Some(Value::Table(below)), Value::Table(above)) => put_over(below, above),
            (Some(below), value) => *below = value,
            (None, value) => below.push(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(below: &str, above: &str) -> Table {
        let mut table = below.parse().unwrap();
        put_over(&mut table, above.parse().unwrap());
        table
    }

    #[test]
    fn settings_go_over_the_scene_and_leave_the_rest() {
        let table = merged(
            "name = 'a'\n[vxlan]\nlisten = '192.0.2.1'\nport = 1\n[[network]]\nvni = 42\n",
            "[vxlan]\nport = 2\n[offload]\nudp_gso = 'off'\n[[network]]\ntxqueuelen = 7\n",
        );
        let expected = "name = 'a'\n[vxlan]\nlisten = '192.0.2.1'\nport = 2\n\
                        [offload]\nudp_gso = 'off'\n[[network]]\nvni = 42\ntxqueuelen = 7\n";
        assert_eq!(table, expected.parse().unwrap());
    }

    #[test]
    fn further_tables_are_added_and_lists_of_values_replaced() {
        let table =
            merged("list = [1, 2]\n[[peer]]\na = 1\n", "list = [3]\n[[peer]]\n[[peer]]\nb = 2\n");
        assert_eq!(table, "list = [3]\n[[peer]]\na = 1\n[[peer]]\nb = 2\n".parse().unwrap());
    }
}
