//! Where a packet goes: learned table, routes, flood. Pure.
