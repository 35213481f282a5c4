//! Underlay UDP sockets with GSO and GRO, and an in-memory twin.
