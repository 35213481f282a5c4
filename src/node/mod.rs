//! A whole node as a state machine: device to underlay and underlay to device. Pure.
