//! From samples to figures: medians, spreads, ratios to the baselines, and why a figure is missing.

use std::collections::BTreeMap;

use super::case::{Case, Maker};
use super::measure::Measure;
use super::quantity::{Quantity, Source};
use super::report::{CaseLimit, CaseReport, Figure, Kind, MeasureReport, Missing, Sample};
use super::roofline::{Cipher, Roofline};
use super::stat::{InRound, Spread, ratios};
use crate::device;

/// A case as it was found after the last sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The case.
    pub case: Case,
    /// Why it could not be measured at all.
    pub fault: Option<String>,
    /// The memory in use by that of its daemons that has more, bytes.
    pub resident_bytes: Option<u64>,
    /// What our daemons dropped, by reason.
    pub drops: Option<BTreeMap<String, u64>>,
}

/// Gives the figures of all cases, and what is missing among them.
pub fn summarize(
    subjects: &[Subject],
    measures: &[Measure],
    samples: &[Sample],
    roofline: Option<&Roofline>,
) -> (Vec<CaseReport>, Vec<Missing>) {
    let mut summary = Summary { samples, roofline, missing: Vec::new() };
    let cases = subjects.iter().map(|subject| summary.case(subject, measures)).collect();
    (cases, summary.missing)
}

/// Whose work carries the packets.
pub fn kind_of(case: Case) -> Kind {
    let ends = case.ends();
    if ends.iter().any(is_ours) {
        Kind::Ours
    } else if case.program().is_some() {
        Kind::Rival
    } else {
        Kind::Baseline
    }
}

/// Whether an end is made by a daemon of ours.
pub(super) fn is_ours(end: &Maker) -> bool {
    match end {
        Maker::Daemon(..) => true,
        Maker::Nobody | Maker::Kernel | Maker::Rival(_) => false,
    }
}

/// What the model of the roofline takes a case for: its device (`None` without a tunnel) and its
/// cipher. `None` for those that it does not know.
fn modelled(case: Case) -> Option<(Option<device::Kind>, Cipher)> {
    match case {
        Case::Raw => Some((None, Cipher::None)),
        Case::VxlanTap => Some((Some(device::Kind::Tap), Cipher::None)),
        Case::VxlanTun => Some((Some(device::Kind::Tun), Cipher::None)),
        Case::WireguardTap => Some((Some(device::Kind::Tap), Cipher::ChaCha20Poly1305)),
        Case::WireguardTun => Some((Some(device::Kind::Tun), Cipher::ChaCha20Poly1305)),
        Case::WireguardGo | Case::BoringtunCli | Case::Gotatun => {
            Some((Some(device::Kind::Tun), Cipher::ChaCha20Poly1305))
        }
        Case::KernelVxlan | Case::VxlanTapToKernel | Case::KernelToVxlanTap => None,
        Case::Vpncloud | Case::Openvpn => None,
        Case::QuicTun | Case::QuicTap => None,
    }
}

struct Summary<'a> {
    samples: &'a [Sample],
    roofline: Option<&'a Roofline>,
    missing: Vec<Missing>,
}

