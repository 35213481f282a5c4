//! GSO packet to segments and back, and what a vnet_hdr means. Pure.
