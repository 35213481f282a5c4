//! The values of a wg-quick file, each by what `wg` and wg-quick take.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::quick::Table;
use crate::config::{self, HostPort};
use crate::transport::wireguard::{KeyError, PublicKey};

/// The length of a key in base64, bytes.
const KEY_LEN: usize = 44;

/// Says what is wrong with a key.
pub(super) fn shown(error: KeyError) -> String {
    error.to_string()
}

/// Reads a key; the key of zeros is none.
pub(super) fn secret<K: FromStr<Err = KeyError>>(text: &str) -> Result<Option<K>, String> {
    match text.parse() {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::Zero) => Ok(None),
        Err(error) => Err(shown(error)),
    }
}

/// Whether a key is somewhere in the text.
pub(super) fn has_key(text: &str) -> bool {
    let starts = 0..=text.len().saturating_sub(KEY_LEN);
    let mut parts = starts.filter_map(|start| text.get(start..start + KEY_LEN));
    parts.any(|part| part.parse::<PublicKey>().is_ok())
}

/// Reads what is between commas; nothing at all is an empty list.
pub(super) fn list<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, Cow<'static, str>>,
) -> Result<Vec<T>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items = text.split(',').map(str::trim);
    items.map(|item| read(item).map_err(|expected| format!("{expected}, not {item:?}"))).collect()
}

/// Reads an address of the device; one without a prefix length is alone.
pub(super) fn address(text: &str) -> Result<IpNet, Cow<'static, str>> {
    if text.contains('/') {
        return config::read_address(text);
    }
    let bits = if text.contains(':') { 128 } else { 32 };
    config::read_address(&format!("{text}/{bits}"))
}

/// Reads a prefix; host bits are cleared.
pub(super) fn prefix(text: &str) -> Result<IpNet, Cow<'static, str>> {
    let is_multicast = |net: &IpNet| net.network().is_multicast();
    match address_or_prefix(text).filter(is_multicast) {
        Some(multicast) => Ok(multicast),
        None => config::read_prefix(text),
    }
}

fn address_or_prefix(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok();
    net.or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok()).map(|net| net.trunc())
}

pub(super) fn endpoint(text: &str) -> Result<HostPort, String> {
    text.parse().map_err(|_| "expected address:port or name:port".to_owned())
}

/// Reads a port; 0 is none.
pub(super) fn listen_port(text: &str) -> Result<Option<u16>, String> {
    let port: Option<u16> = digits(text).and_then(|digits| digits.parse().ok());
    port.map(|port| (port != 0).then_some(port))
        .ok_or_else(|| "expected a port from 0 to 65535".to_owned())
}

/// Reads a mark; 0 and "off" are none.
pub(super) fn fwmark(text: &str) -> Result<Option<u32>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let mark = number(text).map(|mark| (mark != 0).then_some(mark));
    mark.ok_or_else(|| format!("expected \"off\" or a number from 0 to {}", u32::MAX))
}

pub(super) fn mtu(text: &str) -> Result<u16, String> {
    let mtu: Option<u16> = digits(text).and_then(|digits| digits.parse().ok());
    let (min, max) = (config::MTU_MIN, config::MTU_MAX);
    let mtu = mtu.filter(|mtu| (min..=max).contains(mtu));
    mtu.ok_or_else(|| format!("expected a number from {min} to {max}"))
}

pub(super) fn table(text: &str) -> Result<Table, String> {
    match (text.to_ascii_lowercase().as_str(), number(text)) {
        ("off", _) => Ok(Table::Off),
        ("auto", _) => Ok(Table::Auto),
        ("main", _) => Ok(Table::Main),
        (_, Some(table)) if table != 0 => Ok(Table::Number(table)),
        _ => Err("expected \"auto\", \"off\", \"main\" or the number of a table".to_owned()),
    }
}

/// Reads an interval in seconds; 0 and "off" are never.
pub(super) fn keepalive(text: &str) -> Result<u16, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(0);
    }
    let secs = digits(text).and_then(|digits| digits.parse().ok());
    secs.ok_or_else(|| "expected \"off\" or seconds from 0 to 65535".to_owned())
}

/// Reads a decimal number, or a hexadecimal one after `0x`.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.chars().all(|c| c.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16).ok()
        }
        Some(_) => None,
        None => digits(text)?.parse().ok(),
    }
}

/// Gives the text if it has digits only: no sign.
fn digits(text: &str) -> Option<&str> {
    Some(text).filter(|text| text.chars().all(|c| c.is_ascii_digit()))
}
