//! TUN and TAP devices with vnet_hdr, and an in-memory twin.
