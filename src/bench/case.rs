//! What is measured: tunnels and what they are compared with, by name.
