//! Datagrams that a plain UDP socket with UDP_GRO got from a VXLAN device of Linux 6.18 on the other
//! end of a veth, offloads as they are by default. The inner payload was zeros, but for the ping.

use crate::frame::Layer;

/// A received datagram.
pub(crate) struct Capture {
    pub(crate) layer: Layer,
    /// What came with UDP_GRO.
    pub(crate) stride: Option<u16>,
    len: usize,
    /// The first bytes in hexadecimal; zeros follow.
    head: &'static str,
}

impl Capture {
    /// Gives the datagram from its VXLAN header on.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (digits, _) = self.head.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let mut bytes: Vec<u8> = digits.iter().map(byte).collect();
        bytes.resize(self.len, 0);
        bytes
    }

    /// Gives the inner frame or packet.
    pub(crate) fn inner(&self) -> Vec<u8> {
        self.bytes()[8..].to_vec()
    }
}

/// A SYN with a partial checksum.
pub(crate) const SYN4: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 82,
    head: "0800000000002a0002000000000202000000000108004500003c629640004006c4110a0900010a09\
           0002b8261451b8b9958100000000a002faf014430000020405b40402080a0af2ae00000000000103\
           030a",
};

/// Five segments of 1398 bytes.
pub(crate) const TCP4_SUPER: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 7064,
    head: "0800000000002a00020000000002020000000001080045001b82629840004006a8c90a0900010a09\
           0002b8261451b8b99582000013898018003f2f8900000101080a0af2ae00000003e8",
};

/// One full segment; the kernel has finished its checksum.
pub(crate) const TCP6_FULL: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 1492,
    head: "0800000000002a0002000000000202000000000186dd600bb48c05960640fd000009000000000000\
           000000000001fd000009000000000000000000000002ddc61451fac4be4900001389801000400e27\
           00000101080a638142b1000003e8",
};

/// Five segments of 1398 bytes.
pub(crate) const TCP6_SUPER: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 7084,
    head: "0800000000002a0002000000000202000000000186dd600bb48c1b6e0640fd000009000000000000\
           000000000001fd000009000000000000000000000002ddc61451fac4be490000138980180040158b\
           00000101080a638142b1000003e8",
};

/// UDP_SEGMENT 1000, 4500 bytes.
pub(crate) const UDP4_SUPER: Capture = Capture {
    layer: Layer::L2,
    stride: Some(1000),
    len: 4550,
    head: "0800000000002a000200000000020200000000010800450011b0a2d600004011b2520a0900010a09\
           000297591452119c25c2",
};

/// UDP_SEGMENT 1422, 43 datagrams.
pub(crate) const UDP4_SUPER_MAX: Capture = Capture {
    layer: Layer::L2,
    stride: Some(1422),
    len: 61_196,
    head: "0800000000002a0002000000000202000000000108004500eef6a37a00004011d4670a0900010a09\
           0002d3761452eee20309",
};

/// UDP_SEGMENT 10, 45 bytes: the mark ends inside the Ethernet header.
pub(crate) const UDP4_SUPER_TINY: Capture = Capture {
    layer: Layer::L2,
    stride: Some(10),
    len: 95,
    head: "0800000000002a00020000000002020000000001080045000049a44e4000401182410a0900010a09\
           0002b04914520035145b",
};

/// UDP_SEGMENT 1000, 4500 bytes.
pub(crate) const UDP6_SUPER: Capture = Capture {
    layer: Layer::L2,
    stride: Some(1000),
    len: 4570,
    head: "0800000000002a0002000000000202000000000186dd6007eec2119c1140fd000009000000000000\
           000000000001fd000009000000000000000000000002bfe51452119c0bc4",
};

/// 100 bytes.
pub(crate) const UDP4_PARTIAL: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 150,
    head: "0800000000002a00020000000002020000000001080045000080a6214000401180370a0900010a09\
           0002d4cd1453006c1492",
};

/// 100 bytes.
pub(crate) const UDP6_PARTIAL: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 170,
    head: "0800000000002a0002000000000202000000000186dd600ef992006c1140fd000009000000000000\
           000000000001fd000009000000000000000000000002d2a81453006cfa93",
};

/// Of 3000 bytes of UDP.
pub(crate) const FRAGMENT_FIRST: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 1522,
    head: "0800000000002a000200000000020200000000010800450005dca81d2000401198df0a0900010a09\
           0002d1e814530bc0ee1d",
};

/// Of 3000 bytes of UDP.
pub(crate) const FRAGMENT_LATER: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 1522,
    head: "0800000000002a000200000000020200000000010800450005dca81d20b9401198260a0900010a09\
           0002",
};

/// An echo request.
pub(crate) const PING4: Capture = Capture {
    layer: Layer::L2,
    stride: None,
    len: 106,
    head: "0800000000002a000200000000020200000000010800450000545f3040004001c7640a0900010a09\
           000208000804633100015720036b00000000726b010000000000101112131415161718191a1b1c1d\
           1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
};

/// Five segments of 1398 bytes over VXLAN-GPE.
pub(crate) const GPE_TCP4_SUPER: Capture = Capture {
    layer: Layer::L3,
    stride: None,
    len: 7050,
    head: "0c00000100002a0045001b82be8e400040064cd50a0800010a080002c58414514df7915b00001389\
           801800402f8700000101080abe70b295000003e8",
};

/// UDP_SEGMENT 1000, 4500 bytes, over VXLAN-GPE.
pub(crate) const GPE_UDP4_SUPER: Capture = Capture {
    layer: Layer::L3,
    stride: Some(1000),
    len: 4536,
    head: "0c00000100002a00450011b0da73000040117ab70a0800010a0800028ba91452119c25c0",
};

/// 100 bytes over VXLAN-GPE.
pub(crate) const GPE_UDP4_PARTIAL: Capture = Capture {
    layer: Layer::L3,
    stride: None,
    len: 136,
    head: "0c00000100002a0045000080dafd400040114b5d0a0800010a080002caa81453006c1490",
};

/// All of them.
pub(crate) const ALL: &[Capture] = &[
    SYN4,
    TCP4_SUPER,
    TCP6_FULL,
    TCP6_SUPER,
    UDP4_SUPER,
    UDP4_SUPER_MAX,
    UDP4_SUPER_TINY,
    UDP6_SUPER,
    UDP4_PARTIAL,
    UDP6_PARTIAL,
    FRAGMENT_FIRST,
    FRAGMENT_LATER,
    PING4,
    GPE_TCP4_SUPER,
    GPE_UDP4_SUPER,
    GPE_UDP4_PARTIAL,
];
