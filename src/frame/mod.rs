//! What a packet is: header views and builders for the formats that cross a tunnel. Pure.
