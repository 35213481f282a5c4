//! A daemon's configuration under construction.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::place::Node;

/// A configuration file under construction.
#[derive(Clone)]
pub struct Config {
    text: String,
    /// Files beside it, for the daemon's eyes only: name and content.
    secrets: Vec<(String, String)>,
}

impl Config {
    /// Begins with the node's name and its underlay address to listen on.
    pub fn new(node: &Node) -> Self {
        Self::listening(node, &node.address.to_string())
    }

    /// Begins with the node's name and another address to listen on.
    pub fn listening(node: &Node, address: &str) -> Self {
        let name = node.host.name();
        let text = format!("name = \"{name}\"\n[vxlan]\nlisten = \"{address}\"\n");
        Self { text, secrets: vec![] }
    }

    /// Begins with the node's name alone.
    pub fn bare(node: &Node) -> Self {
        Self { text: format!("name = \"{}\"\n", node.host.name()), secrets: vec![] }
    }

    /// Adds a file beside the configuration that only its owner may read.
    pub fn secret(mut self, name: &str, content: &str) -> Self {
        self.secrets.push((name.into(), content.into()));
        self
    }

    /// Adds keys that are in no table.
    pub fn keys(mut self, text: &str) -> Self {
        self.text = format!("{text}\n{}", self.text);
        self
    }

    /// Adds tables as they stand in a file.
    pub fn tables(self, text: &str) -> Self {
        self.line(text)
    }

    /// Adds a network with interface NAME.
    pub fn network(self, device: &str, interface: &str, vni: u32, keys: &str) -> Self {
        let text = format!(
            "[[network]]\nname = \"{interface}\"\ndevice = \"{device}\"\n\
             interface = \"{interface}\"\nvni = {vni}"
        );
        self.line(&text).line(keys)
    }

    /// Adds a VXLAN peer.
    pub fn peer(self, name: &str, endpoint: IpAddr, keys: &str) -> Self {
        let text = format!(
            "[[peer]]\nname = \"{name}\"\ntransport = \"vxlan\"\nendpoint = \"{endpoint}\""
        );
        self.line(&text).line(keys)
    }

    fn line(mut self, text: &str) -> Self {
        writeln!(self.text, "{text}").expect("a string takes text");
        self
    }

    /// Writes the files of the configuration into a directory.
    pub fn write(&self, directory: &Path) {
        fs::write(directory.join("config.toml"), &self.text).unwrap();
        for (name, content) in &self.secrets {
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(directory.join(name));
            file.unwrap().write_all(content.as_bytes()).unwrap();
        }
    }
}
