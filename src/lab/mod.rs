//! Hosts made for a demonstration, a test or a measurement: network namespaces without names.
