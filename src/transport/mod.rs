//! How a packet crosses the underlay: encapsulation and overhead. Pure.
