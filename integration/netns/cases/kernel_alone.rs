//! The kernel against itself: what the tools of these tests show without any code of ours.

use super::exact;
use crate::harness::{Case, each};
use crate::need::KERNEL_VXLAN;
use crate::pair::{KERNEL, Kind, Pair};
use crate::place::Family;

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("kernel_to_kernel_carries_what_the_tools_send", vxlan),
        Case::over_both("kernel_gpe_to_kernel_gpe_carries_what_the_tools_send", gpe),
    ];
    each(cases, |case| case.needs(KERNEL_VXLAN))
}

fn vxlan(family: Family) {
    let pair = Pair::new(family, [KERNEL, KERNEL]);
    pair.carries_everything(64 << 20, 8 << 20);
    exact::all(&pair);
}

fn gpe(family: Family) {
    Pair::new(family, [Kind::KernelGpe; 2]).carries_everything(64 << 20, 8 << 20);
}