impl Summary<'_> {
    fn case(&mut self, subject: &Subject, measures: &[Measure]) -> CaseReport {
        let case = subject.case;
        let told = match &subject.fault {
            Some(fault) => {
                self.miss(case, None, Vec::new(), fault);
                measures.iter().map(|measure| (measure.to_string(), None)).collect()
            }
            None => measures.iter().map(|&m| (m.to_string(), self.measure(case, m))).collect(),
        };
        if subject.fault.is_none() {
            self.miss_of_case(subject);
        }
        CaseReport {
            name: case.name().to_owned(),
            kind: kind_of(case),
            encrypted: case.is_encrypted(),
            resident_bytes: subject.resident_bytes,
            drops: subject.drops.clone(),
            limit: self.limit(case),
            measures: told,
        }
    }

    fn limit(&mut self, case: Case) -> Option<CaseLimit> {
        let roofline = self.roofline?;
        let Some((device, cipher)) = modelled(case) else {
            self.miss(case, None, vec!["limit".to_owned()], "the model has no such tunnel");
            return None;
        };
        let limit = roofline.limit(device, cipher);
        let rates = values(self.samples, case, Measure::Tcp(1), Quantity::BitsPerSec);
        let share = Spread::of(rates.iter().map(|rate| limit.share(rate.value / 1e9)));
        Some(CaseLimit { limit, share })
    }

    fn miss_of_case(&mut self, subject: &Subject) {
        let case = subject.case;
        let kind = kind_of(case);
        if subject.resident_bytes.is_none() {
            let reason = match kind {
                Kind::Baseline => "no daemon in this case",
                Kind::Ours | Kind::Rival => "its daemons could not be looked at",
            };
            self.miss(case, None, vec!["resident_bytes".to_owned()], reason);
        }
        if subject.drops.is_none() {
            let reason = match kind {
                Kind::Ours => "its daemons did not answer",
                Kind::Baseline | Kind::Rival => "no daemon of ours in this case",
            };
            self.miss(case, None, vec!["drops".to_owned()], reason);
        }
    }

    fn measure(&mut self, case: Case, measure: Measure) -> Option<MeasureReport> {
        if !measure.applies_to(case) {
            let reason = format!("only {} has it", Case::VxlanTap.name());
            self.miss(case, Some(measure), Vec::new(), &reason);
            return None;
        }
        let all = counted(self.samples, case, measure);
        let valid: Vec<_> = all.iter().copied().filter(|sample| sample.fault.is_none()).collect();
        if valid.is_empty() {
            let fault = all.iter().find_map(|sample| sample.fault.as_deref());
            self.miss(case, Some(measure), Vec::new(), fault.unwrap_or("it was not measured"));
            return None;
        }
        let figures: BTreeMap<_, _> = measure
            .quantities()
            .iter()
            .map(|&quantity| (quantity.key().to_owned(), self.figure(case, measure, quantity)))
            .collect();
        self.miss_figures(case, measure, &figures);
        let is_disturbed = |sample: &&&Sample| sample.usage.is_some_and(|usage| usage.disturbed);
        Some(MeasureReport {
            rounds: count(valid.len()),
            disturbed_rounds: count(valid.iter().filter(is_disturbed).count()),
            figures,
        })
    }

    fn figure(&self, case: Case, measure: Measure, quantity: Quantity) -> Option<Figure> {
        let values = |case| values(self.samples, case, measure, quantity);
        let own = values(case);
        let spread = Spread::of(own.iter().map(|value| value.value))?;
        let ratio = |baseline| {
            Spread::of(ratios(&own, &values(baseline)).into_iter().map(|ratio| ratio.value))
        };
        let (to_raw, to_kernel_vxlan) = (ratio(Case::Raw), ratio(Case::KernelVxlan));
        Some(Figure { spread, to_raw, to_kernel_vxlan })
    }

    /// Notes the figures without a value, those of one reason together.
    fn miss_figures(
        &mut self,
        case: Case,
        measure: Measure,
        figures: &BTreeMap<String, Option<Figure>>,
    ) {
        let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for &quantity in measure.quantities() {
            if figures.get(quantity.key()).is_some_and(Option::is_none) {
                let keys = reasons.entry(absence(case, quantity)).or_default();
                keys.push(quantity.key().to_owned());
            }
        }
        for (reason, keys) in reasons {
            self.miss(case, Some(measure), keys, reason);
        }
    }

    fn miss(&mut self, case: Case, measure: Option<Measure>, figures: Vec<String>, reason: &str) {
        self.missing.push(Missing {
            case: case.name().to_owned(),
            measure: measure.map(|measure| measure.to_string()),
            figures,
            reason: reason.to_owned(),
        });
    }
}

/// Gives why a case has no such figure although it was measured.
fn absence(case: Case, quantity: Quantity) -> &'static str {
    let [left, right] = case.ends().map(|end| is_ours(&end));
    match quantity.source() {
        Source::AnyDaemon if kind_of(case) == Kind::Baseline => "no daemon in this case",
        Source::Ours if !left && !right => "no daemon of ours in this case",
        Source::OursLeft if !left => "no daemon of ours at the sending end",
        Source::OursRight if !right => "no daemon of ours at the receiving end",
        Source::Traffic
        | Source::AnyDaemon
        | Source::Ours
        | Source::OursLeft
        | Source::OursRight => "nothing was carried",
    }
}

fn counted(samples: &[Sample], case: Case, measure: Measure) -> Vec<&Sample> {
    let name = measure.to_string();
    let is_wanted =
        |sample: &&Sample| sample.counted && sample.case == case.name() && sample.measure == name;
    samples.iter().filter(is_wanted).collect()
}

fn values(samples: &[Sample], case: Case, measure: Measure, quantity: Quantity) -> Vec<InRound> {
    let value = |sample: &&Sample| {
        let value = *sample.values.get(quantity.key())?;
        Some(InRound { round: sample.round, value })
    };
    counted(samples, case, measure).iter().filter_map(value).collect()
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
